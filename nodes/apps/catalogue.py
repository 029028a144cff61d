"""The applications there are, by the word that files and the API use for them."""

from __future__ import annotations

from typing import Any, Final

from nodes.apps.base import App
from nodes.apps.bulk import Bulk
from nodes.apps.datagrams import UdpSink, UdpSource
from nodes.apps.echo import Echo
from nodes.apps.heartbeat import Heartbeat
from nodes.apps.request_response import Requests, Responder
from nodes.apps.sink import Sink
from nodes.apps.slow_reader import SlowReader

APPS: Final[dict[str, type[App[Any]]]] = {
    app.kind: app for app in (Bulk, Sink, Echo, Heartbeat, SlowReader, Requests, Responder, UdpSource, UdpSink)
}

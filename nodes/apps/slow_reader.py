"""Slow reader: a server that reads less than its peer sends, so that windows close."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from nodes.apps.base import OPTIONS, App, check_range, setting
from nodes.apps.serve import serve
from nodes.apps.sockets import Stream
from nodes.base.clock import MILLISECOND, NEVER


@dataclass(frozen=True, kw_only=True)
class SlowReaderSettings:
    """Where to listen and how slowly to read."""

    port: int = setting(5001, "Port to listen on.")
    connections: int = setting(1, "End after this many connections; 0: never.")
    backlog: int = setting(128, "Connections that may wait to be accepted.")
    start_ns: int = setting(0, "Read nothing for this long after accepting.")
    read_bytes: int = setting(1024, "Most that one RECEIVE takes.")
    interval_ns: int = setting(100 * MILLISECOND, "Between two RECEIVEs.")
    options: dict[str, Any] = field(default_factory=dict, metadata=OPTIONS)

    def __post_init__(self) -> None:
        check_range("port", self.port, 1, 65535)
        check_range("connections", self.connections, 0, 1 << 31)
        check_range("backlog", self.backlog, 0, 1 << 31)
        check_range("read", self.read_bytes, 1, 1 << 24)
        check_range("interval", self.interval_ns, 0, NEVER)


class SlowReader(App[SlowReaderSettings]):
    """Results: accepted; received_bytes of all connections; received_sha256 of the first one's bytes."""

    kind = "slow_reader"
    Settings = SlowReaderSettings

    async def run(self) -> None:
        settings = self.settings
        self.results.update(accepted=0, received_bytes=0)
        await serve(self, settings.port, settings.backlog, settings.options, settings.connections, self._read)

    async def _read(self, socket: Stream) -> None:
        settings = self.settings
        digest = hashlib.sha256()
        await self.sleep(settings.start_ns)
        while data := await socket.recv(settings.read_bytes):
            digest.update(data)
            self.count("received_bytes", len(data))
            await self.sleep(settings.interval_ns)
        if self.connections[0] == socket.number:
            self.results["received_sha256"] = digest.hexdigest()

"""Request and response: a client that asks and waits, over one connection or one per request, and its server.

A request is 8 bytes, the lengths of its body and of the response (big endian), and the body; the response is bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from nodes.apps.base import OPTIONS, App, check_range, setting
from nodes.apps.pattern import Pattern
from nodes.apps.serve import ServerSettings, serve
from nodes.apps.sockets import Stream
from nodes.base.clock import NEVER
from nodes.base.errors import SocketError

_HEADER = 8
_MOST = 1 << 30


@dataclass(frozen=True, kw_only=True)
class RequestsSettings:
    """What to ask whom."""

    to: str = setting(doc="Node or address.")
    port: int = setting(8000, "The server's port.")
    count: int = setting(10, "Requests to make.")
    request_bytes: int = setting(100, "Body of a request.")
    response_bytes: int = setting(10_000, "Length of a response.")
    think_ns: int = setting(0, "Between a response and the next request.")
    persistent: bool = setting(True, "One connection for all requests; false: one for each.")
    options: dict[str, Any] = field(default_factory=dict, metadata=OPTIONS)

    def __post_init__(self) -> None:
        check_range("port", self.port, 1, 65535)
        check_range("count", self.count, 1, NEVER)
        check_range("request", self.request_bytes, 0, _MOST)
        check_range("response", self.response_bytes, 1, _MOST)


class Requests(App[RequestsSettings]):
    """Results: answered requests; shortest_ns, longest_ns and total_ns of them, from connecting or asking to the last
    byte of the response."""

    kind = "requests"
    Settings = RequestsSettings

    async def run(self) -> None:
        settings = self.settings
        self.results["answered"] = 0
        lengths = settings.request_bytes.to_bytes(4, "big") + settings.response_bytes.to_bytes(4, "big")
        request = lengths + Pattern(settings.request_bytes).part(0, settings.request_bytes)
        socket: Stream | None = None
        for index in range(settings.count):
            if index:
                await self.sleep(settings.think_ns)
            started = self.sockets.now()
            if socket is None:
                socket = await self.connect(settings.to, settings.port, 0, settings.options)
            await socket.send_all(request)
            left = settings.response_bytes
            while left:
                data = await socket.recv(min(left, 65536))
                if not data:
                    raise SocketError("ECONNABORTED", f"the server closed {left} bytes before the end of a response")
                left -= len(data)
            if not settings.persistent:
                socket.close()
                socket = None
            self._took(self.sockets.now() - started)

    def _took(self, duration_ns: int) -> None:
        results = self.results
        self.count("answered")
        self.count("total_ns", duration_ns)
        results["shortest_ns"] = min(int(results.get("shortest_ns", duration_ns)), duration_ns)
        results["longest_ns"] = max(int(results.get("longest_ns", 0)), duration_ns)
        self.report("answered", duration_ns, self.connections[-1])


@dataclass(frozen=True, kw_only=True)
class ResponderSettings(ServerSettings):
    """Where to listen."""

    port: int = setting(8000, "Port to listen on.")


class Responder(App[ResponderSettings]):
    """Results: accepted, served requests."""

    kind = "responder"
    Settings = ResponderSettings

    async def run(self) -> None:
        self.results.update(accepted=0, served=0)
        await serve(self, self.settings, self._respond)

    async def _respond(self, socket: Stream) -> None:
        while len(header := await socket.recv_exactly(_HEADER)) == _HEADER:
            left = int.from_bytes(header[:4], "big")
            while left:
                data = await socket.recv(min(left, 65536))
                if not data:
                    return
                left -= len(data)
            response = Pattern(min(int.from_bytes(header[4:], "big"), _MOST))
            for offset in range(0, response.length, 65536):
                await socket.send_all(response.part(offset, 65536))
            self.count("served")

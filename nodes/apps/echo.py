"""Echo: send back what arrives (RFC 862)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from nodes.apps.base import OPTIONS, App, check_range, setting
from nodes.apps.serve import serve
from nodes.apps.sockets import Stream


@dataclass(frozen=True, kw_only=True)
class EchoSettings:
    """Where to listen."""

    port: int = setting(7, "Port to listen on.")
    connections: int = setting(1, "End after this many connections; 0: never.")
    backlog: int = setting(128, "Connections that may wait to be accepted.")
    options: dict[str, Any] = field(default_factory=dict, metadata=OPTIONS)

    def __post_init__(self) -> None:
        check_range("port", self.port, 1, 65535)
        check_range("connections", self.connections, 0, 1 << 31)
        check_range("backlog", self.backlog, 0, 1 << 31)


class Echo(App[EchoSettings]):
    """Results: accepted, echoed_bytes."""

    kind = "echo"
    Settings = EchoSettings

    async def run(self) -> None:
        settings = self.settings
        self.results.update(accepted=0, echoed_bytes=0)
        await serve(self, settings.port, settings.backlog, settings.options, settings.connections, self._echo)

    async def _echo(self, socket: Stream) -> None:
        while data := await socket.recv():
            await socket.send_all(data)
            self.count("echoed_bytes", len(data))

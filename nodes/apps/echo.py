"""Echo: send back what arrives (RFC 862)."""

from __future__ import annotations

from dataclasses import dataclass

from nodes.apps.base import App, setting
from nodes.apps.serve import ServerSettings, serve
from nodes.apps.sockets import Stream


@dataclass(frozen=True, kw_only=True)
class EchoSettings(ServerSettings):
    """Where to listen."""

    port: int = setting(7, "Port to listen on.")


class Echo(App[EchoSettings]):
    """Results: accepted, echoed_bytes."""

    kind = "echo"
    Settings = EchoSettings

    async def run(self) -> None:
        self.results.update(accepted=0, echoed_bytes=0)
        await serve(self, self.settings, self._echo)

    async def _echo(self, socket: Stream) -> None:
        while data := await socket.recv():
            await socket.send_all(data)
            self.count("echoed_bytes", len(data))

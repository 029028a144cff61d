"""Sink: accept connections, count and digest what arrives, close after the peer has."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from nodes.apps.base import App, check_range, setting
from nodes.apps.serve import ServerSettings, serve
from nodes.apps.sockets import Stream


@dataclass(frozen=True, kw_only=True)
class SinkSettings(ServerSettings):
    """Where to listen."""

    read_bytes: int = setting(65536, "Size of one RECEIVE.")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("read", self.read_bytes, 1, 1 << 24)


class Sink(App[SinkSettings]):
    """Results: accepted; received_bytes of all connections; received_sha256 of the first one's bytes, and for each
    connection its bytes and digest under `connection_<number>`."""

    kind = "sink"
    Settings = SinkSettings

    async def run(self) -> None:
        self.results.update(accepted=0, received_bytes=0)
        await serve(self, self.settings, self._drain)

    async def _drain(self, socket: Stream) -> None:
        digest = hashlib.sha256()
        size = 0
        limit = self.settings.read_bytes
        try:
            while data := await socket.recv(limit):
                digest.update(data)
                size += len(data)
                self.count("received_bytes", len(data))
        finally:
            text = digest.hexdigest()
            if self.connections[0] == socket.number:
                self.results["received_sha256"] = text
            self.results[f"connection_{socket.number}"] = f"{size} bytes, sha256 {text}"
            self.report("received", size, socket.number)

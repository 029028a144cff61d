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
    digest: bool = setting(
        True, "Take the SHA-256 of what arrives; false: save the CPU time, for measurements of speed."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("read", self.read_bytes, 1, 1 << 24)


class Sink(App[SinkSettings]):
    """Results: accepted; received_bytes of all connections; for each connection its bytes under
    `connection_<number>`. With `digest` these have their SHA-256 beside them, and that of the first connection is
    received_sha256."""

    kind = "sink"
    Settings = SinkSettings

    async def run(self) -> None:
        self.results.update(accepted=0, received_bytes=0)
        await serve(self, self.settings, self._drain)

    async def _drain(self, socket: Stream) -> None:
        digest = hashlib.sha256() if self.settings.digest else None
        size = 0
        limit = self.settings.read_bytes
        try:
            while data := await socket.recv(limit):
                if digest is not None:
                    digest.update(data)
                size += len(data)
                self.count("received_bytes", len(data))
        finally:
            found = f"{size} bytes"
            if digest is not None:
                found += f", sha256 {digest.hexdigest()}"
                if self.connections[0] == socket.number:
                    self.results["received_sha256"] = digest.hexdigest()
            self.results[f"connection_{socket.number}"] = found
            self.report("received", size, socket.number)

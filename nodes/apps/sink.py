"""Sink: accept connections, count and digest what arrives, close after the peer has."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from nodes.apps.base import OPTIONS, App, check_range, setting
from nodes.apps.serve import serve
from nodes.apps.sockets import Stream


@dataclass(frozen=True, kw_only=True)
class SinkSettings:
    """Where to listen."""

    port: int = setting(5001, "Port to listen on.")
    connections: int = setting(1, "End after this many connections; 0: never.")
    backlog: int = setting(128, "Connections that may wait to be accepted.")
    read_bytes: int = setting(65536, "Size of one RECEIVE.")
    options: dict[str, Any] = field(default_factory=dict, metadata=OPTIONS)

    def __post_init__(self) -> None:
        check_range("port", self.port, 1, 65535)
        check_range("connections", self.connections, 0, 1 << 31)
        check_range("backlog", self.backlog, 0, 1 << 31)
        check_range("read", self.read_bytes, 1, 1 << 24)


class Sink(App[SinkSettings]):
    """Results: accepted; received_bytes of all connections; received_sha256 of the first one's bytes, and for each
    connection its bytes and digest under `connection_<number>`."""

    kind = "sink"
    Settings = SinkSettings

    async def run(self) -> None:
        settings = self.settings
        self.results.update(accepted=0, received_bytes=0)
        await serve(self, settings.port, settings.backlog, settings.options, settings.connections, self._drain)

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

"""Slow reader: a server that reads less than its peer sends, so that windows close."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from nodes.apps.base import App, check_range, setting
from nodes.apps.serve import ServerSettings, serve
from nodes.apps.sockets import Stream
from nodes.base.clock import MILLISECOND, NEVER


@dataclass(frozen=True, kw_only=True)
class SlowReaderSettings(ServerSettings):
    """Where to listen and how slowly to read."""

    start_ns: int = setting(0, "Read nothing for this long after accepting.")
    read_bytes: int = setting(1024, "Most that one RECEIVE takes.")
    interval_ns: int = setting(100 * MILLISECOND, "Between two RECEIVEs.")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("read", self.read_bytes, 1, 1 << 24)
        check_range("interval", self.interval_ns, 0, NEVER)


class SlowReader(App[SlowReaderSettings]):
    """Results: accepted; received_bytes of all connections; received_sha256 of the first one's bytes."""

    kind = "slow_reader"
    Settings = SlowReaderSettings

    async def run(self) -> None:
        self.results.update(accepted=0, received_bytes=0)
        await serve(self, self.settings, self._read)

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

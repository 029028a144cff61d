"""Bulk transfer: connect, send a number of bytes, half-close, wait for the peer's end of file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from nodes.apps.base import OPTIONS, App, check_range, setting
from nodes.apps.pattern import DEFAULT_PATTERN, Pattern
from nodes.base.clock import NEVER, SECOND


@dataclass(frozen=True, kw_only=True)
class BulkSettings:
    """What to send where."""

    to: str = setting(doc="Node or address.")
    port: int = setting(5001, "The peer's port.")
    bytes_: int = setting(1_000_000, "How much to send.")
    pattern: str = setting("", "Text that is repeated; empty: a built-in one.")
    chunk_bytes: int = setting(65536, "Size of one SEND.")
    start_ns: int = setting(0, "Wait this long before connecting.")
    stop_after_ns: int = setting(0, "Send no more after this long, counted from the SYN; 0: only when all is sent.")
    close_after_ns: int = setting(0, "Wait this long between the last SEND and the half-close.")
    local_port: int = setting(0, "0: the node chooses.")
    digest: bool = setting(
        True, "Take the SHA-256 of what is sent; false: save the CPU time, for measurements of speed."
    )
    options: dict[str, Any] = field(default_factory=dict, metadata=OPTIONS)

    def __post_init__(self) -> None:
        check_range("port", self.port, 1, 65535)
        check_range("local_port", self.local_port, 0, 65535)
        check_range("chunk", self.chunk_bytes, 1, 1 << 24)
        check_range("bytes", self.bytes_, 0, NEVER)


class Bulk(App[BulkSettings]):
    """Results: sent_bytes and, with `digest`, sent_sha256 of them; duration_ns from the SYN to the peer's end of file;
    goodput_bps."""

    kind = "bulk"
    Settings = BulkSettings

    async def run(self) -> None:
        settings = self.settings
        if settings.start_ns:
            await self.sleep(settings.start_ns)
        started = self.sockets.now()
        socket = await self.connect(settings.to, settings.port, settings.local_port, settings.options)
        pattern = Pattern(settings.bytes_, settings.pattern.encode() or DEFAULT_PATTERN)
        digest = hashlib.sha256() if settings.digest else None
        sent = 0
        self.results["sent_bytes"] = 0
        while sent < settings.bytes_ and not 0 < settings.stop_after_ns <= self.sockets.now() - started:
            part = pattern.part(sent, settings.chunk_bytes)
            await socket.send_all(part)
            if digest is not None:
                digest.update(part)
            sent += len(part)
            self.results["sent_bytes"] = sent
        if digest is not None:
            self.results["sent_sha256"] = digest.hexdigest()
        if settings.close_after_ns:
            await self.sleep(settings.close_after_ns)
        socket.shutdown()
        while await socket.recv():
            pass
        duration = self.sockets.now() - started
        self.results["duration_ns"] = duration
        self.results["goodput_bps"] = sent * 8 * SECOND // duration if duration else 0
        self.report("done", sent, socket.number)
        socket.close()

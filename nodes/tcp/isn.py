"""Initial sequence numbers (RFC 6528), timestamp offsets (RFC 7323 5.4): nobody off the path can guess them."""

from __future__ import annotations

import hashlib
from typing import Final

from nodes.base.random import RandomStream
from nodes.tcp.seq import MASK

#: The clock M of RFC 6528 ticks every 4 microseconds.
TICK_NS: Final = 4_000


class IsnGenerator:
    """ISN = M + F(local address, local port, remote address, remote port, secret); F is keyed BLAKE2s."""

    __slots__ = ("_secret",)

    def __init__(self, stream: RandomStream) -> None:
        self._secret = stream.bits(256).to_bytes(32, "big")

    def keyed(self, purpose: bytes, local: bytes, local_port: int, remote: bytes, remote_port: int) -> int:
        """32 bits that only this host can compute, another function of the 4-tuple for each `purpose`."""
        key = b"%s|%s|%d|%s|%d" % (purpose, local, local_port, remote, remote_port)
        return int.from_bytes(hashlib.blake2s(key, key=self._secret, digest_size=4).digest(), "big")

    def initial_sequence(self, now: int, local: bytes, local_port: int, remote: bytes, remote_port: int) -> int:
        """The 32-bit ISN for a connection opened at `now` (ns)."""
        return (now // TICK_NS + self.keyed(b"isn", local, local_port, remote, remote_port)) & MASK

    def timestamp_offset(self, local: bytes, local_port: int, remote: bytes, remote_port: int) -> int:
        """What is added to the millisecond clock in TSval; the same for every connection of a 4-tuple, so that
        timestamps keep growing across its incarnations (RFC 6191)."""
        return self.keyed(b"timestamp", local, local_port, remote, remote_port)

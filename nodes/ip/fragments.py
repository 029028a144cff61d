"""IPv4 fragmentation and reassembly (RFC 791 section 3.2, RFC 815, RFC 1122 section 3.3.2)."""

from __future__ import annotations

from typing import Final

from nodes.base.clock import NEVER, SECOND
from nodes.packet.ipv4 import HEADER_LEN, MAX_LEN, MORE_FRAGMENTS, OFFSET_MASK, Ipv4Packet
from nodes.tcp.parameters import Parameters

#: Payload bytes kept for reassembly in all; further fragments are discarded (Linux: ipfrag_high_thresh).
MAX_BYTES: Final = 4 << 20


def fragment(packet: Ipv4Packet, mtu: int) -> list[Ipv4Packet]:
    """The packets of at most `mtu` bytes (at least 68) that carry `packet`. Options go with the first only."""
    flags = packet.fragment & MORE_FRAGMENTS
    start = (packet.fragment & OFFSET_MASK) << 3
    pieces: list[Ipv4Packet] = []
    at = 0
    while at < len(packet.payload):
        options = b"" if at else packet.options
        room = (mtu - HEADER_LEN - len(options)) & ~7
        data = packet.payload[at : at + room]
        last = at + len(data) == len(packet.payload)
        word = (start + at) >> 3 | (flags if last else MORE_FRAGMENTS)
        pieces.append(
            Ipv4Packet(
                packet.src,
                packet.dst,
                packet.protocol,
                data,
                packet.ttl,
                packet.identification,
                word,
                packet.tos,
                options,
            )
        )
        at += len(data)
    return pieces


class _Partial:
    """The fragments of one packet so far, by their offset in bytes; `total` is -1 until the last one came."""

    __slots__ = ("deadline", "first", "pieces", "size", "total")

    def __init__(self, deadline: int) -> None:
        self.deadline = deadline
        self.pieces: dict[int, bytes] = {}
        self.size = 0
        self.total = -1
        self.first: Ipv4Packet | None = None


class Reassembly:
    """The packets that one host is putting together."""

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters
        self._partials: dict[tuple[bytes, bytes, int, int], _Partial] = {}
        self._bytes = 0
        self.deadline = NEVER
        self.failures = 0

    def add(self, now: int, packet: Ipv4Packet) -> Ipv4Packet | None:
        """Take a fragment; the whole packet when this was the one missing.

        Fragments that overlap others without being the same discard the whole packet (RFC 5722's rule, Linux's too).
        """
        key = (packet.src, packet.dst, packet.protocol, packet.identification)
        partial = self._partials.get(key)
        if partial is None:
            partial = self._partials[key] = _Partial(now + self._parameters.ipfrag_time * SECOND)
            self.deadline = min(self.deadline, partial.deadline)
        start = (packet.fragment & OFFSET_MASK) << 3
        data = packet.payload
        end = start + len(data)
        more = packet.fragment & MORE_FRAGMENTS
        if partial.pieces.get(start) == data and (more or end == partial.total):
            return None
        if (
            not data
            or end > MAX_LEN - HEADER_LEN
            or (more and len(data) & 7)
            or (not more and partial.total not in (-1, end))
            or (partial.total >= 0 and end > partial.total)
            or self._bytes + len(data) > MAX_BYTES
            or any(start < at + len(piece) and at < end for at, piece in partial.pieces.items())
        ):
            self._drop(key, partial)
            self.failures += 1
            return None
        partial.pieces[start] = data
        partial.size += len(data)
        self._bytes += len(data)
        if not more:
            partial.total = end
            if any(at + len(piece) > end for at, piece in partial.pieces.items()):
                self._drop(key, partial)
                self.failures += 1
                return None
        if start == 0:
            partial.first = packet
        if partial.size != partial.total or partial.first is None:
            return None
        self._drop(key, partial)
        first = partial.first
        payload = b"".join(partial.pieces[at] for at in sorted(partial.pieces))
        return Ipv4Packet(
            first.src, first.dst, first.protocol, payload, first.ttl, first.identification, 0, first.tos, first.options
        )

    def on_timer(self, now: int) -> list[Ipv4Packet]:
        """Give up what waited too long. Returns the first fragments of those that have one, to be reported."""
        late = [(key, partial) for key, partial in self._partials.items() if partial.deadline <= now]
        for key, partial in late:
            self._drop(key, partial)
            self.failures += 1
        return [partial.first for _, partial in late if partial.first is not None]

    def _drop(self, key: tuple[bytes, bytes, int, int], partial: _Partial) -> None:
        del self._partials[key]
        self._bytes -= partial.size
        self.deadline = min((other.deadline for other in self._partials.values()), default=NEVER)

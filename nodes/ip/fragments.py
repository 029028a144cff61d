"""Fragmentation and reassembly of IPv4 (RFC 791 section 3.2, RFC 815, RFC 1122 section 3.3.2) and IPv6 packets (RFC
8200 section 4.5)."""

from __future__ import annotations

from typing import Final, Generic, TypeVar

from nodes.base.clock import NEVER, SECOND
from nodes.packet import ipv6
from nodes.packet.icmp6 import ERRONEOUS_HEADER, FIRST_FRAGMENT_INCOMPLETE
from nodes.packet.ipv4 import HEADER_LEN, MAX_LEN, MORE_FRAGMENTS, OFFSET_MASK, Ipv4Packet
from nodes.packet.ipv6 import FRAGMENT_HEADER, Ipv6Packet, ParameterProblem, upper_layer
from nodes.packet.malformed import MalformedPacket
from nodes.tcp.parameters import Parameters

#: Bytes kept for reassembly in all; further fragments are discarded (Linux: ipfrag_high_thresh).
MAX_BYTES: Final = 4 << 20
#: What is counted for each fragment beside its payload, so that a flood of tiny ones does not take more than that.
OVERHEAD: Final = 512


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


def fragment6(packet: Ipv6Packet, mtu: int, identification: int) -> list[Ipv6Packet]:
    """The packets of at most `mtu` bytes (at least 1280) that carry `packet`, which has no extension headers."""
    room = (mtu - ipv6.HEADER_LEN - FRAGMENT_HEADER.size) & ~7
    pieces: list[Ipv6Packet] = []
    for at in range(0, len(packet.payload), room):
        more = at + room < len(packet.payload)
        header = FRAGMENT_HEADER.pack(packet.next_header, 0, at | more, identification)
        pieces.append(
            Ipv6Packet(
                packet.src,
                packet.dst,
                ipv6.FRAGMENT,
                header + packet.payload[at : at + room],
                packet.hop_limit,
                packet.traffic_class,
                packet.flow_label,
            )
        )
    return pieces


#: The packet a fragment came in.
P = TypeVar("P")


class _Partial(Generic[P]):
    """The fragments of one packet so far, by their offset in bytes; `total` is -1 until the last one came."""

    __slots__ = ("deadline", "first", "pieces", "size", "total")

    def __init__(self, deadline: int) -> None:
        self.deadline = deadline
        self.pieces: dict[int, bytes] = {}
        self.size = 0
        self.total = -1
        self.first: P | None = None


#: Who sends to whom, protocol (of IPv6: 0), identification.
_Key = tuple[bytes, bytes, int, int]


class _Pieces(Generic[P]):
    """The packets that one host is putting together."""

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters
        self._partials: dict[_Key, _Partial[P]] = {}
        self._bytes = 0
        self.deadline = NEVER
        self.failures = 0

    def _lifetime(self) -> int:
        """Seconds that fragments are kept."""
        raise NotImplementedError

    def _take(
        self, now: int, key: _Key, packet: P, start: int, data: bytes, more: bool, limit: int
    ) -> tuple[P, bytes] | None:
        """Take a fragment; the first one and the whole payload, of at most `limit` bytes, when it was the one missing.

        Fragments that overlap others without being the same discard the whole packet (RFC 5722's rule, Linux's too).
        """
        partial = self._partials.get(key)
        if partial is None:
            partial = self._partials[key] = _Partial(now + self._lifetime() * SECOND)
            self.deadline = min(self.deadline, partial.deadline)
        end = start + len(data)
        if partial.pieces.get(start) == data and (more or end == partial.total):
            return None
        if (
            not data
            or end > limit
            or (more and len(data) & 7)
            or (not more and partial.total not in (-1, end))
            or (partial.total >= 0 and end > partial.total)
            or self._bytes + len(data) + OVERHEAD > MAX_BYTES
            or any(start < at + len(piece) and at < end for at, piece in partial.pieces.items())
        ):
            self._drop(key, partial)
            self.failures += 1
            return None
        partial.pieces[start] = data
        partial.size += len(data)
        self._bytes += len(data) + OVERHEAD
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
        return partial.first, b"".join(partial.pieces[at] for at in sorted(partial.pieces))

    def on_timer(self, now: int) -> list[P]:
        """Give up what waited too long. Returns the first fragments of those that have one, to be reported."""
        late = [(key, partial) for key, partial in self._partials.items() if partial.deadline <= now]
        for key, partial in late:
            self._forget(key, partial)
            self.failures += 1
        self._set_deadline()
        return [partial.first for _, partial in late if partial.first is not None]

    def _drop(self, key: _Key, partial: _Partial[P]) -> None:
        self._forget(key, partial)
        self._set_deadline()

    def _forget(self, key: _Key, partial: _Partial[P]) -> None:
        del self._partials[key]
        self._bytes -= partial.size + OVERHEAD * len(partial.pieces)

    def _set_deadline(self) -> None:
        self.deadline = min((other.deadline for other in self._partials.values()), default=NEVER)


class Reassembly(_Pieces[Ipv4Packet]):
    """Of IPv4 packets."""

    def _lifetime(self) -> int:
        return self._parameters.ipfrag_time

    def add(self, now: int, packet: Ipv4Packet) -> Ipv4Packet | None:
        """Take a fragment; the whole packet when this was the one missing."""
        key = (packet.src, packet.dst, packet.protocol, packet.identification)
        start = (packet.fragment & OFFSET_MASK) << 3
        more = packet.fragment & MORE_FRAGMENTS != 0
        whole = self._take(now, key, packet, start, packet.payload, more, MAX_LEN - HEADER_LEN)
        if whole is None:
            return None
        first, payload = whole
        return Ipv4Packet(
            first.src, first.dst, first.protocol, payload, first.ttl, first.identification, 0, first.tos, first.options
        )


class Reassembly6(_Pieces[Ipv6Packet]):
    """Of IPv6 packets."""

    def _lifetime(self) -> int:
        return self._parameters.ip6frag_time

    def add(self, now: int, packet: Ipv6Packet, at: int) -> Ipv6Packet | None:
        """Take a fragment, its fragment header at `packet.payload[at:]`; the whole packet when it was the one missing.

        Raises ParameterProblem for what its sender must be told.
        """
        if len(packet.payload) < at + FRAGMENT_HEADER.size:
            self.failures += 1
            return None
        next_header, _, word, identification = FRAGMENT_HEADER.unpack_from(packet.payload, at)
        data = packet.payload[at + FRAGMENT_HEADER.size :]
        start, more = word & 0xFFF8, word & 1 != 0
        if more and len(data) & 7:
            raise ParameterProblem("a fragment that is no multiple of 8 bytes", ERRONEOUS_HEADER, 4)
        if start + len(data) > ipv6.MAX_PAYLOAD:
            pointer = ipv6.HEADER_LEN + at + 2
            raise ParameterProblem("fragments of more than a packet", ERRONEOUS_HEADER, pointer)
        if not start and not _is_complete(next_header, data):
            raise ParameterProblem("a first fragment without all headers", FIRST_FRAGMENT_INCOMPLETE, 0)
        if not start and not more:  # no fragment at all: apart from others of the same number (RFC 6946)
            return _whole(packet, next_header, data)
        key = (packet.src, packet.dst, 0, identification)
        whole = self._take(now, key, packet, start, data, more, ipv6.MAX_PAYLOAD)
        if whole is None:
            return None
        first, payload = whole
        return _whole(first, first.payload[upper_layer(first.next_header, first.payload).at], payload)


def _whole(first: Ipv6Packet, next_header: int, payload: bytes) -> Ipv6Packet:
    return Ipv6Packet(
        first.src, first.dst, next_header, payload, first.hop_limit, first.traffic_class, first.flow_label
    )


def _is_complete(next_header: int, data: bytes) -> bool:
    """Whether a first fragment has all headers, that of the upper layer too (RFC 7112)."""
    try:
        upper = upper_layer(next_header, data)
    except ParameterProblem:
        return True  # to be found again in the whole packet
    except MalformedPacket:
        return False
    return len(data) - upper.at >= _LEAST.get(upper.protocol, 0)


#: Lengths of headers.
_LEAST: Final = {ipv6.TCP: 20, ipv6.UDP: 8, ipv6.ICMP: 8}

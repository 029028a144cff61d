"""The IPv6 packet and its extension headers (RFC 8200)."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from nodes.packet.malformed import MalformedPacket

HEADER_LEN: Final = 40
#: Largest payload length, extension headers included (there are no jumbograms here).
MAX_PAYLOAD: Final = 65535
#: Every link takes packets of this many bytes (RFC 8200 section 5).
MIN_MTU: Final = 1280

#: Values of "next header".
HOP_BY_HOP: Final = 0
TCP: Final = 6
UDP: Final = 17
ROUTING: Final = 43
FRAGMENT: Final = 44
ICMP: Final = 58
NO_NEXT_HEADER: Final = 59
DESTINATION_OPTIONS: Final = 60

ANY: Final = bytes(16)
LOOPBACK: Final = bytes(15) + b"\x01"
ALL_NODES: Final = bytes.fromhex("ff020000000000000000000000000001")
ALL_ROUTERS: Final = bytes.fromhex("ff020000000000000000000000000002")
#: Ethernet addresses of multicast packets: this, then the last four bytes of the group (RFC 2464 section 7).
MULTICAST_MAC: Final = b"\x33\x33"

#: version, traffic class, flow label; payload length; next header; hop limit; source; destination
HEADER: Final = struct.Struct("!IHBB16s16s")
#: next header; reserved; offset in units of 8 bytes (13 bits) and the flag that more follow; identification
FRAGMENT_HEADER: Final = struct.Struct("!BBHI")
_SOLICITED: Final = bytes.fromhex("ff0200000000000000000001ff")


class Ipv6Packet:
    """One IPv6 packet, parsed. `payload` starts with the header that `next_header` says, maybe an extension header."""

    __slots__ = ("dst", "flow_label", "hop_limit", "next_header", "payload", "src", "traffic_class")

    def __init__(
        self,
        src: bytes,
        dst: bytes,
        next_header: int,
        payload: bytes,
        hop_limit: int = 64,
        traffic_class: int = 0,
        flow_label: int = 0,
    ) -> None:
        self.src = src
        self.dst = dst
        self.next_header = next_header
        self.payload = payload
        self.hop_limit = hop_limit
        self.traffic_class = traffic_class
        self.flow_label = flow_label


def encode_ipv6(packet: Ipv6Packet) -> bytes:
    """The packet's bytes. The caller keeps the payload within MAX_PAYLOAD."""
    word = 0x6000_0000 | packet.traffic_class << 20 | packet.flow_label
    return (
        HEADER.pack(word, len(packet.payload), packet.next_header, packet.hop_limit, packet.src, packet.dst)
        + packet.payload
    )


def decode_ipv6(data: bytes) -> Ipv6Packet:
    """The packet at the start of `data`; what follows its payload length (padding of the frame) is ignored.

    Raises MalformedPacket for a wrong version or length.
    """
    if len(data) < HEADER_LEN:
        raise MalformedPacket(f"IPv6 packet of {len(data)} bytes; its header alone has {HEADER_LEN}")
    word, length, next_header, hop_limit, src, dst = HEADER.unpack_from(data)
    if word >> 28 != 6:
        raise MalformedPacket(f"IP version {word >> 28} in an IPv6 packet")
    if HEADER_LEN + length > len(data):
        raise MalformedPacket(f"IPv6 payload length {length}: {len(data) - HEADER_LEN} bytes at hand")
    payload = data[HEADER_LEN : HEADER_LEN + length]
    return Ipv6Packet(src, dst, next_header, payload, hop_limit, word >> 20 & 0xFF, word & 0xF_FFFF)


class UpperLayer(NamedTuple):
    """What the extension headers lead to. `protocol` is that of the header at `payload[at:]`: TCP, UDP, ICMP ...,
    FRAGMENT, or NO_NEXT_HEADER. `field` is where its number stands, counted from the start of the packet."""

    protocol: int
    at: int
    field: int


class ParameterProblem(MalformedPacket):
    """A header that its receiver must refuse (RFC 8200 section 4). `code` is that of the ICMPv6 message that says so,
    `pointer` its place in the packet, `multicast`: also when the packet came to a group."""

    def __init__(self, message: str, code: int, pointer: int, multicast: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.pointer = pointer
        self.multicast = multicast


def upper_layer(next_header: int, payload: bytes) -> UpperLayer:
    """Follow the extension headers of a packet, up to what is none, or to a fragment header.

    Raises ParameterProblem; MalformedPacket for a header that is cut off, or an option that asks to be discarded.
    """
    at = 0
    field = 6
    kind = next_header
    while kind in (HOP_BY_HOP, ROUTING, DESTINATION_OPTIONS):
        if kind == HOP_BY_HOP and at:
            raise ParameterProblem("hop-by-hop options that are not the first header", 1, field)
        if len(payload) < at + 8 or len(payload) < at + (size := 8 + 8 * payload[at + 1]):
            raise MalformedPacket(f"extension header {kind} is cut off")
        if kind != ROUTING:
            _check_options(payload, at + 2, at + size)
        elif payload[at + 3]:  # segments left: nobody here knows where to (RFC 8200 section 4.4, RFC 5095)
            raise ParameterProblem(f"routing header of type {payload[at + 2]}", 0, HEADER_LEN + at + 2)
        kind = payload[at]
        field = HEADER_LEN + at
        at += size
    return UpperLayer(kind, at, field)


def _check_options(payload: bytes, at: int, end: int) -> None:
    """The options of a header: of an unknown one its two highest bits say what to do (RFC 8200 section 4.2)."""
    while at < end:
        kind = payload[at]
        if kind == 0:  # Pad1
            at += 1
            continue
        if at + 2 > end or at + 2 + payload[at + 1] > end:
            raise ParameterProblem("an option longer than its header", 0, HEADER_LEN + at)
        # PadN, and the router alert of multicast listener reports (RFC 2711)
        if kind not in (1, 5) and kind >> 6:
            if kind >> 6 == 1:
                raise MalformedPacket(f"unknown option {kind}")
            raise ParameterProblem(f"unknown option {kind}", 2, HEADER_LEN + at, kind >> 6 == 2)
        at += 2 + payload[at + 1]


def is_link_local(address: bytes) -> bool:
    """fe80::/10."""
    return address[0] == 0xFE and address[1] & 0xC0 == 0x80


def link_local(mac: bytes) -> bytes:
    """The link-local address of an interface, made from its MAC address (RFC 4291 appendix A, RFC 2464 section 5)."""
    return b"\xfe\x80" + bytes(6) + bytes((mac[0] ^ 2,)) + mac[1:3] + b"\xff\xfe" + mac[3:6]


def solicited_node(address: bytes) -> bytes:
    """The multicast group that everybody with an address is in (RFC 4291 section 2.7.1)."""
    return _SOLICITED + address[13:]


def multicast_mac(group: bytes) -> bytes:
    """The Ethernet address of a multicast group (RFC 2464 section 7)."""
    return MULTICAST_MAC + group[12:]

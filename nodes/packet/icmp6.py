"""ICMP for IPv6 (RFC 4443) and the messages of neighbour discovery in it (RFC 4861)."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from nodes.packet.checksum import pseudo_sum, sum16, transport_checksum_ok
from nodes.packet.icmp import IcmpMessage
from nodes.packet.ipv6 import ICMP
from nodes.packet.malformed import MalformedPacket

DESTINATION_UNREACHABLE: Final = 1
PACKET_TOO_BIG: Final = 2
TIME_EXCEEDED: Final = 3
PARAMETER_PROBLEM: Final = 4
ECHO_REQUEST: Final = 128
ECHO_REPLY: Final = 129
ROUTER_SOLICITATION: Final = 133
ROUTER_ADVERTISEMENT: Final = 134
NEIGHBOUR_SOLICITATION: Final = 135
NEIGHBOUR_ADVERTISEMENT: Final = 136
REDIRECT: Final = 137

#: Codes of DESTINATION_UNREACHABLE.
NO_ROUTE: Final = 0
ADMINISTRATIVELY_PROHIBITED: Final = 1
BEYOND_SCOPE: Final = 2
ADDRESS_UNREACHABLE: Final = 3
PORT_UNREACHABLE: Final = 4

#: Codes of TIME_EXCEEDED.
HOP_LIMIT_EXCEEDED: Final = 0
REASSEMBLY_TIME_EXCEEDED: Final = 1

#: Codes of PARAMETER_PROBLEM.
ERRONEOUS_HEADER: Final = 0
UNKNOWN_NEXT_HEADER: Final = 1
UNKNOWN_OPTION: Final = 2
FIRST_FRAGMENT_INCOMPLETE: Final = 3

#: Types from here on report no error; nothing is ever sent about those below (RFC 4443 section 2.4 e).
INFORMATIONAL: Final = 128

#: Flags of NEIGHBOUR_ADVERTISEMENT, in `rest`.
ROUTER: Final = 0x8000_0000
SOLICITED: Final = 0x4000_0000
OVERRIDE: Final = 0x2000_0000

_HEADER: Final = struct.Struct("!BBHI")
_SOURCE_MAC: Final = 1
_TARGET_MAC: Final = 2


def encode_icmp6(message: IcmpMessage, src: bytes, dst: bytes) -> bytes:
    """The message's bytes between two addresses, checksummed. `rest` is as in ICMP; of PACKET_TOO_BIG it is the MTU,
    of PARAMETER_PROBLEM the pointer."""
    zero = _HEADER.pack(message.type, message.code, 0, message.rest) + message.payload
    check = -(pseudo_sum(src, dst, ICMP, len(zero)) + sum16(zero)) % 65535
    return zero[:2] + check.to_bytes(2, "big") + zero[4:]


def decode_icmp6(data: bytes, src: bytes, dst: bytes) -> IcmpMessage:
    """Raises MalformedPacket when it is short or its checksum is wrong."""
    if len(data) < _HEADER.size:
        raise MalformedPacket(f"ICMPv6 message of {len(data)} bytes; its header alone has {_HEADER.size}")
    if not transport_checksum_ok(src, dst, ICMP, data):
        raise MalformedPacket("ICMPv6 checksum is wrong")
    kind, code, _, rest = _HEADER.unpack_from(data)
    return IcmpMessage(kind, code, rest, data[_HEADER.size :])


class Discovery(NamedTuple):
    """A neighbour solicitation or advertisement: whose MAC address is asked or told. `mac` is the sender's, of an
    advertisement the target's; b"" where the message has none. `flags` are those of an advertisement."""

    target: bytes
    mac: bytes
    flags: int


def solicitation(target: bytes, mac: bytes) -> IcmpMessage:
    """Who has `target`? Tell `mac` (RFC 4861 section 4.3)."""
    return IcmpMessage(NEIGHBOUR_SOLICITATION, 0, 0, target + bytes((_SOURCE_MAC, 1)) + mac)


def advertisement(target: bytes, mac: bytes, flags: int) -> IcmpMessage:
    """`target` is at `mac` (RFC 4861 section 4.4)."""
    return IcmpMessage(NEIGHBOUR_ADVERTISEMENT, 0, flags, target + bytes((_TARGET_MAC, 1)) + mac)


def decode_discovery(message: IcmpMessage) -> Discovery:
    """What a solicitation or an advertisement says. Raises MalformedPacket as RFC 4861 sections 7.1.1 and 7.1.2 ask;
    hop limit and addresses are the caller's to check."""
    data = message.payload
    if message.code or len(data) < 16:
        raise MalformedPacket(f"neighbour discovery with code {message.code} in {len(data)} bytes")
    target = data[:16]
    if target[0] == 0xFF:
        raise MalformedPacket("neighbour discovery of a multicast address")
    wanted = _SOURCE_MAC if message.type == NEIGHBOUR_SOLICITATION else _TARGET_MAC
    mac = b""
    at = 16
    while at < len(data):
        size = 8 * data[at + 1] if at + 1 < len(data) else 0
        if not size or at + size > len(data):
            raise MalformedPacket("option of neighbour discovery with an impossible length")
        if data[at] == wanted and size == 8:
            mac = data[at + 2 : at + 8]
        at += size
    return Discovery(target, mac, message.rest)

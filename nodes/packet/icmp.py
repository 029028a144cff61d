"""ICMP for IPv4 (RFC 792, RFC 1191)."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from nodes.packet.checksum import checksum, sum16
from nodes.packet.malformed import MalformedPacket

ECHO_REPLY: Final = 0
DESTINATION_UNREACHABLE: Final = 3
SOURCE_QUENCH: Final = 4
REDIRECT: Final = 5
ECHO_REQUEST: Final = 8
TIME_EXCEEDED: Final = 11
PARAMETER_PROBLEM: Final = 12

#: Codes of DESTINATION_UNREACHABLE.
NET_UNREACHABLE: Final = 0
HOST_UNREACHABLE: Final = 1
PROTOCOL_UNREACHABLE: Final = 2
PORT_UNREACHABLE: Final = 3
FRAGMENTATION_NEEDED: Final = 4
ADMINISTRATIVELY_PROHIBITED: Final = 13

#: Codes of TIME_EXCEEDED.
TTL_EXCEEDED: Final = 0
REASSEMBLY_TIME_EXCEEDED: Final = 1

#: Messages that report an error about a packet; never sent about one another (RFC 1122 section 3.2.2).
ERRORS: Final = (DESTINATION_UNREACHABLE, SOURCE_QUENCH, REDIRECT, TIME_EXCEEDED, PARAMETER_PROBLEM)

_HEADER: Final = struct.Struct("!BBHI")


class IcmpMessage(NamedTuple):
    """`rest` is the second 32-bit word: identifier << 16 | sequence of an echo, the next hop's MTU of
    FRAGMENTATION_NEEDED. An error's `payload` starts with the header of the packet it is about."""

    type: int
    code: int
    rest: int
    payload: bytes


def encode_icmp(message: IcmpMessage) -> bytes:
    zero = _HEADER.pack(message.type, message.code, 0, message.rest) + message.payload
    return zero[:2] + checksum(zero).to_bytes(2, "big") + zero[4:]


def decode_icmp(data: bytes) -> IcmpMessage:
    """Raises MalformedPacket when it is short or its checksum is wrong."""
    if len(data) < _HEADER.size:
        raise MalformedPacket(f"ICMP message of {len(data)} bytes; its header alone has {_HEADER.size}")
    if sum16(data):
        raise MalformedPacket("ICMP checksum is wrong")
    kind, code, _, rest = _HEADER.unpack_from(data)
    return IcmpMessage(kind, code, rest, data[_HEADER.size :])

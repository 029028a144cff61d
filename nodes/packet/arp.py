"""ARP for IPv4 over Ethernet (RFC 826)."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from nodes.packet.malformed import MalformedPacket

REQUEST: Final = 1
REPLY: Final = 2

_PACKET: Final = struct.Struct("!HHBBH6s4s6s4s")


class ArpPacket(NamedTuple):
    """`operation` is REQUEST or REPLY; a request's `target_mac` is zero."""

    operation: int
    sender_mac: bytes
    sender: bytes
    target_mac: bytes
    target: bytes


def encode_arp(packet: ArpPacket) -> bytes:
    return _PACKET.pack(1, 0x0800, 6, 4, *packet)


def decode_arp(data: bytes) -> ArpPacket:
    """Raises MalformedPacket for anything but IPv4 over Ethernet."""
    if len(data) < _PACKET.size:
        raise MalformedPacket(f"ARP packet of {len(data)} bytes; IPv4 over Ethernet takes {_PACKET.size}")
    hardware, protocol, hardware_len, protocol_len, *rest = _PACKET.unpack_from(data)
    if (hardware, protocol, hardware_len, protocol_len) != (1, 0x0800, 6, 4):
        raise MalformedPacket(f"ARP for hardware {hardware}, protocol {protocol:#06x}; expected 1, 0x0800")
    return ArpPacket(*rest)

"""The Ethernet II header (RFC 894): destination, source, type; 14 bytes, no frame check sequence."""

from __future__ import annotations

from typing import Final, NamedTuple

from nodes.packet.malformed import MalformedPacket

HEADER_LEN: Final = 14
BROADCAST: Final = b"\xff\xff\xff\xff\xff\xff"
TYPE_IPV4: Final = b"\x08\x00"
TYPE_ARP: Final = b"\x08\x06"
TYPE_IPV6: Final = b"\x86\xdd"


class EthernetFrame(NamedTuple):
    """`ethertype` is its two bytes."""

    dst: bytes
    src: bytes
    ethertype: bytes
    payload: bytes


def encode_ethernet(dst: bytes, src: bytes, ethertype: bytes, payload: bytes) -> bytes:
    """The frame's bytes; nothing is padded, as on a virtual link."""
    return dst + src + ethertype + payload


def decode_ethernet(frame: bytes) -> EthernetFrame:
    """Raises MalformedPacket for less than a header."""
    if len(frame) < HEADER_LEN:
        raise MalformedPacket(f"Ethernet frame of {len(frame)} bytes; its header alone has {HEADER_LEN}")
    return EthernetFrame(frame[0:6], frame[6:12], frame[12:14], frame[14:])

"""The UDP datagram (RFC 768)."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from nodes.packet.checksum import pseudo_sum, sum16, transport_checksum_ok
from nodes.packet.malformed import MalformedPacket

HEADER_LEN: Final = 8
_PROTOCOL: Final = 17
_HEADER: Final = struct.Struct("!HHHH")


class Datagram(NamedTuple):
    """One UDP datagram."""

    src_port: int
    dst_port: int
    payload: bytes


def encode_udp(datagram: Datagram, src: bytes, dst: bytes) -> bytes:
    """The datagram's bytes between two IP addresses, checksummed; the caller keeps it within 65535 - 28 bytes."""
    length = HEADER_LEN + len(datagram.payload)
    ports = datagram.src_port + datagram.dst_port
    total = pseudo_sum(src, dst, _PROTOCOL, length) + ports + length + sum16(datagram.payload)
    # a checksum of zero means "none", so it is sent as its equal, all ones
    check = -total % 65535 or 0xFFFF
    return _HEADER.pack(datagram.src_port, datagram.dst_port, length, check) + datagram.payload


def decode_udp(data: bytes, src: bytes, dst: bytes) -> Datagram:
    """The datagram in an IP payload. Raises MalformedPacket when it is short, its checksum wrong or (IPv6) missing."""
    if len(data) < HEADER_LEN:
        raise MalformedPacket(f"UDP datagram of {len(data)} bytes; its header alone has {HEADER_LEN}")
    src_port, dst_port, length, check = _HEADER.unpack_from(data)
    if not HEADER_LEN <= length <= len(data):
        raise MalformedPacket(f"UDP length {length} in {len(data)} bytes")
    if len(src) == 16 and not check:
        raise MalformedPacket("UDP without a checksum over IPv6")  # RFC 8200 section 8.1
    if check and not transport_checksum_ok(src, dst, _PROTOCOL, data[:length]):
        raise MalformedPacket("UDP checksum is wrong")
    return Datagram(src_port, dst_port, data[HEADER_LEN:length])

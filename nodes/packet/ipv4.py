"""The IPv4 packet (RFC 791 section 3.1)."""

from __future__ import annotations

import struct
from typing import Final

from librt.strings import BytesWriter, read_i64_be, write_i16_be, write_i64_be
from mypy_extensions import i16, i64

from nodes.packet.checksum import COMPILED, checksum, sum16
from nodes.packet.malformed import MalformedPacket
from nodes.packet.words import u16, u32, u48

HEADER_LEN: Final = 20
MAX_LEN: Final = 65535

ICMP: Final = 1
TCP: Final = 6
UDP: Final = 17

#: Bits of the word that holds the flags and the fragment offset (in units of 8 bytes).
DONT_FRAGMENT: Final = 0x4000
MORE_FRAGMENTS: Final = 0x2000
OFFSET_MASK: Final = 0x1FFF

#: version and header length, TOS, total length, identification, flags and offset, TTL, protocol, checksum, src, dst
HEADER: Final = struct.Struct("!BBHHHBBH4s4s")


class Ipv4Packet:
    """One IPv4 packet, parsed. `fragment` is the raw word of flags and offset; `options` is padded to 4 bytes."""

    __slots__ = ("dst", "fragment", "identification", "options", "payload", "protocol", "src", "tos", "ttl")

    def __init__(
        self,
        src: bytes,
        dst: bytes,
        protocol: int,
        payload: bytes,
        ttl: int = 64,
        identification: int = 0,
        fragment: int = 0,
        tos: int = 0,
        options: bytes = b"",
    ) -> None:
        self.src = src
        self.dst = dst
        self.protocol = protocol
        self.payload = payload
        self.ttl = ttl
        self.identification = identification
        self.fragment = fragment
        self.tos = tos
        self.options = options


def encode_ipv4(packet: Ipv4Packet) -> bytes:
    """The packet's bytes with its header checksum. The caller keeps the total length within MAX_LEN."""
    header_len = HEADER_LEN + len(packet.options)
    header = (
        HEADER.pack(
            0x40 | header_len >> 2,
            packet.tos,
            header_len + len(packet.payload),
            packet.identification,
            packet.fragment,
            packet.ttl,
            packet.protocol,
            0,
            packet.src,
            packet.dst,
        )
        + packet.options
    )
    return header[:10] + checksum(header).to_bytes(2, "big") + header[12:] + packet.payload


def decode_ipv4(data: bytes) -> Ipv4Packet:
    """The packet at the start of `data`; what follows its total length (padding of the frame) is ignored.

    Raises MalformedPacket for a wrong version, length or header checksum (RFC 1122 section 3.2.1).
    """
    if len(data) < HEADER_LEN:
        raise MalformedPacket(f"IPv4 packet of {len(data)} bytes; its header alone has {HEADER_LEN}")
    version, tos, total, identification, fragment, ttl, protocol, _, src, dst = HEADER.unpack_from(data)
    header_len = (version & 15) << 2
    if version >> 4 != 4 or header_len < HEADER_LEN:
        raise MalformedPacket(f"IP version {version >> 4} with a header of {header_len} bytes")
    if not header_len <= total <= len(data):
        raise MalformedPacket(f"IPv4 total length {total}: header {header_len}, {len(data)} bytes at hand")
    if sum16(data[:header_len]):
        raise MalformedPacket("IPv4 header checksum is wrong")
    return Ipv4Packet(
        src, dst, protocol, data[header_len:total], ttl, identification, fragment, tos, data[HEADER_LEN:header_len]
    )


def passed_on(ethernet: bytes, frame: bytes, third: i64) -> bytes:
    """The first 26 bytes of the frame in which a router passes on the packet in `frame`: the Ethernet header `ethernet`
    (or none, b""), and the first three words of the packet, the last of which is `third`."""
    if not COMPILED or not ethernet:
        return ethernet + frame[14:22] + int(third).to_bytes(4, "big")
    out = BytesWriter()
    write_i64_be(out, read_i64_be(ethernet, 0))
    write_i64_be(out, u32(ethernet, 8) << 32 | u16(ethernet, 12) << 16 | u16(frame, 14))
    write_i64_be(out, u48(frame, 16) << 16 | third >> 16)
    write_i16_be(out, i16(third & 0xFFFF))
    return out.getvalue()

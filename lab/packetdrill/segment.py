"""TCP segments and ICMP errors of a script as IP packets, and back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from lab.packetdrill import options
from lab.packetdrill.script import TcpOption
from nodes.packet import ipv4, tcp
from nodes.packet.checksum import sum16
from nodes.packet.icmp import IcmpMessage, encode_icmp
from nodes.packet.ipv4 import Ipv4Packet, decode_ipv4, encode_ipv4

_LETTERS: Final = (
    (tcp.SYN, "S"),
    (tcp.FIN, "F"),
    (tcp.RST, "R"),
    (tcp.PSH, "P"),
    (tcp.URG, "U"),
    (tcp.ECE, "E"),
    (tcp.CWR, "W"),
    (tcp.AE, "A"),
    (tcp.ACK, "."),
)


@dataclass(frozen=True, slots=True)
class WireSegment:
    """A TCP segment between two addresses, with its options as they are on the wire. `tos` is the IP header's."""

    src: bytes
    dst: bytes
    src_port: int
    dst_port: int
    seq: int
    ack: int
    flags: int
    window: int
    urgent: int
    options: tuple[TcpOption, ...]
    payload: bytes
    tos: int = 0

    def words(self) -> str:
        """As a script would have it."""
        size = len(self.payload)
        text = f"{flag_words(self.flags)} {self.seq}:{(self.seq + size) & 0xFFFF_FFFF}({size})"
        if self.flags & tcp.ACK:
            text += f" ack {self.ack}"
        text += f" win {self.window}"
        if self.urgent:
            text += f" urg {self.urgent}"
        if self.options:
            text += f" <{','.join(option.text for option in self.options)}>"
        return text


def flag_words(flags: int) -> str:
    """The letters of `flags`, or `-`."""
    return "".join(letter for bit, letter in _LETTERS if flags & bit) or "-"


def encode(segment: WireSegment, identification: int) -> bytes:
    """The IP packet, both checksums right."""
    extra = options.encode(segment.options)
    header = (
        segment.src_port.to_bytes(2, "big")
        + segment.dst_port.to_bytes(2, "big")
        + segment.seq.to_bytes(4, "big")
        + segment.ack.to_bytes(4, "big")
        + ((20 + len(extra)) << 10 | segment.flags).to_bytes(2, "big")
        + segment.window.to_bytes(2, "big")
    )
    data = header + bytes(2) + segment.urgent.to_bytes(2, "big") + extra + segment.payload
    total = sum16(segment.src) + sum16(segment.dst) + ipv4.TCP + len(data) + sum16(data)
    data = header + (-total % 65535).to_bytes(2, "big") + data[18:]
    return encode_ipv4(
        Ipv4Packet(
            segment.src,
            segment.dst,
            ipv4.TCP,
            data,
            identification=identification,
            fragment=ipv4.DONT_FRAGMENT,
            tos=segment.tos,
        )
    )


def decode(packet: bytes) -> WireSegment | None:
    """The TCP segment in an IP packet that our stack sent; None when there is none in it.

    Raises MalformedPacket for a wrong IP header, ValueError for a wrong TCP checksum.
    """
    ip = decode_ipv4(packet)
    if ip.protocol != ipv4.TCP:
        return None
    data = ip.payload
    if (sum16(ip.src) + sum16(ip.dst) + ipv4.TCP + len(data) + sum16(data)) % 65535:
        raise ValueError("a TCP checksum that is wrong")
    offset_flags = int.from_bytes(data[12:14], "big")
    header_len = offset_flags >> 10 & 0x3C
    return WireSegment(
        ip.src,
        ip.dst,
        int.from_bytes(data[0:2], "big"),
        int.from_bytes(data[2:4], "big"),
        int.from_bytes(data[4:8], "big"),
        int.from_bytes(data[8:12], "big"),
        offset_flags & 0x1FF,
        int.from_bytes(data[14:16], "big"),
        int.from_bytes(data[18:20], "big"),
        options.decode(data[20:header_len]),
        data[header_len:],
        ip.tos,
    )


def encode_error(about: WireSegment, kind: int, code: int, rest: int) -> bytes:
    """An ICMP error, from the peer of `about`, that quotes it: its IP header and the first 8 bytes after."""
    quoted = encode(replace(about, options=()), 0)[:28]
    message = encode_icmp(IcmpMessage(kind, code, rest, quoted))
    return encode_ipv4(Ipv4Packet(about.dst, about.src, ipv4.ICMP, message))

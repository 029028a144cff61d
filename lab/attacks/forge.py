"""The packet forge: TCP segments that no stack sent, with right checksums."""

from __future__ import annotations

from lab.links.frame import FrameView
from nodes.packet.ethernet import TYPE_IPV4, TYPE_IPV6, encode_ethernet
from nodes.packet.ipv4 import TCP, Ipv4Packet, encode_ipv4
from nodes.packet.ipv6 import Ipv6Packet, encode_ipv6
from nodes.packet.tcp import ACK, FIN, RST, SYN, Segment
from nodes.packet.tcp_codec import encode_tcp


def tcp_packet(
    src: bytes,
    dst: bytes,
    src_port: int,
    dst_port: int,
    seq: int,
    ack: int,
    flags: int,
    window: int = 0,
    payload: bytes = b"",
    ttl: int = 64,
) -> bytes:
    """An IP packet, of the addresses' family, with one TCP segment. Sequence numbers are taken modulo 2**32."""
    segment = Segment(src_port, dst_port, seq & 0xFFFFFFFF, ack & 0xFFFFFFFF, flags, window, payload)
    if len(src) == 16:
        return encode_ipv6(Ipv6Packet(src, dst, TCP, encode_tcp(segment, src, dst), ttl))
    return encode_ipv4(Ipv4Packet(src, dst, TCP, encode_tcp(segment, src, dst), ttl))


def tcp_frame(dst_mac: bytes, src_mac: bytes, packet: bytes) -> bytes:
    """An Ethernet frame around an IP packet."""
    return encode_ethernet(dst_mac, src_mac, TYPE_IPV6 if packet[0] >> 4 == 6 else TYPE_IPV4, packet)


def segment_length(view: FrameView) -> int:
    """SEG.LEN of a TCP frame: payload bytes plus one each for SYN and FIN (RFC 9293 section 3.4)."""
    flags = view.data[view.tcp + 13]
    return view.payload_end - view.payload + (1 if flags & SYN else 0) + (1 if flags & FIN else 0)


def resets_for(view: FrameView) -> tuple[bytes, bytes]:
    """The RSTs that end the connection of a TCP segment, made from the segment alone: to its receiver, to its sender.

    The receiver's has the segment's own sequence number, which is exact when the segment itself does not arrive. The
    sender's has the number it acknowledges; without an ACK it acknowledges the segment, as a closed port would
    (RFC 9293 section 3.10.7.1). Both are empty for what is not TCP or is an RST, to which no RST is ever sent.
    """
    if view.tcp < 0 or view.data[view.tcp + 13] & RST:
        return b"", b""
    data = view.data
    dst_mac, src_mac, src, dst = data[:6], data[6:12], view.src, view.dst
    src_port, dst_port = view.u16(view.tcp), view.u16(view.tcp + 2)
    seq, ack = view.u32(view.tcp + 4), view.u32(view.tcp + 8)
    if data[view.tcp + 13] & ACK:
        to_receiver = tcp_packet(src, dst, src_port, dst_port, seq, ack, RST | ACK)
        to_sender = tcp_packet(dst, src, dst_port, src_port, ack, 0, RST)
    else:
        to_receiver = tcp_packet(src, dst, src_port, dst_port, seq, 0, RST)
        to_sender = tcp_packet(dst, src, dst_port, src_port, 0, seq + segment_length(view), RST | ACK)
    return tcp_frame(dst_mac, src_mac, to_receiver), tcp_frame(src_mac, dst_mac, to_sender)

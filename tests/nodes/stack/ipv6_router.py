"""A router of IPv6 between two neighbours, and the frames they send it."""

from __future__ import annotations

from nodes.base.event_sink import EventSink
from nodes.base.random import Randomness
from nodes.packet.icmp import IcmpMessage
from nodes.packet.icmp6 import decode_icmp6, encode_icmp6
from nodes.packet.ipv6 import Ipv6Packet, decode_ipv6, encode_ipv6
from nodes.packet.udp import Datagram, encode_udp
from nodes.stack import Stack
from nodes.tcp.parameters import Parameters
from tests.nodes.net import ip, mac

SRC = ip("fd00::1")
DST = ip("fd00:0:0:1::2")
OURS = ip("fd00::fe")
OURS_LOCAL = ip("fe80::ff:fe00:a")  # from 02:00:00:00:00:0a: the bit of 02 inverted, ff:fe in the middle


def router(mtu: int = 1500, forward: bool = True) -> Stack:
    """fd00::fe (eth0) and fd00:0:0:1::fe (eth1, `mtu`), with both neighbours in its cache."""
    parameters = Parameters()
    parameters.set("ip_forward", int(forward))
    stack = Stack("r1", parameters, Randomness(1), EventSink())
    for number, (address, size) in enumerate((("fd00::fe", 1500), ("fd00:0:0:1::fe", mtu))):
        interface = stack.add_interface(f"eth{number}", mac(10 + number), mtu=size)
        stack.add_ipv6(interface, ip(address), 64)
    for index, (far, who, ours) in enumerate(((mac(1), SRC, OURS), (mac(2), DST, ip("fd00:0:0:1::fe")))):
        message = IcmpMessage(135, 0, 0, ours + b"\x01\x01" + far)
        stack.on_frame(0, index, solicit(far, who, message))
    stack.pull()
    return stack


def solicit(far: bytes, who: bytes, message: IcmpMessage, hop_limit: int = 255, dst: bytes = b"") -> bytes:
    group = dst or ip("ff02::1:ff00:0")[:13] + message.payload[13:16]
    packet = Ipv6Packet(who, group, 58, encode_icmp6(message, who, group), hop_limit)
    return b"\x33\x33" + group[12:] + far + b"\x86\xdd" + encode_ipv6(packet)


def frame(packet: Ipv6Packet, to: bytes = mac(10)) -> bytes:
    return to + mac(1) + b"\x86\xdd" + encode_ipv6(packet)


def icmp_error(stack: Stack) -> tuple[int, Ipv6Packet, IcmpMessage]:
    ((index, sent),) = stack.pull()
    packet = decode_ipv6(sent[14:])
    return index, packet, decode_icmp6(packet.payload, packet.src, packet.dst)


def udp(src: bytes, dst: bytes, data: bytes, port: int = 9) -> bytes:
    return encode_udp(Datagram(1, port, data), src, dst)

"""A router of IPv4 between two neighbours, and the frames they send it."""

from __future__ import annotations

from nodes.base.event_sink import EventSink
from nodes.base.events import LEVEL_ALL
from nodes.base.random import Randomness
from nodes.packet.icmp import IcmpMessage, decode_icmp
from nodes.packet.ipv4 import Ipv4Packet, decode_ipv4, encode_ipv4
from nodes.stack import Stack
from nodes.tcp.parameters import Parameters
from tests.nodes.net import ip, mac

SRC = ip("10.0.0.1")
DST = ip("10.0.1.2")


class Events(EventSink):
    """Keeps every event."""

    def __init__(self) -> None:
        super().__init__(LEVEL_ALL)
        self.events: list[tuple[int, int, int, tuple[int, ...]]] = []
        self.names: dict[str, int] = {}

    def name(self, text: str) -> int:
        return self.names.setdefault(text, len(self.names) + 1) if text else 0

    def emit(self, kind: int, time_ns: int, node: int, conn: int, cause: int, values: tuple[int, ...]) -> None:
        self.events.append((kind, time_ns, cause, values))


def router(mtu: int = 1500) -> Stack:
    """10.0.0.254 (eth0) and 10.0.1.254 (eth1, `mtu`), with both neighbours in its ARP cache."""
    parameters = Parameters()
    parameters.set("ip_forward", 1)
    stack = Stack("r1", parameters, Randomness(1), EventSink())
    stack.add_interface("eth0", mac(10), ip("10.0.0.254"), 24)
    stack.add_interface("eth1", mac(11), ip("10.0.1.254"), 24, mtu)
    router_knows(stack, 0, 0)
    router_knows(stack, 1, 0)
    return stack


def router_knows(stack: Stack, index: int, now: int) -> None:
    """The neighbour behind an interface has just asked for the router's MAC address."""
    ours = stack.interfaces[index]
    far, address = [(mac(1), SRC), (mac(2), DST)][index]
    question = bytes.fromhex("0001080006040001") + far + address + bytes(6) + ours.address
    stack.on_frame(now, index, ours.mac + far + b"\x08\x06" + question)
    stack.pull()


def frame(packet: Ipv4Packet, to: bytes = mac(10)) -> bytes:
    return to + mac(1) + b"\x08\x00" + encode_ipv4(packet)


def icmp_error(stack: Stack) -> tuple[int, Ipv4Packet, IcmpMessage]:
    ((index, sent),) = stack.pull()
    packet = decode_ipv4(sent[14:])
    return index, packet, decode_icmp(packet.payload)

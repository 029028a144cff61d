"""Our stack in a box: one interface, one gateway that answers for everybody, and a clock of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from lab.packetdrill.config import Config
from nodes.base.clock import NEVER
from nodes.base.event_sink import EventSink
from nodes.base.events import LEVEL_OFF
from nodes.base.random import Randomness
from nodes.packet import arp
from nodes.packet.arp import ArpPacket, decode_arp, encode_arp
from nodes.packet.ethernet import TYPE_ARP, TYPE_IPV4
from nodes.stack import Stack
from nodes.tcp.parameters import Parameters

_OURS: Final = b"\x02\x00\x00\x00\x00\x01"
_GATEWAYS: Final = b"\x02\x00\x00\x00\x00\x02"
_HEADER_LEN: Final = 14


class Seen(NamedTuple):
    """An IP packet the stack sent, and when, ns."""

    time: int
    packet: bytes


class Wire:
    """`now` is the instant of lab time; `sent` are the packets the stack has sent and nobody has looked at."""

    def __init__(self, config: Config, parameters: Parameters, seed: int) -> None:
        self.now = 0
        self.sent: deque[Seen] = deque()
        #: Called when everything that happens at an instant has happened.
        self.on_settled: Callable[[], None] = lambda: None
        self.stack = Stack("tcplab", parameters, Randomness(seed), EventSink(LEVEL_OFF))
        self.interface = self.stack.add_interface("tun0", _OURS, config.local_ip, 24, config.mtu)
        self.stack.add_route(bytes(4), 0, config.gateway_ip)

    def inject(self, packet: bytes) -> None:
        """An IP packet arrives now."""
        self.stack.on_frame(self.now, self.interface.index, _OURS + _GATEWAYS + TYPE_IPV4 + packet)
        self.settle()

    def settle(self) -> None:
        """See to everything that happens at this instant."""
        while True:
            while frames := self.stack.pull():
                for _, frame in frames:
                    self._on_frame(frame)
            if self.stack.next_deadline() > self.now:
                self.on_settled()
                return
            self.stack.on_timer(self.now)

    def advance(self, until: int) -> bool:
        """Go to the next instant at which the stack does something, but not beyond `until`. False: `until` came
        first."""
        deadline = max(self.stack.next_deadline(), self.now)
        if deadline == NEVER or deadline > until:
            self.now = max(self.now, until)
            return False
        self.now = deadline
        self.settle()
        return True

    def _on_frame(self, frame: bytes) -> None:
        kind = frame[12:14]
        if kind == TYPE_IPV4:
            self.sent.append(Seen(self.now, frame[_HEADER_LEN:]))
        elif kind == TYPE_ARP:
            asked = decode_arp(frame[_HEADER_LEN:])
            if asked.operation == arp.REQUEST:
                reply = ArpPacket(arp.REPLY, _GATEWAYS, asked.target, asked.sender_mac, asked.sender)
                self.stack.on_frame(self.now, self.interface.index, _OURS + _GATEWAYS + TYPE_ARP + encode_arp(reply))

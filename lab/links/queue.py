"""The queue before a link's rate: a named discipline with its own limits."""

from __future__ import annotations

from typing import Protocol

from mypy_extensions import mypyc_attr

from lab.links.packet import Packet
from nodes.base.fifo import Fifo
from nodes.base.random import RandomStream


class Settings(Protocol):
    """What a queue is to know of its link's Impairments."""

    @property
    def limit_packets(self) -> int: ...
    @property
    def limit_bytes(self) -> int: ...
    @property
    def rate_bps(self) -> int: ...
    @property
    def red_min(self) -> int: ...
    @property
    def red_max(self) -> int: ...
    @property
    def red_probability(self) -> int: ...
    @property
    def red_ecn(self) -> bool: ...


@mypyc_attr(allow_interpreted_subclasses=True)
class Queue:
    """A discipline decides which packets wait, in which order they leave, and which are dropped or marked.

    `packets` and `bytes` are what waits now; the packet being serialised is not in the queue. A limit in bytes of 0
    means none.
    """

    def __init__(self, settings: Settings, stream: RandomStream) -> None:
        self.packets = 0
        self.bytes = 0
        self.configure(settings)

    def configure(self, settings: Settings) -> None:
        """These are the link's impairments from now on."""
        self.settings = settings
        self.limit_packets = settings.limit_packets
        self.limit_bytes = settings.limit_bytes

    def push(self, now: int, packet: Packet) -> bool:
        """Take a packet. False: it is dropped."""
        raise NotImplementedError

    def pop(self, now: int) -> Packet | None:
        """The next packet to serialise; None when nothing waits."""
        raise NotImplementedError


class DropTail(Queue):
    """First in, first out; what finds the queue full is dropped."""

    def __init__(self, settings: Settings, stream: RandomStream) -> None:
        super().__init__(settings, stream)
        self._waiting = Fifo()  # of packets

    def push(self, now: int, packet: Packet) -> bool:
        length = self.bytes + len(packet.frame)
        if self.packets >= self.limit_packets or (self.limit_bytes and length > self.limit_bytes):
            return False
        self._waiting.append(packet)
        self.packets += 1
        self.bytes = length
        return True

    def pop(self, now: int) -> Packet | None:
        if not self.packets:
            return None
        packet: Packet = self._waiting.popleft()
        self.packets -= 1
        self.bytes -= len(packet.frame)
        return packet

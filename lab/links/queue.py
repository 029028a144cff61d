"""The queue before a link's rate: a named discipline with its own limits."""

from __future__ import annotations

from collections import deque
from typing import Final

from mypy_extensions import mypyc_attr

from lab.links.packet import Packet


@mypyc_attr(allow_interpreted_subclasses=True)
class Queue:
    """A discipline decides which packets wait, in which order they leave, and which are dropped.

    `packets` and `bytes` are what waits now; the packet being serialised is not in the queue. A limit in bytes of 0
    means none.
    """

    def __init__(self, limit_packets: int, limit_bytes: int) -> None:
        self.limit_packets = limit_packets
        self.limit_bytes = limit_bytes
        self.packets = 0
        self.bytes = 0

    def push(self, now: int, packet: Packet) -> bool:
        """Take a packet. False: it is dropped."""
        raise NotImplementedError

    def pop(self, now: int) -> Packet | None:
        """The next packet to serialise; None when nothing waits."""
        raise NotImplementedError


class DropTail(Queue):
    """First in, first out; what finds the queue full is dropped."""

    def __init__(self, limit_packets: int, limit_bytes: int) -> None:
        super().__init__(limit_packets, limit_bytes)
        self._waiting: deque[Packet] = deque()

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
        packet = self._waiting.popleft()
        self.packets -= 1
        self.bytes -= len(packet.frame)
        return packet


#: Disciplines by the name that `queue:` takes.
QUEUES: Final[dict[str, type[Queue]]] = {"droptail": DropTail}

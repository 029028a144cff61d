"""Where packets to one destination go: what a route lookup found, kept until routes or interfaces change."""

from __future__ import annotations

from typing import NamedTuple

from nodes.base.clock import NEVER
from nodes.ip.interface import Interface
from nodes.ip.neighbours import Neighbour
from nodes.packet.tcp import Segment


class SentSegment(NamedTuple):
    """What the trace is to say when the frame of a segment leaves."""

    src: bytes
    dst: bytes
    segment: Segment
    conn: int
    cause: int
    resent: bool


#: An IP packet's bytes that wait for a neighbour, and what to record when they leave.
Waiting = tuple[bytes, SentSegment | None]


class Path:
    """`source` is our address that packets there carry, `link_mtu` the interface's MTU, `mtu` the largest packet known
    to fit the whole path, bytes: less than `link_mtu` only where a router said so, until `mtu_until`."""

    __slots__ = ("interface", "link_mtu", "mtu", "mtu_until", "neighbour", "source")

    def __init__(self, interface: Interface, neighbour: Neighbour[Waiting], source: bytes) -> None:
        self.interface = interface
        self.neighbour = neighbour
        self.source = source
        self.mtu = self.link_mtu = interface.mtu
        self.mtu_until = NEVER

    def mtu_at(self, now: int) -> int:
        """The path MTU; what a router said is forgotten in time, so that a larger one is found (RFC 8201 section 4)."""
        if self.mtu_until <= now:
            self.mtu_until = NEVER
            self.mtu = self.link_mtu
        return self.mtu

    def too_big(self, now: int, mtu: int, lifetime_ns: int) -> None:
        """A router says that packets of more than `mtu` bytes do not fit (RFC 1191, RFC 8201)."""
        if mtu < self.mtu:
            self.mtu = mtu
            self.mtu_until = now + lifetime_ns

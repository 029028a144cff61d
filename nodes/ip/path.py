"""Where packets to one destination go: what a route lookup found, kept until routes or interfaces change."""

from __future__ import annotations

from typing import NamedTuple

from nodes.ip.arp import Neighbour
from nodes.ip.interface import Interface
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
    """`source` is our address that packets there carry, `mtu` the largest known to fit, bytes."""

    __slots__ = ("interface", "mtu", "neighbour", "source")

    def __init__(self, interface: Interface, neighbour: Neighbour[Waiting], source: bytes, mtu: int) -> None:
        self.interface = interface
        self.neighbour = neighbour
        self.source = source
        self.mtu = mtu

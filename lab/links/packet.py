"""One frame on its way through one direction of a link."""

from __future__ import annotations

from typing import Final

from mypy_extensions import mypyc_attr

# What chance decided for a packet, bits of `marks`.
LOST: Final = 1
CORRUPTED: Final = 2
DUPLICATED: Final = 4
REORDERED: Final = 8
#: Not by chance but by the queue: its ECN field says that there is congestion.
MARKED: Final = 16


@mypyc_attr(acyclic=True)
class Packet:
    """A frame and what was decided about it when it entered.

    `number` is the frame's ordinal in its direction, from 1; `delay_ns` the propagation delay drawn for it; `copies`
    are those beside the original; `altered` says that the bytes are no longer those that entered.
    """

    __slots__ = ("altered", "copies", "delay_ns", "entered_ns", "frame", "marks", "number")

    def __init__(self, number: int, frame: bytes, entered_ns: int, delay_ns: int) -> None:
        self.number = number
        self.frame = frame
        self.entered_ns = entered_ns
        self.delay_ns = delay_ns
        self.marks = 0
        self.altered = False
        self.copies = 0

"""What a receiver reports of data that came out of order: SACK (RFC 2018) and D-SACK (RFC 2883)."""

from __future__ import annotations

from typing import Final

from nodes.tcp.seq import MASK

#: More are never reported: with timestamps three fit, without four.
_MOST: Final = 4


class Received:
    """Blocks [left, right) beyond RCV.NXT, the one that changed last first, as RFC 2018 section 4 wants them, and the
    segment that came twice, which goes before them, once (RFC 2883 section 4).

    Only the last few blocks are known: a block that is not reported any more was reported several times.
    """

    __slots__ = ("_blocks", "_twice", "due")

    def __init__(self) -> None:
        self._blocks: list[tuple[int, int]] = []
        self._twice: tuple[int, int] | None = None
        #: Whether there is something to report.
        self.due = False

    def add(self, left: int, right: int) -> None:
        """[left, right) came, and is kept."""
        kept = []
        for block in self._blocks:
            if block[0] <= right and block[1] >= left:
                left = min(left, block[0])
                right = max(right, block[1])
            else:
                kept.append(block)
        self._blocks = [(left, right), *kept[: _MOST - 1]]
        self.due = True

    def twice(self, left: int, right: int) -> None:
        """[left, right) came although it was there already."""
        self._twice = (left, right)
        self.due = True

    def advance(self, rcv_nxt: int) -> None:
        """All before RCV.NXT was delivered."""
        self._blocks = [block for block in self._blocks if block[1] > rcv_nxt]
        self.due = bool(self._blocks) or self._twice is not None

    def report(self, most: int) -> tuple[tuple[int, int], ...]:
        """At most so many blocks for the option, as numbers of the wire."""
        blocks = self._blocks
        if self._twice is not None:
            # In the first block whatever came twice; the second is the block around it, where there is one (4.2).
            left, right = self._twice
            around = [block for block in blocks if block[0] <= left and right <= block[1]]
            blocks = [self._twice, *around, *(block for block in blocks if block not in around)]
            self._twice = None
            self.due = bool(self._blocks)
        return tuple((left & MASK, right & MASK) for left, right in blocks[:most])

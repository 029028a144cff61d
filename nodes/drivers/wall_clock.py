"""Kernel time stamps are readings of CLOCK_REALTIME; lab time is CLOCK_MONOTONIC less an epoch."""

from __future__ import annotations

import time
from typing import Final

from nodes.base.clock import MICROSECOND, NEVER

#: Readings of both clocks one after the other differ by less than this unless the reader was interrupted between.
_INTERRUPTED_NS: Final = 20 * MICROSECOND
_TRIES: Final = 8


class WallClock:
    """Turns readings of CLOCK_REALTIME into lab time.

    Both clocks are steered alike, so they stay apart by the same amount until somebody sets the wall clock. Each look
    asks whether that happened, which costs two readings; only then is the amount measured again.
    """

    def __init__(self, epoch_ns: int) -> None:
        self._epoch_ns = epoch_ns
        self._apart_ns = _apart()

    def shift(self) -> int:
        """What to add to a reading of CLOCK_REALTIME to have lab time, ns."""
        if not -_INTERRUPTED_NS < time.monotonic_ns() - time.time_ns() - self._apart_ns < _INTERRUPTED_NS:
            apart = _apart()
            if abs(apart - self._apart_ns) >= _INTERRUPTED_NS:
                self._apart_ns = apart
        return self._apart_ns - self._epoch_ns


def _apart() -> int:
    """CLOCK_MONOTONIC less CLOCK_REALTIME, ns; of several looks the one that was interrupted least."""
    best = NEVER
    apart = 0
    for _ in range(_TRIES):
        before, wall, after = time.monotonic_ns(), time.time_ns(), time.monotonic_ns()
        if after - before < best:
            best = after - before
            apart = (before + after >> 1) - wall
    return apart

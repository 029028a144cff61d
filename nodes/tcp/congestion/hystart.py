"""HyStart++: leave slow start when round trips grow, before the queue overflows (RFC 9406)."""

from __future__ import annotations

from typing import Final

from nodes.base.clock import MILLISECOND
from nodes.tcp.congestion.base import Ack

# RFC 9406 section 4.3.
_MIN_RTT_THRESH: Final = 4 * MILLISECOND
_MAX_RTT_THRESH: Final = 16 * MILLISECOND
_MIN_RTT_DIVISOR: Final = 8
_N_RTT_SAMPLE: Final = 8
_CSS_ROUNDS: Final = 5
CSS_GROWTH_DIVISOR: Final = 4


class HyStart:
    """`conservative`: whether slow start goes at a quarter of its pace to see if it should end."""

    def __init__(self) -> None:
        self.conservative = False
        self._round = -1
        self._rounds_left = 0
        #: Lowest round trips of the round before, of this one and of that which began the conservative phase; 0: none.
        self._last = 0
        self._current = 0
        self._baseline = 0
        self._samples = 0

    def leaves(self, ack: Ack) -> bool:
        """An ACK in slow start (section 4.2). True: slow start ends here."""
        if ack.round != self._round:
            if self.conservative and self._round >= 0:
                self._rounds_left -= 1
                if self._rounds_left <= 0:
                    return True
            self._round = ack.round
            self._last = self._current
            self._current = 0
            self._samples = 0
        if not ack.rtt:
            return False
        if not self._current or ack.rtt < self._current:
            self._current = ack.rtt
        self._samples += 1
        if self._samples < _N_RTT_SAMPLE:
            return False
        if self.conservative:
            if self._current < self._baseline:
                self.conservative = False
        elif self._last:
            threshold = min(max(self._last // _MIN_RTT_DIVISOR, _MIN_RTT_THRESH), _MAX_RTT_THRESH)
            if self._current >= self._last + threshold:
                self.conservative = True
                self._baseline = self._current
                self._rounds_left = _CSS_ROUNDS
        return False

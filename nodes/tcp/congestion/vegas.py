"""Vegas: keep a few segments in the queue, told by the round trip; do not wait for it to overflow (Brakmo and Peterson
1995, "TCP Vegas: End to End Congestion Avoidance on a Global Internet")."""

from __future__ import annotations

from typing import Final

from mypy_extensions import mypyc_attr

from nodes.tcp.congestion.base import Ack
from nodes.tcp.congestion.newreno import NewReno

#: Segments of its own that it wants in the queue, at least and at most, and with how many slow start ends (section
#: 3.2, with the numbers that Linux took).
_ALPHA: Final = 2
_BETA: Final = 4
_GAMMA: Final = 1
#: So many round trips must have been measured in one: delayed ACKs lengthen single ones.
_SAMPLES: Final = 3


@mypyc_attr(allow_interpreted_subclasses=True)
class Vegas(NewReno):
    """Once in a round trip it compares what the window would bring on an empty path with what it does bring. Losses are
    as in NewReno; beside flows that fill queues it gets little."""

    name = "vegas"

    def __init__(self, mss: int, initial_window: int, abc_limit: int) -> None:
        super().__init__(mss, initial_window, abc_limit)
        #: Lowest round trip ever, and in this round; ns, 0: none was measured.
        self._base = 0
        self._lowest = 0
        self._samples = 0
        self._round = -1

    def on_every_ack(self, ack: Ack) -> None:
        rtt = ack.rtt
        if not rtt:
            return
        if not self._base or rtt < self._base:
            self._base = rtt
        if not self._lowest or rtt < self._lowest:
            self._lowest = rtt
        self._samples += 1

    def on_ack(self, ack: Ack) -> None:
        starting = self.cwnd < self.ssthresh
        if ack.round == self._round:
            if starting:
                self.slow_start(ack)
            return
        self._round = ack.round
        rtt, samples = self._lowest, self._samples
        self._lowest = self._samples = 0
        if samples < _SAMPLES:
            super().on_ack(ack)
            return
        # (Expected - Actual) BaseRTT: what stands in the queue.
        waiting = self.cwnd - self.cwnd * self._base // rtt
        mss = self.mss
        if starting:
            if waiting <= _GAMMA * mss:
                self.slow_start(ack)
                return
            self.cwnd = self.cwnd - waiting + mss
        elif waiting > _BETA * mss:
            self.cwnd -= mss
        elif waiting < _ALPHA * mss:
            self.cwnd += mss
            return
        else:
            return
        self.cwnd = max(self.cwnd, 2 * mss)
        self.ssthresh = min(self.ssthresh, max(self.cwnd - mss, 2 * mss))

    def _forget(self) -> None:
        """What was measured while something was lost says little."""
        self._lowest = self._samples = 0

    def on_recovered(self, now: int) -> None:
        super().on_recovered(now)
        self._forget()

    def on_timeout(self, now: int, flight: int, first: bool) -> None:
        super().on_timeout(now, flight, first)
        self._forget()

    def on_idle(self, now: int, restart_window: int) -> None:
        super().on_idle(now, restart_window)
        self._base = 0  # the path may be another one
        self._forget()

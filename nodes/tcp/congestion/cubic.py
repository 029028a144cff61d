"""CUBIC: the window grows as a cubic function of the time since the last reduction (RFC 9438)."""

from __future__ import annotations

from typing import Final

from mypy_extensions import mypyc_attr

from nodes.base.clock import SECOND
from nodes.tcp.congestion.base import Ack, CongestionControl
from nodes.tcp.congestion.hystart import CSS_GROWTH_DIVISOR, HyStart

#: Time inside is in 1/1024 s, so that its cube is not too large: W_cubic is C t^3 + W_max.
_TICKS: Final = 1024
#: C = 0.4 segments per s^3, beta = 0.7 and alpha = 3 (1 - beta) / (1 + beta) = 9/17 (sections 4.6, 4.3).
_C_TENTHS: Final = 4
_BETA_TENTHS: Final = 7


def cube_root(value: int) -> int:
    """The largest int whose cube is not more."""
    if value <= 0:
        return 0
    root = 1 << -(-value.bit_length() // 3)  # not less than the root
    while True:
        closer = (2 * root + value // (root * root)) // 3
        if closer >= root:
            return root
        root = closer


@mypyc_attr(allow_interpreted_subclasses=True)
class Cubic(CongestionControl):
    """RFC 9438 with fast convergence; the first slow start is HyStart++'s (RFC 9406)."""

    name = "cubic"

    def __init__(self, mss: int, initial_window: int, abc_limit: int) -> None:
        super().__init__(mss, initial_window, abc_limit)
        self._hystart: HyStart | None = HyStart()
        self._w_max = 0
        #: When this epoch of congestion avoidance began, ns; -1: it has not.
        self._epoch = -1
        self._k = 0
        self._w_est = 0
        #: What the window was before the last reduction, and bytes not yet added.
        self._prior = 0
        self._rest = 0
        self._est_rest = 0
        #: When the last ACK came, and whether the window grew by it.
        self._seen = 0
        self._grew = False
        #: All this as it was before the last reduction.
        self._undo = (0, -1, 0, 0, 0)

    def on_every_ack(self, ack: Ack) -> None:
        since = ack.now - self._seen
        if self._epoch >= 0 and (not self._grew or since > 2 * ack.srtt):
            # The window was not the limit, or nothing was sent: that time does not count (section 4.2).
            self._epoch += since
        self._seen = ack.now
        self._grew = False

    def on_ack(self, ack: Ack) -> None:
        self._grew = True
        if self.cwnd < self.ssthresh:
            acked = self._start_slowly(ack)
            if not acked:
                return
        else:
            acked = ack.delivered
        now = ack.now
        cwnd = self.cwnd
        if self._epoch < 0:
            self._begin(now)
        # Reno-friendly region (section 4.3): alpha is 1 once the window is what it was before.
        grown = acked * self.mss if self._w_est >= self._prior else acked * self.mss * 9 // 17
        self._est_rest += grown
        self._w_est += self._est_rest // cwnd
        self._est_rest %= cwnd
        target = self._w_cubic(now + ack.srtt - self._epoch)
        if self._w_cubic(now - self._epoch) < self._w_est:
            self.cwnd = max(cwnd, self._w_est)
            return
        target = min(max(target, cwnd), cwnd * 3 // 2)
        # Concave and convex regions (sections 4.4, 4.5): (target - cwnd) / cwnd for each byte acknowledged.
        self._rest += (target - cwnd) * acked
        self.cwnd = cwnd + self._rest // cwnd
        self._rest %= cwnd

    def _start_slowly(self, ack: Ack) -> int:
        """Returns the bytes left for congestion avoidance."""
        hystart = self._hystart
        if hystart is None:
            return self.slow_start(ack)
        if hystart.leaves(ack):
            self.ssthresh = self.cwnd
            self._hystart = None
            return ack.delivered
        before = self.cwnd
        left = self.slow_start(ack)
        if hystart.conservative:
            self.cwnd = before + (self.cwnd - before) // CSS_GROWTH_DIVISOR
        return left

    def _begin(self, now: int) -> None:
        self._epoch = now
        self._w_est = self.cwnd
        self._rest = self._est_rest = 0
        if self._w_max <= self.cwnd:
            self._k = 0
            self._w_max = self.cwnd
        else:
            self._k = cube_root((self._w_max - self.cwnd) * 10 * _TICKS**3 // (_C_TENTHS * self.mss))

    def _w_cubic(self, elapsed_ns: int) -> int:
        ticks = elapsed_ns * _TICKS // SECOND - self._k
        return self._w_max + _C_TENTHS * self.mss * ticks**3 // (10 * _TICKS**3)

    def ssthresh_after_loss(self, now: int, flight: int) -> int:
        cwnd = self.cwnd
        self._undo = (self._w_max, self._epoch, self._k, self._w_est, self._prior)
        self._hystart = None  # the network has been felt
        self._prior = cwnd
        # Fast convergence (section 4.7): a flow that has lost ground makes room.
        self._w_max = cwnd * (10 + _BETA_TENTHS) // 20 if cwnd < self._w_max else cwnd
        self._epoch = -1
        # As Linux has it; section 4.6 allows it where a window that is not used does not grow (sender.py sees to that).
        return max(cwnd * _BETA_TENTHS // 10, 2 * self.mss)

    def on_mark(self, now: int, flight: int, mildly: bool) -> None:
        cwnd = self.cwnd
        mildly = mildly and cwnd >= self.ssthresh
        self.on_congestion(now, flight)
        if mildly:
            # beta_ecn = 0.85 (RFC 8511 section 3.1).
            self.ssthresh = max(flight * 17 // 20, 2 * self.mss)
            self.cwnd = min(cwnd, self.ssthresh)

    def on_timeout(self, now: int, flight: int, first: bool) -> None:
        super().on_timeout(now, flight, first)
        # Section 4.8: the next epoch begins where slow start ends, as if nothing had been before.
        self._w_max = 0
        self._epoch = -1

    def on_undo(self, now: int, cwnd: int, ssthresh: int) -> None:
        later = self.cwnd > cwnd
        super().on_undo(now, cwnd, ssthresh)
        if later:
            return  # it has grown beyond that since (section 4.9.2)
        self._w_max, self._epoch, self._k, self._w_est, self._prior = self._undo

    def on_idle(self, now: int, restart_window: int) -> None:
        super().on_idle(now, restart_window)
        self._epoch = -1

    def on_mss_change(self, now: int, mss: int) -> None:
        super().on_mss_change(now, mss)
        self._epoch = -1

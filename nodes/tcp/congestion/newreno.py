"""NewReno: slow start, congestion avoidance, recovery that survives several losses in one window (RFC 5681, 6582)."""

from __future__ import annotations

from mypy_extensions import mypyc_attr

from nodes.tcp.congestion.base import Ack, CongestionControl


@mypyc_attr(allow_interpreted_subclasses=True)
class NewReno(CongestionControl):
    """RFC 6582: a partial ACK means that the next segment is lost too; recovery ends with all sent before it."""

    name = "newreno"

    def __init__(self, mss: int, initial_window: int, abc_limit: int) -> None:
        super().__init__(mss, initial_window, abc_limit)
        self._acked = 0

    def on_ack(self, ack: Ack) -> None:
        left = self.slow_start(ack)
        if left:
            # One segment per window of acknowledged bytes: RFC 5681 section 3.1 and RFC 3465 section 2.1.
            self._acked += left
            if self._acked >= self.cwnd:
                self._acked -= self.cwnd
                self.cwnd += self.mss

    def on_mark(self, now: int, flight: int, mildly: bool) -> None:
        if mildly and self.cwnd >= self.ssthresh:
            # beta_ecn = 0.8 (RFC 8511 section 3): who marks has a short queue, of which less is to be drained.
            self.ssthresh = max(flight * 4 // 5, 2 * self.mss)
            self.cwnd = min(self.cwnd, self.ssthresh)
        else:
            self.on_congestion(now, flight)

    def on_timeout(self, now: int, flight: int, first: bool) -> None:
        super().on_timeout(now, flight, first)
        self._acked = 0

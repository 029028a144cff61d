"""NewReno: slow start, congestion avoidance, recovery that survives several losses in one window (RFC 5681, 6582)."""

from __future__ import annotations

from mypy_extensions import mypyc_attr

from nodes.tcp.congestion.base import CongestionControl


@mypyc_attr(allow_interpreted_subclasses=True)
class NewReno(CongestionControl):
    """RFC 6582: a partial ACK means that the next segment is lost too; recovery ends with all sent before it."""

    name = "newreno"

    def __init__(self, mss: int, initial_window: int, abc_limit: int) -> None:
        super().__init__(mss, initial_window, abc_limit)
        self._acked = 0

    def on_ack(self, now: int, acked: int, srtt_ns: int) -> None:
        cwnd = self.cwnd
        if cwnd < self.ssthresh:
            self.cwnd = cwnd + min(acked, self.abc_limit * self.mss)
            return
        # One segment per window of acknowledged bytes: RFC 5681 section 3.1 and RFC 3465 section 2.1.
        self._acked += acked
        if self._acked >= cwnd:
            self._acked -= cwnd
            self.cwnd = cwnd + self.mss

    def on_timeout(self, now: int, flight: int, first: bool) -> None:
        super().on_timeout(now, flight, first)
        self._acked = 0

"""NewReno: Reno that survives several losses in one window (RFC 6582)."""

from __future__ import annotations

from nodes.tcp.congestion.reno import Reno


class NewReno(Reno):
    """RFC 6582: a partial ACK means that the next segment is lost too; recovery ends with all sent before it."""

    name = "newreno"

    def on_partial_ack(self, now: int, acked: int) -> bool:
        # RFC 6582 section 3.2 step 3: deflate by what was acknowledged, add back one segment.
        self.cwnd = max(self.cwnd - acked, 0)
        if acked >= self.mss or self.cwnd < self.mss:
            self.cwnd += self.mss
        return True

    def on_recovery_exit(self, now: int, flight: int) -> None:
        # The first choice of step 3: no burst when little is in flight.
        self.cwnd = min(self.ssthresh, max(flight, self.mss) + self.mss)

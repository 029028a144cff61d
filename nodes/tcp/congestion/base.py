"""The interface of a congestion control (RFC 5681): what a student implements.

Most need only `on_ack` and `ssthresh_after_loss`; the rest has RFC 5681's behaviour already. Windows are bytes, times
ns.
The stack decides when data is lost and what to send again; a congestion control only says how much may be in flight.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import mypyc_attr

#: "as high as possible", RFC 5681 section 3.1, for the first ssthresh.
UNLIMITED: Final = 0x7FFF_FFFF


@mypyc_attr(allow_interpreted_subclasses=True)
class CongestionControl:
    """`cwnd` and `ssthresh` of one connection, read by the sender after every call; the methods below change them."""

    #: The name in tcp_congestion_control and TCP_CONGESTION.
    name = ""

    def __init__(self, mss: int, initial_window: int, abc_limit: int) -> None:
        self.mss = mss
        self.cwnd = initial_window
        self.ssthresh = UNLIMITED
        #: Segments that one ACK may add in slow start (L of RFC 3465; 1 is RFC 5681's rule).
        self.abc_limit = abc_limit

    def on_ack(self, now: int, acked: int, srtt_ns: int) -> None:
        """`acked` new bytes were acknowledged outside fast recovery, while the window was the limit. Grow here."""
        raise NotImplementedError

    def ssthresh_after_loss(self, now: int, flight: int) -> int:
        """The new ssthresh when loss shows with `flight` bytes in flight. RFC 5681 equation (4)."""
        return max(flight // 2, 2 * self.mss)

    def on_fast_retransmit(self, now: int, flight: int) -> None:
        """The third duplicate ACK: fast recovery begins (RFC 5681 section 3.2, steps 2 and 3)."""
        self.ssthresh = self.ssthresh_after_loss(now, flight)
        self.cwnd = self.ssthresh + 3 * self.mss

    def on_duplicate_ack(self, now: int) -> None:
        """A further duplicate ACK in fast recovery: one more segment has left the network (step 4)."""
        self.cwnd += self.mss

    def on_partial_ack(self, now: int, acked: int) -> bool:
        """An ACK in fast recovery, without SACK, that does not cover all sent before it. True: stay in recovery and
        resend the next segment (RFC 6582 section 3.2, step 3); False: recovery ends here (Reno)."""
        # Deflate by what was acknowledged, add back one segment.
        self.cwnd = max(self.cwnd - acked, 0)
        if acked >= self.mss or self.cwnd < self.mss:
            self.cwnd += self.mss
        return True

    def on_recovery_exit(self, now: int, flight: int) -> None:
        """Fast recovery ends, without SACK (RFC 6582 section 3.2, step 3): no burst when little is in flight."""
        self.cwnd = min(self.ssthresh, max(flight, self.mss) + self.mss)

    def on_timeout(self, now: int, flight: int, first: bool) -> None:
        """The retransmission timer expired; `first`: for the first time for this data (RFC 5681 section 3.1)."""
        if first:
            self.ssthresh = self.ssthresh_after_loss(now, flight)
        self.cwnd = self.mss

    def on_idle(self, now: int, restart_window: int) -> None:
        """Nothing was sent for more than an RTO (RFC 5681 section 4.1)."""
        self.cwnd = min(self.cwnd, restart_window)

    def on_mss_change(self, now: int, mss: int) -> None:
        """The path takes smaller segments; the window in segments stays (RFC 1191 section 6.5 lets it)."""
        self.cwnd = max(self.cwnd * mss // self.mss, mss)
        self.mss = mss

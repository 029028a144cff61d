"""The interface of a congestion control: what a student implements.

The stack finds out what was lost and what to send again; a congestion control says how much may be in flight (`cwnd`)
and, if it paces, how fast (`pacing_rate`). A whole one of the classical kind:

    class Mine(CongestionControl):
        name = "mine"

        def on_ack(self, ack: Ack) -> None:
            left = self.slow_start(ack)
            if left:
                self.cwnd += self.mss * left // self.cwnd

        def ssthresh_after_loss(self, now: int, flight: int) -> int:
            return max(flight * 8 // 10, 2 * self.mss)

Everything else has RFC 5681's behaviour already. Windows are bytes, times ns, rates bytes per second.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Final

from mypy_extensions import mypyc_attr

from nodes.base import causes
from nodes.tcp.scoreboard import Sent

#: "as high as possible", RFC 5681 section 3.1, for the first ssthresh.
UNLIMITED: Final = 0x7FFF_FFFF


class Ack:
    """What one ACK told. A host has one, filled anew for every ACK: keep numbers of it, not it."""

    __slots__ = (
        "acked",
        "app_limited",
        "cwnd_limited",
        "delivered",
        "delivery_rate",
        "ece",
        "flight",
        "flight_after",
        "lost",
        "lost_since_sent",
        "marked",
        "min_rtt",
        "newest_rtt",
        "now",
        "prior_delivered",
        "recovering",
        "round",
        "rtt",
        "sent_in_flight",
        "srtt",
        "total_delivered",
    )

    def __init__(self) -> None:
        self.now = 0
        #: Bytes acknowledged cumulatively, newly.
        self.acked = 0
        #: Bytes newly known to have arrived, by ACK or SACK, and in all since the connection began.
        self.delivered = 0
        self.total_delivered = 0
        #: Bytes newly believed lost.
        self.lost = 0
        #: Bytes believed to be on their way, before the ACK and after it.
        self.flight = 0
        self.flight_after = 0
        #: The round-trip time measured by this ACK (0: none), the smoothed one, the lowest of the last 5 minutes; ns.
        self.rtt = 0
        self.srtt = 0
        self.min_rtt = 0
        #: Bytes per second at which the network has delivered lately (draft-cheng-iccrg-delivery-rate-estimation), 0:
        #: this ACK does not tell; whether it would have been more had there been more to send.
        self.delivery_rate = 0
        self.app_limited = False
        #: Of the segment by which this was measured, the last sent of those that arrived: `total_delivered` as it was
        #: then (-1: the ACK tells of no segment, and what follows here means nothing), its round trip (0: it was sent
        #: more than once), bytes that were in flight with it, and what was lost since, ns and bytes.
        self.prior_delivered = -1
        self.newest_rtt = 0
        self.sent_in_flight = 0
        self.lost_since_sent = 0
        #: Whether the window was the limit in this flight.
        self.cwnd_limited = False
        #: Counts round trips: it goes up with the first ACK of something sent after it last went up.
        self.round = 0
        #: Whether the ACK tells of a congestion mark (RFC 3168, 9768), on a connection that uses ECN; and if so, how
        #: many bytes came marked: all that it acknowledges, where feedback is not accurate (AccECN).
        self.ece = False
        self.marked = 0
        #: Whether something lost is being repaired.
        self.recovering = False


@mypyc_attr(allow_interpreted_subclasses=True)
class CongestionControl:
    """`cwnd`, `ssthresh` and `pacing_rate` (0: not paced) of one connection, read by the sender after every call; the
    methods below change them."""

    #: The name in tcp_congestion_control and TCP_CONGESTION.
    name: ClassVar[str] = ""
    #: True: cwnd is what the methods say also while losses are repaired; the stack does not reduce it (RFC 6937).
    rules_recovery: ClassVar[bool] = False
    #: True: `pacing_rate` is set here; the stack does not derive it from the window where tcp_pacing asks for that.
    paces: ClassVar[bool] = False
    #: True: ECN is wanted even if tcp_ecn does not ask for it, every mark is echoed (as RFC 8257 has it, if not by
    #: AccECN) and no mark reduces the window by itself. `on_every_ack` sees `ack.ece` and `ack.marked`.
    exact_ecn: ClassVar[bool] = False
    #: True: `on_segment_lost` is called.
    counts_losses: ClassVar[bool] = False

    def __init__(self, mss: int, initial_window: int, abc_limit: int) -> None:
        self.mss = mss
        self.cwnd = initial_window
        self.ssthresh = UNLIMITED
        self.pacing_rate = 0
        #: For the trace: what a control by a model is doing, a cause (BBR_STARTUP ...); NONE: it grows and shrinks.
        self.phase = causes.NONE
        #: Segments that one ACK may add in slow start (L of RFC 3465; 1 is RFC 5681's rule; 0: as many as it acks).
        self.abc_limit = abc_limit

    def watch(self, now: int, on_failure: Callable[[int], None]) -> None:
        """Call `on_failure` with the instant when this control has failed, by which its connection fails. Only those of
        users can (plugin.py)."""

    def failure(self) -> str:
        """How it has failed, in words; "" while it has not."""
        return ""

    # What most have of their own.

    def on_ack(self, ack: Ack) -> None:
        """New data was acknowledged, or has arrived where the network is known to reorder, while nothing was being
        repaired and the window was the limit. Grow here."""
        raise NotImplementedError

    def ssthresh_after_loss(self, now: int, flight: int) -> int:
        """The new ssthresh when loss shows with `flight` bytes in flight: RFC 5681 equation (4), in whole segments as
        in Linux, for what a window has above them is not used and yet takes its time to be acknowledged."""
        return max(flight // (2 * self.mss), 2) * self.mss

    def on_every_ack(self, ack: Ack) -> None:
        """Something has arrived, whatever the state, before anything else is done about it; for controls by models."""

    def on_segment_lost(self, now: int, segment: Sent, lost: int, delivered: int) -> None:
        """A segment is believed lost, before anything is done about it; `lost` bytes with it since it was sent last,
        and so many are `delivered` since the connection began. With `counts_losses`."""

    def on_restart(self, now: int) -> None:
        """Nothing is in flight, for the user had nothing to send, and now something may go."""

    # What happens on the way.

    def slow_start(self, ack: Ack) -> int:
        """Grow as slow start does (RFC 5681 section 3.1, RFC 3465 section 2.2) and no further than ssthresh, by what
        newly arrived: what SACK told before is not counted again. Returns what is left for congestion avoidance."""
        room = self.ssthresh - self.cwnd
        if room <= 0:
            return ack.delivered
        step = ack.delivered
        if self.abc_limit and step > self.abc_limit * self.mss:
            step = self.abc_limit * self.mss
        if step <= room:
            self.cwnd += step
            return 0
        self.cwnd += room
        return step - room

    def on_loss(self, now: int, flight: int) -> None:
        """SACK shows a loss: recovery begins. With `rules_recovery` cwnd is to be set too."""
        self.ssthresh = self.ssthresh_after_loss(now, flight)

    def on_recovered(self, now: int) -> None:
        """Recovery with SACK ends."""
        self.cwnd = self.ssthresh

    def on_mark(self, now: int, flight: int, mildly: bool) -> None:
        """The first echo of a mark in a round trip (RFC 3168 section 6.1.2). `mildly`: tcp_abe is on, so in congestion
        avoidance it may count for less than a loss (RFC 8511)."""
        self.on_congestion(now, flight)

    def on_congestion(self, now: int, flight: int) -> None:
        """Congestion, but nothing to repair: a mark, or a loss that a probe has repaired (RFC 8985 section 7.4)."""
        self.ssthresh = self.ssthresh_after_loss(now, flight)
        self.cwnd = max(min(self.cwnd, self.ssthresh), self.mss)

    def on_timeout(self, now: int, flight: int, first: bool) -> None:
        """The retransmission timer expired; `first`: for the first time for this data (RFC 5681 section 3.1)."""
        if first:
            self.ssthresh = self.ssthresh_after_loss(now, flight)
        self.cwnd = self.mss

    def on_undo(self, now: int, cwnd: int, ssthresh: int) -> None:
        """Nothing was lost: the windows of before (RFC 4015)."""
        self.cwnd = max(self.cwnd, cwnd)
        self.ssthresh = max(self.ssthresh, ssthresh)

    def on_idle(self, now: int, restart_window: int) -> None:
        """Nothing was sent for more than an RTO (RFC 5681 section 4.1)."""
        self.cwnd = min(self.cwnd, restart_window)

    def on_mss_change(self, now: int, mss: int) -> None:
        """The path takes smaller segments; the window in segments stays (RFC 1191 section 6.5 lets it)."""
        self.cwnd = max(self.cwnd * mss // self.mss, mss)
        self.mss = mss

    # Recovery without SACK.

    def on_fast_retransmit(self, now: int, flight: int) -> None:
        """The third duplicate ACK: fast recovery begins (RFC 5681 section 3.2, steps 2 and 3)."""
        self.ssthresh = self.ssthresh_after_loss(now, flight)
        self.cwnd = self.ssthresh + 3 * self.mss

    def on_duplicate_ack(self, now: int) -> None:
        """A further duplicate ACK in fast recovery: one more segment has left the network (step 4)."""
        self.cwnd += self.mss

    def on_partial_ack(self, now: int, acked: int) -> bool:
        """An ACK in fast recovery that does not cover all sent before it. True: stay in recovery and resend the next
        segment (RFC 6582 section 3.2, step 3); False: recovery ends here (Reno)."""
        # Deflate by what was acknowledged, add back one segment.
        self.cwnd = max(self.cwnd - acked, 0)
        if acked >= self.mss or self.cwnd < self.mss:
            self.cwnd += self.mss
        return True

    def on_recovery_exit(self, now: int, flight: int) -> None:
        """Fast recovery ends (RFC 6582 section 3.2, step 3): no burst when little is in flight."""
        self.cwnd = min(self.ssthresh, max(flight, self.mss) + self.mss)

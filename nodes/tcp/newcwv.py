"""Congestion window validation (RFC 7661, tcp_newcwv): a window that the application does not use stays as it is, for
it may be needed at once; it does not grow, and says nothing of the path when something is lost.

pipeACK is the most that was acknowledged in a round trip of late. With less than half a window of it the connection is
in the non-validated phase. In a control that rules recovery itself, as BBR does, there is no such phase.
"""

from __future__ import annotations

from nodes.base import causes
from nodes.base.clock import SECOND
from nodes.tcp import congestion_control
from nodes.tcp.congestion.windowed import WindowedMax
from nodes.tcp.tcb import Tcb

#: How long a window is kept that is not used (section 4.4.3).
NON_VALIDATED_PERIOD = 300 * SECOND


class Validation:
    """Of one connection. `since` is when its window was validated last."""

    __slots__ = ("base", "known", "round_ends", "round_from", "sampled_at", "samples", "sent_again", "since")

    def __init__(self, now: int, una: int) -> None:
        self.samples = WindowedMax()
        #: Whether there was a sample since the beginning, or the last congestion; else pipeACK is undefined.
        self.known = False
        self.sampled_at = now
        self.round_from = una
        self.round_ends = una
        self.since = now
        #: While a loss of the non-validated phase is repaired: max(pipeACK, LossFlightSize), else 0; and how many bytes
        #: had been sent again before.
        self.base = 0
        self.sent_again = 0


def start(c: Tcb, now: int) -> None:
    """A control takes over."""
    wanted = c.tcp.parameters.tcp_newcwv and not c.congestion.rules_recovery
    c.validation = Validation(now, c.snd_una) if wanted else None


def pipe_ack(c: Tcb, now: int, one: Validation) -> int:
    """The highest of the samples of three round trips, or of a second if that is longer (section 4.2); bytes."""
    return one.samples.best if now - one.sampled_at <= max(3 * c.srtt, SECOND) else 0


def validated(c: Tcb, now: int, one: Validation) -> bool:
    """Section 4.3."""
    return not one.known or 2 * pipe_ack(c, now, one) >= c.congestion.cwnd


def on_ack(c: Tcb, now: int, one: Validation) -> bool:
    """Something has arrived: measure; whether the window may grow (section 4.4): in the non-validated phase only if all
    of it is used."""
    if one.round_ends == one.round_from:
        one.round_ends = c.snd_nxt
    if c.snd_una >= one.round_ends:
        one.samples.update(now, c.snd_una - one.round_from, max(3 * c.srtt, SECOND))
        one.sampled_at = now
        one.known = True
        one.round_from = c.snd_una
        one.round_ends = c.snd_nxt
    if validated(c, now, one):
        one.since = now
        return True
    _decay(c, now, one)
    return c.cwnd_limited


def on_restart(c: Tcb, now: int, one: Validation) -> None:
    """Something is to be sent, and nothing is in flight. It is no matter for how long: the window is kept, until it was
    not used for too long."""
    one.round_from = one.round_ends = c.snd_una
    if not validated(c, now, one):
        _decay(c, now, one)


def _decay(c: Tcb, now: int, one: Validation) -> None:
    """The end of the non-validated period (section 4.4.3)."""
    congestion = c.congestion
    while now - one.since >= NON_VALIDATED_PERIOD:
        one.since += NON_VALIDATED_PERIOD
        congestion.ssthresh = max(congestion.ssthresh, congestion.cwnd * 3 // 4)
        congestion.cwnd = max(congestion.cwnd // 2, min(congestion.cwnd, congestion_control.initial_window(c)))
        congestion_control.record(c, now, causes.NOT_VALIDATED)


def on_congestion(c: Tcb, now: int, one: Validation, flight: int, cwnd: int, repairs: bool) -> None:
    """Congestion with so much in flight, when the window was `cwnd`; what is usual is done about it already. A window
    that was not validated shrinks by what was really there (section 4.4.1). `repairs`: there is something lost."""
    pipe = pipe_ack(c, now, one)
    if one.known and 2 * pipe < cwnd:
        base = max(pipe, flight)
        congestion = c.congestion
        congestion.ssthresh = min(congestion.ssthresh, max(base // 2, c.mss))
        if repairs:
            congestion.cwnd = min(congestion.cwnd, congestion.ssthresh + 3 * c.mss)  # SACK's is PRR's business
            one.base = base
            one.sent_again = c.bytes_retrans
        else:
            congestion.cwnd = min(congestion.cwnd, congestion.ssthresh)
    _forget(c, now, one)


def on_recovered(c: Tcb, now: int, one: Validation) -> None:
    """What was lost is repaired: what of the flight had to be sent again is not what the path bears (section 4.4.1)."""
    if one.base:
        congestion = c.congestion
        left = (one.base - (c.bytes_retrans - one.sent_again)) // 2
        congestion.ssthresh = congestion.cwnd = min(congestion.cwnd, max(left, c.mss))
    _forget(c, now, one)
    one.base = 0


def on_timeout(c: Tcb, now: int, one: Validation) -> None:
    """A timeout, or a recovery that was for nothing: from now on as at the beginning."""
    _forget(c, now, one)
    one.base = 0


def _forget(c: Tcb, now: int, one: Validation) -> None:
    """pipeACK is undefined until it is measured again."""
    one.known = False
    one.samples = WindowedMax()
    one.round_from = c.snd_una
    one.round_ends = c.snd_nxt
    one.since = now

"""What surrounds a congestion control: the first window, restart after idle, and the record of every change."""

from __future__ import annotations

from nodes.base import causes
from nodes.base.events import LEVEL_CONGESTION, UNKNOWN
from nodes.tcp import newcwv
from nodes.tcp.congestion.base import UNLIMITED
from nodes.tcp.mutants.stop_and_wait import StopAndWait
from nodes.tcp.tcb import Tcb


def initial_window(c: Tcb) -> int:
    """IW, bytes: RFC 6928 where tcp_initial_cwnd says so, else RFC 5681 section 3.1."""
    segments = c.tcp.parameters.tcp_initial_cwnd
    if segments:
        return segments * c.mss
    return (2 if c.mss > 2190 else 3 if c.mss > 1095 else 4) * c.mss


def start(c: Tcb, now: int, syn_was_lost: bool) -> None:
    """Make the connection's congestion control, once its MSS is known."""
    parameters = c.tcp.parameters
    window = c.mss if syn_was_lost else initial_window(c)
    control = StopAndWait if parameters.mutants.stop_and_wait else parameters.controls[c.options.congestion]
    c.congestion = control(c.mss, window, parameters.tcp_abc)
    _watch(c, now)
    record(c, now, causes.INITIAL_WINDOW)


def replace(c: Tcb, now: int) -> None:
    """TCP_CONGESTION changed on a running connection: the new control starts from the old one's windows."""
    parameters = c.tcp.parameters
    cwnd = c.congestion.cwnd if c.congestion.cwnd < UNLIMITED else max(initial_window(c), c.flight)
    control = parameters.controls[c.options.congestion](c.mss, cwnd, parameters.tcp_abc)
    control.ssthresh = c.congestion.ssthresh
    c.congestion = control
    _watch(c, now)
    record(c, now, causes.NONE)


def _watch(c: Tcb, now: int) -> None:
    """A control takes over. If it fails, being a user's, it ends its connection; never in the middle of something."""
    c.board.losses = [] if c.congestion.counts_losses else None
    newcwv.start(c, now)

    def on_failure(now: int) -> None:
        c.control_failed_at = now
        c.tcp.timers.wake(c, now)

    c.congestion.watch(now, on_failure)


def restart_after_idle(c: Tcb, now: int) -> None:
    """RFC 5681 section 4.1, called when nothing is in flight: after an idle RTO, restart from the restart window."""
    if c.rate.app_limited:
        c.congestion.on_restart(now)
    if c.validation is not None:
        newcwv.on_restart(c, now, c.validation)
    elif now - c.last_sent > c.rto and c.tcp.parameters.tcp_slow_start_after_idle and c.last_sent >= 0:
        c.congestion.on_idle(now, initial_window(c))
        record(c, now, causes.IDLE_RESTART)


def lost(c: Tcb, now: int) -> None:
    """Tell the control what was found lost, if it wants to know, but for a probe of the path's MTU."""
    losses = c.board.losses
    if losses:
        search = c.search
        for segment, ever_lost in losses:
            if search is not None and search.size and search.start <= segment.seq < search.end:
                continue
            c.congestion.on_segment_lost(now, segment, ever_lost - segment.lost_before, c.rate.delivered)
        losses.clear()


def phase(c: Tcb, now: int) -> None:
    """Record that the control does something else from now on, whether its windows changed or not."""
    c.phase_seen = c.congestion.phase
    c.cwnd_seen = -1
    record(c, now, c.phase_seen)


def record(c: Tcb, now: int, cause: int) -> None:
    """Record cwnd and ssthresh if either changed since the last record."""
    congestion = c.congestion
    if congestion.cwnd != c.cwnd_seen or congestion.ssthresh != c.ssthresh_seen:
        c.cwnd_seen = congestion.cwnd
        c.ssthresh_seen = congestion.ssthresh
        tcp = c.tcp
        if tcp.sink.level >= LEVEL_CONGESTION:
            rate = congestion.pacing_rate or UNKNOWN
            tcp.sink.cwnd(now, tcp.node, c.number, cause, congestion.cwnd, congestion.ssthresh, c.flight, rate, c.mss)

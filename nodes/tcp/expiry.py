"""TIMEOUTS (RFC 9293 section 3.10.8): what happens when a deadline of a connection has passed."""

from __future__ import annotations

from nodes.base import causes
from nodes.base.clock import NEVER
from nodes.base.events import TIMER_FIN_WAIT_2, TIMER_FIRED, TIMER_TIME_WAIT, TIMER_USER_TIMEOUT
from nodes.tcp import acking, closing, keepalive, persist, retransmit, sack_recovery, segments, sender, states, tlp
from nodes.tcp.tcb import Tcb, change_state


def expire(c: Tcb, now: int) -> None:
    """Serve every deadline of `c` at or before `now`. Each step looks again, since the one before may have ended it."""
    if c.control_failed_at <= now:
        _control_failed(c, now)
    if c.user_timeout_at <= now:
        _user_timeout(c, now)
    if c.time_wait_at <= now:
        _fired(c, now, TIMER_TIME_WAIT)
        change_state(c, now, states.CLOSED, causes.TIME_WAIT_EXPIRED)
    if c.fin_wait_2_at <= now:
        _fired(c, now, TIMER_FIN_WAIT_2)
        change_state(c, now, states.CLOSED, causes.FIN_WAIT_2_EXPIRED)
    if c.probe_at <= now:
        # Before the RTO of the same instant, which it starts anew.
        tlp.on_timeout(c, now)
    if c.rto_at <= now:
        retransmit.on_timeout(c, now)
    if c.reordering_at <= now:
        sack_recovery.on_reordering_timeout(c, now)
    if c.persist_at <= now:
        persist.on_timeout(c, now)
    if c.pacing_at <= now:
        c.pacing_at = NEVER
        sender.output(c, now, False)
    if c.delack_at <= now:
        acking.on_timeout(c, now)
    if c.keepalive_at <= now:
        keepalive.on_timeout(c, now)


def _fired(c: Tcb, now: int, timer: int) -> None:
    c.tcp.sink.timer(now, c.tcp.node, c.number, timer, TIMER_FIRED, now, 0)


def _user_timeout(c: Tcb, now: int) -> None:
    """ "For any state if the user timeout expires, flush all queues, signal the user 'error: connection aborted due to
    user timeout' ..., delete the TCB". The peer hears a RST, so that it does not stay half-open."""
    c.user_timeout_at = NEVER
    _fired(c, now, TIMER_USER_TIMEOUT)
    if c.synchronized:
        segments.send_reset(c, now, causes.USER_TIMEOUT_EXPIRED)
    closing.give_up(c, now, causes.USER_TIMEOUT_EXPIRED)


def _control_failed(c: Tcb, now: int) -> None:
    """The user's congestion control raised something, or has a window that is none: there is no sending without it."""
    tcp = c.tcp
    c.control_failed_at = NEVER
    tcp.sink.control(
        now, tcp.node, c.number, tcp.sink.name(c.options.congestion), tcp.sink.name(c.congestion.failure())
    )
    segments.send_reset(c, now, causes.CONTROL_FAILED)
    closing.fail(c, now, causes.CONTROL_FAILED, "ECONNABORTED", causes.ERROR_CONTROL_FAILED)

"""Keepalive (RFC 9293 section 3.8.4, RFC 1122 section 4.2.3.6), off unless SO_KEEPALIVE is set."""

from __future__ import annotations

from nodes.base import causes
from nodes.base.clock import MILLISECOND, NEVER, SECOND
from nodes.base.events import TIMER_FIRED, TIMER_KEEPALIVE
from nodes.packet.tcp import ACK
from nodes.tcp import closing, segments, states, timers
from nodes.tcp.tcb import Tcb


def start(c: Tcb, now: int) -> None:
    """Start, or go on after an option changed. Arriving segments move nothing: the timer looks back when it fires."""
    if c.options.keepalive and c.synchronized and c.state != states.TIME_WAIT:
        c.keepalive_at = max(c.last_received + c.options.keepidle * SECOND, now)
        timers.trace_set(c, now, TIMER_KEEPALIVE, c.keepalive_at, 0)
    elif c.keepalive_at != NEVER:
        c.keepalive_at = NEVER
        timers.trace_cancelled(c, now, TIMER_KEEPALIVE)


def on_timeout(c: Tcb, now: int) -> None:
    """Probe an idle connection; give up one whose peer answers no more."""
    options = c.options
    tcp = c.tcp
    c.keepalive_at = NEVER
    quiet_since = c.last_received + options.keepidle * SECOND
    if c.outstanding:
        # Retransmission or persist finds out about the peer by itself.
        deadline = now + options.keepidle * SECOND
    elif now < quiet_since:
        deadline = quiet_since
    else:
        probes = c.keepalive_probes
        tcp.sink.timer(now, tcp.node, c.number, TIMER_KEEPALIVE, TIMER_FIRED, now, probes)
        limit = options.user_timeout * MILLISECOND
        by_time = limit > 0 and c.keepalive_probes > 0
        if now - c.last_received >= limit if by_time else c.keepalive_probes >= options.keepcnt:
            segments.send_reset(c, now, causes.KEEPALIVE_PROBES_EXHAUSTED)
            closing.give_up(c, now, causes.KEEPALIVE_PROBES_EXHAUSTED)
            return
        c.keepalive_probes += 1
        tcp.counters.TcpExtTCPKeepAlive += 1
        # An old sequence number without data: the peer must answer with an ACK (or a RST, if it has forgotten us).
        segments.transmit(c, now, c.snd_nxt - 1, ACK, b"", causes.KEEPALIVE_PROBE, False)
        deadline = now + options.keepintvl * SECOND
    c.keepalive_at = deadline
    timers.trace_set(c, now, TIMER_KEEPALIVE, deadline, c.keepalive_probes)

"""Tail loss probe: when the last segments of a flight are lost nothing comes back that could tell, so something more is
sent that will make the receiver say what it has (RFC 8985 section 7)."""

from __future__ import annotations

from nodes.base import causes
from nodes.base.clock import MILLISECOND, NEVER, SECOND
from nodes.base.events import TIMER_FIRED, TIMER_LOSS_PROBE
from nodes.tcp import congestion_control, ecn, newcwv, retransmit, sender, timers
from nodes.tcp.tcb import Tcb

#: What a receiver may wait before it acknowledges a single segment (RFC 8985 section 7.2; Linux: TCP_RTO_MIN).
_ACK_DELAY = 200 * MILLISECOND


def schedule(c: Tcb, now: int) -> None:
    """Start the probe timer where a probe may be needed (section 7.2)."""
    if (
        not c.sack
        or c.rto_at == NEVER
        or c.probe_end >= 0
        or c.in_recovery
        or c.rto_recovery
        or c.board.sacked
        or not c.synchronized
        or not c.tcp.parameters.tcp_early_retrans
    ):
        c.probe_at = NEVER
        return
    wait = 2 * c.srtt if c.srtt else SECOND
    if len(c.board) == 1:
        wait += _ACK_DELAY
    # Never later than the RTO, in whose place it then goes: what is repaired by a probe costs no window.
    c.probe_at = min(now + wait, c.rto_at)
    if c.probe_at < c.wake_at:
        timers.trace_set(c, now, TIMER_LOSS_PROBE, c.probe_at, 0)


def on_timeout(c: Tcb, now: int) -> None:
    """The probe timer expired: send new data if there is some, else the last segment again (section 7.3)."""
    tcp = c.tcp
    c.probe_at = NEVER
    tcp.sink.timer(now, tcp.node, c.number, TIMER_LOSS_PROBE, TIMER_FIRED, now, 0)
    if not c.board:
        return
    before = c.snd_nxt
    cwnd = c.congestion.cwnd
    c.congestion.cwnd = c.board.flying + c.mss
    sender.output(c, now, True)
    c.congestion.cwnd = cwnd
    c.probe_resent = c.snd_nxt == before
    if c.probe_resent:
        record = c.board.last
        if len(record.payload) > c.mss:
            # The probe of a path's MTU, which may have been too large.
            c.board.split(record, len(record.payload) - c.mss)
        retransmit.resend(c, now, c.board.last, causes.LOSS_PROBE)
    c.probe_end = c.snd_nxt
    c.probe_at = NEVER
    tcp.counters.TcpExtTCPLossProbes += 1
    sender.arm(c, now)


def on_ack(c: Tcb, now: int, ack: int, progress: bool, delivered: int, twice: int) -> None:
    """Whether a probe that is out has repaired a loss, which then counts as one (section 7.4)."""
    if c.probe_end < 0 or ack < c.probe_end:
        return
    if not c.probe_resent or twice:
        c.probe_end = -1
    elif ack > c.probe_end:
        c.probe_end = -1
        congestion = c.congestion
        if not c.in_recovery and not c.rto_recovery:
            cwnd = congestion.cwnd
            flight = c.snd_nxt - c.snd_una
            congestion.on_congestion(now, flight)
            if c.validation is not None:
                newcwv.on_congestion(c, now, c.validation, flight, cwnd, False)
            ecn.reduced(c)
            c.undo = None
            c.tcp.counters.TcpExtTCPLossProbeRecovery += 1
            congestion_control.record(c, now, causes.LOSS_PROBE_REPAIRED)
    elif not progress and not delivered:
        c.probe_end = -1

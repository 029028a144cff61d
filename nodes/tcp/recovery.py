"""Fast retransmit and fast recovery: when they begin and end (RFC 5681 section 3.2, RFC 6582). How the window moves
meanwhile is the congestion control's business."""

from __future__ import annotations

from nodes.base import causes
from nodes.base.events import FAST_RECOVERY, RTO_RECOVERY
from nodes.tcp import congestion_control, ecn, newcwv, plpmtud, retransmit
from nodes.tcp.seq import MASK
from nodes.tcp.tcb import Tcb


def on_duplicate_ack(c: Tcb, now: int) -> None:
    """A duplicate ACK as RFC 5681 section 2 defines it. The caller then lets the sender send what the window allows."""
    c.dup_acks += 1
    c.rate.duplicate(c.mss, now)
    tcp = c.tcp
    if c.in_recovery:
        c.congestion.on_duplicate_ack(now)
        congestion_control.record(c, now, causes.FAST_RECOVERY_INFLATE)
        return
    # RFC 6582 section 3.2 step 1: duplicates of data sent before the last recovery mean nothing new.
    if c.dup_acks != tcp.parameters.tcp_reordering or c.snd_una <= c.recover or not c.board:
        return
    if plpmtud.lost(c, now):
        return
    # What limited transmit has sent does not count (RFC 5681 section 3.2, step 2): it went beyond the window.
    flight = min(c.snd_nxt - c.snd_una, c.congestion.cwnd)
    c.in_recovery = True
    c.partial_acked = False
    c.recover = c.snd_nxt
    tcp.counters.TcpExtTCPRenoRecovery += 1
    tcp.sink.recovery(now, tcp.node, c.number, causes.FAST_RETRANSMIT, True, FAST_RECOVERY, c.recover & MASK)
    cwnd = c.congestion.cwnd
    c.congestion.on_fast_retransmit(now, flight)
    if c.validation is not None:
        newcwv.on_congestion(c, now, c.validation, flight, cwnd, True)
    ecn.reduced(c)
    congestion_control.record(c, now, causes.FAST_RETRANSMIT)
    _resend_first(c, now, causes.RETRANSMIT_FAST)


def on_new_ack(c: Tcb, now: int, acked: int) -> bool:
    """New data was acknowledged in fast recovery (SND.UNA is already moved). True if the retransmission timer starts
    again: not after the second and later partial ACKs (RFC 6582 section 4, the impatient variant)."""
    congestion = c.congestion
    if c.snd_una < c.recover and c.board and congestion.on_partial_ack(now, acked):
        congestion_control.record(c, now, causes.FAST_RECOVERY_DEFLATE)
        _resend_first(c, now, causes.RETRANSMIT_PARTIAL_ACK)
        first = not c.partial_acked
        c.partial_acked = True
        return first
    c.in_recovery = False
    congestion.on_recovery_exit(now, c.flight)
    if c.validation is not None:
        newcwv.on_recovered(c, now, c.validation)
    tcp = c.tcp
    tcp.sink.recovery(now, tcp.node, c.number, causes.FAST_RECOVERY_EXIT, False, FAST_RECOVERY, c.recover & MASK)
    congestion_control.record(c, now, causes.FAST_RECOVERY_EXIT)
    return True


def end_rto_recovery(c: Tcb, now: int) -> None:
    """All that was outstanding at the timeout is acknowledged."""
    c.rto_recovery = False
    c.frto = 0
    tcp = c.tcp
    tcp.sink.recovery(now, tcp.node, c.number, causes.FAST_RECOVERY_EXIT, False, RTO_RECOVERY, c.recover & MASK)


def _resend_first(c: Tcb, now: int, cause: int) -> None:
    record = c.board.first
    if len(record.payload) > c.mss:
        c.board.split(record, c.mss)
    c.tcp.counters.TcpExtTCPFastRetrans += 1
    retransmit.resend(c, now, record, cause)

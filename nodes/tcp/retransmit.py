"""Retransmission after a timeout (RFC 6298 section 5) and the resending of what is believed lost."""

from __future__ import annotations

from nodes.base import causes
from nodes.base.clock import MILLISECOND, NEVER
from nodes.base.events import (
    FAST_RECOVERY,
    RTO_RECOVERY,
    TIMER_FIRED,
    TIMER_RETRANSMISSION,
    TIMER_SYN_ACK,
)
from nodes.packet.tcp import SYN
from nodes.tcp import (
    accecn,
    closing,
    congestion_control,
    ecn,
    fastopen,
    handshake,
    newcwv,
    pathmtu,
    plpmtud,
    rtt,
    segments,
    sender,
    undo,
)
from nodes.tcp.scoreboard import FLYING, SACKED, Sent
from nodes.tcp.seq import MASK
from nodes.tcp.tcb import PASSIVE, Tcb


def resend(c: Tcb, now: int, record: Sent, cause: int) -> None:
    """Send one record again as it was (with today's ACK, window and timestamp)."""
    c.board.sent_again(record, now)
    c.rate.sent(record, now, c.board.flying, c.board.ever_lost)
    if c.search is not None:
        # A probe that is out meanwhile tells nothing (RFC 4821 section 7.6.4).
        c.search.size = 0
    if c.undo is not None:
        c.undo.resent += 1
    c.last_sent = now
    c.total_retrans += 1
    tcp = c.tcp
    tcp.sink.retransmit(now, tcp.node, c.number, cause, record.seq & MASK, record.end - record.seq, record.count)
    if record.flags & SYN:
        segments.transmit_syn(c, now, record.flags, cause, True)
    else:
        segments.transmit(c, now, record.seq, record.flags, record.payload, cause, True)


def resend_lost(c: Tcb, now: int) -> None:
    """Resend from what is believed lost as much as the congestion window lets go, one segment at least."""
    board = c.board
    counters = c.tcp.counters
    while (record := board.next_lost()) is not None:
        if len(record.payload) > c.mss:
            board.split(record, c.mss)
        size = record.end - record.seq
        # What begins a recovery goes at once (RFC 6675 section 5, step 4.3).
        if board.flying and board.flying + size > c.congestion.cwnd and not (c.in_recovery and not c.prr.out):
            break
        if c.congestion.pacing_rate and not sender.paced(c, now, size):
            break
        if c.in_recovery:
            c.prr.out += size
            counters.TcpExtTCPFastRetrans += 1
            resend(c, now, record, causes.RETRANSMIT_SACK)
        elif c.rto_recovery:
            counters.TcpExtTCPSlowStartRetrans += 1
            resend(c, now, record, causes.RETRANSMIT_RTO)
        else:
            resend(c, now, record, causes.RETRANSMIT_MTU)
        if c.rto_at == NEVER:
            sender.arm(c, now)


def on_timeout(c: Tcb, now: int) -> None:
    """The retransmission timer expired (RFC 6298 sections 5.4 to 5.6, RFC 9293 section 3.8.3)."""
    tcp = c.tcp
    parameters = tcp.parameters
    c.rto_at = NEVER
    opening = not c.synchronized
    passive = opening and c.origin == PASSIVE
    tcp.sink.timer(
        now, tcp.node, c.number, TIMER_SYN_ACK if passive else TIMER_RETRANSMISSION, TIMER_FIRED, now, c.backoff
    )
    if c.snd_wnd == 0 and not opening and c.last_received >= c.last_sent:
        # A peer that shrank its window and answers is alive: it keeps the connection (RFC 9293 section 3.8.6.1).
        c.retransmits = 0
    if passive:
        limit = c.listener.synack_retries(c) if c.listener is not None else parameters.tcp_synack_retries
        if c.deferred:
            limit = max(limit, handshake.deferral(c))
    elif opening:
        limit = c.options.syncnt + parameters.tcp_syn_linear_timeouts
    elif c.user_closed:
        limit = closing.orphan_retries(c, c.rto < parameters.tcp_rto_max_ms * MILLISECOND)
    else:
        limit = parameters.tcp_retries2
    if _over(c, now, limit):
        closing.give_up(c, now, causes.RETRIES_EXHAUSTED)
        return
    if not c.retransmits:
        c.retrans_at = now
    c.retransmits += 1
    c.total_rto += 1
    tcp.counters.TcpExtTCPTimeouts += 1
    if c.fast is not None:
        fastopen.on_timeout(c, now)
    if opening:
        if passive or c.retransmits > parameters.tcp_syn_linear_timeouts:
            rtt.back_off(c)
        if c.deferred and c.retransmits < handshake.deferral(c):
            # The peer has our SYN-ACK; it is its data that we wait for.
            sender.arm(c, now)
            return
        resend(c, now, c.board.first, causes.RETRANSMIT_SYN_ACK if passive else causes.RETRANSMIT_SYN)
        sender.arm(c, now)
        return
    if c.retransmits == parameters.tcp_retries1:
        # R1 (RFC 9293 section 3.8.3): ask the layer below again what it knows of the path.
        pathmtu.refresh(c, now)
    if _over(c, now, parameters.tcp_retries1):
        plpmtud.suspect_black_hole(c, now)
    if c.accurate is not None and c.snd_una == c.iss + 1:
        # The first data that went with an option is lost, perhaps for it (RFC 9768 section 3.2.3.2.2).
        accecn.block_option(c, now)
    flight = c.snd_nxt - c.snd_una
    _count_failure(c)
    if c.in_recovery:
        c.in_recovery = False
        tcp.sink.recovery(now, tcp.node, c.number, causes.RTO_EXPIRED, False, FAST_RECOVERY, c.recover & MASK)
    if c.sack:
        if c.retransmits == 1 and not c.rto_recovery:
            undo.remember(c, now)
            c.frto = undo.FRTO_FIRST
        else:
            c.frto = undo.FRTO_NONE
        if c.board.first.state == SACKED:
            c.board.forget_sacked()
        c.probe_end = -1
        c.probe_at = c.reordering_at = NEVER
    c.congestion.on_timeout(now, flight, c.retransmits == 1)
    if c.validation is not None:
        newcwv.on_timeout(c, now, c.validation)
    ecn.reduced(c)
    c.dup_acks = 0
    c.recover = c.snd_nxt
    if not c.rto_recovery:
        c.rto_recovery = True
        tcp.sink.recovery(now, tcp.node, c.number, causes.RTO_EXPIRED, True, RTO_RECOVERY, c.recover & MASK)
    c.board.lose_all()
    congestion_control.lost(c, now)
    congestion_control.record(c, now, causes.RTO_COLLAPSE)
    rtt.back_off(c)
    resend_lost(c, now)


def _count_failure(c: Tcb) -> None:
    """What the timeout finds, in Linux's words."""
    counters = c.tcp.counters
    counters.TcpExtTCPLostRetransmit += sum(1 for record in c.board if record.count and record.state == FLYING)
    if c.sack and c.board.first.state == SACKED:
        counters.TcpExtTCPSACKReneging += 1
    if c.retransmits > 1:
        return
    if c.in_recovery and c.sack:
        counters.TcpExtTCPSackRecoveryFail += 1
    elif c.in_recovery:
        counters.TcpExtTCPRenoRecoveryFail += 1
    elif c.rto_recovery:
        counters.TcpExtTCPLossFailures += 1
    elif c.board.sacked:
        counters.TcpExtTCPSackFailures += 1
    elif c.dup_acks:
        counters.TcpExtTCPRenoFailures += 1


def _over(c: Tcb, now: int, limit: int) -> bool:
    """Whether there were `limit` timeouts in a row. Linux takes the time that so many would last with the lowest RTO,
    from the first retransmission (ip-sysctl, tcp_retries2: 15 are 924.6 s); for a SYN of ours it takes either."""
    parameters = c.tcp.parameters
    synchronized = c.synchronized
    if parameters.profile != "linux" or (not synchronized and (c.origin == PASSIVE or c.retransmits >= limit)):
        return c.retransmits >= limit
    if not c.retransmits:
        return False
    highest = parameters.tcp_rto_max_ms
    if synchronized:
        lowest = parameters.tcp_rto_min_ms
        since = 0
    else:
        # From the first SYN.
        lowest = since = parameters.tcp_rto_initial_ms
        limit = c.options.syncnt
    doublings = min(limit, max(highest // lowest, 1).bit_length() - 1)
    most = ((2 << doublings) - 1) * lowest + (limit - doublings) * highest
    return now - c.retrans_at >= (most - since) * MILLISECOND

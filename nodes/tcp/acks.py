"""What an acceptable ACK does (RFC 9293 section 3.10.7.4, fifth): the send window, round trips, congestion."""

from __future__ import annotations

from nodes.base import causes
from nodes.base.clock import MILLISECOND, NEVER
from nodes.base.events import (
    LEVEL_ALL,
    LEVEL_CONGESTION,
    TIMER_RETRANSMISSION,
    TIMER_USER_TIMEOUT,
    WINDOW_SEND,
)
from nodes.packet.tcp import ECE, FIN, SYN, Segment
from nodes.tcp import (
    accecn,
    autotuning,
    chronograph,
    congestion_control,
    ecn,
    newcwv,
    notsent,
    persist,
    plpmtud,
    rack,
    recovery,
    rtt,
    sack_recovery,
    sender,
    timers,
)
from nodes.tcp.mutants import no_karn
from nodes.tcp.scoreboard import SACKED, Sent
from nodes.tcp.seq import MASK
from nodes.tcp.tcb import Tcb

#: A TSecr older than this cannot be an answer to a segment that is still outstanding (ms).
_OLDEST_ECHO = 1 << 27


def process(c: Tcb, now: int, seq: int, ack: int, segment: Segment) -> None:
    """An ACK in [SND.UNA - MAX.SND.WND, SND.NXT], on a connection whose SYN is acknowledged."""
    if c.probes:
        c.probes = 0
    c.last_ack_received = now
    una = c.snd_una
    if ack < una:
        if c.sack and segment.sack:
            # An ACK that comes late still tells what has arrived.
            sack_recovery.on_ack(c, now, una, segment)
        return
    sender.look_app_limited(c)
    flags = segment.flags
    window = segment.window if flags & SYN else segment.window << c.snd_shift
    if c.ecn and flags & ECE and c.accurate is None:
        c.tcp.ack.ece = True
    if c.sack:
        sack_recovery.on_ack(c, now, ack, segment)
    elif ack > una:
        arrived = c.board.arrived
        new_ack(c, now, ack, segment)
        c.tcp.counters.TcpExtTCPDelivered += c.board.arrived - arrived
    elif (
        c.snd_nxt > una and not segment.payload and not flags & (SYN | FIN) and window == c.snd_wnd and seq >= c.snd_wl1
    ):
        # RFC 5681 section 2: what a duplicate ACK is.
        recovery.on_duplicate_ack(c, now)
    if c.tcp.ack.ece:
        c.tcp.ack.ece = False
        ecn.on_echo(c, now)
    # SND.WL1, SND.WL2: no old segment may set the window.
    if c.snd_wl1 < seq or (c.snd_wl1 == seq and c.snd_wl2 <= ack):
        c.snd_wl1 = seq
        c.snd_wl2 = ack
        if window != c.snd_wnd:
            set_window(c, now, window)
        if c.persist_at != NEVER and c.snd_una + window > c.snd_nxt:
            persist.stop(c, now)


def set_window(c: Tcb, now: int, window: int) -> None:
    """SND.WND := window."""
    tcp = c.tcp
    if tcp.sink.level >= LEVEL_CONGESTION:
        edge = (c.snd_una + window) & MASK
        tcp.sink.window(now, tcp.node, c.number, WINDOW_SEND, window, edge, window == 0 or c.snd_wnd == 0)
    c.snd_wnd = window
    if window > c.max_snd_wnd:
        c.max_snd_wnd = window


def new_ack(c: Tcb, now: int, ack: int, segment: Segment) -> None:
    """SND.UNA < SEG.ACK =< SND.NXT, without SACK."""
    flying = c.board.flying
    rate = c.rate
    done = c.board.acknowledge(ack)
    for record in done:
        if record.payload:
            rate.arrived(record, now)
    octets = advance(c, now, ack, done, segment)
    # What duplicate ACKs have told of had arrived before (in Linux these stand for SACK blocks).
    before = 0
    if c.dup_acks and not c.in_recovery and not c.rto_recovery:
        before = max(min(c.dup_acks * c.mss, octets - c.mss), 0)
        c.delivered += before
    told(c, now, octets, octets - before, 0, flying, segment)
    restart = True
    if c.in_recovery:
        restart = recovery.on_new_ack(c, now, octets)
    else:
        grow(c, now)
    if not c.in_recovery:
        rate.early = 0
    c.dup_acks = 0
    if c.rto_recovery and ack >= c.recover:
        recovery.end_rto_recovery(c, now)
    restart_timers(c, now, restart)


def advance(c: Tcb, now: int, ack: int, done: list[Sent], segment: Segment) -> int:
    """SND.UNA := SEG.ACK, and what follows for the user and the round-trip time. Returns how many bytes of data were
    acknowledged; `done` are their records."""
    # The oldest segment that this acknowledges, if none of them was ever sent twice (Karn's algorithm).
    sent_at = -1
    resent = False
    octets = ack - c.snd_una
    for record in done:
        if record.count:
            resent = True
        elif sent_at < 0 and record.state != SACKED:
            sent_at = record.sent_at
        if record.flags & (SYN | FIN):
            octets -= 1
    c.tcp.ack.rtt = 0
    c.snd_una = ack
    if c.search is not None and c.search.size and ack >= c.search.end:
        plpmtud.passed(c, now, c.search)
    c.acked_at = now
    c.bytes_acked += octets
    if resent and c.tcp.parameters.mutants.no_karn:
        no_karn.sample(c, now, done)
    elif not resent and sent_at >= 0:
        c.tcp.ack.rtt = now - sent_at
        rtt.sample(c, now, now - sent_at)
        if not c.sack:
            rack.round_trip(c.rack, now, now - sent_at)
    elif c.timestamps and segment.tsecr > 0:
        # RTTM (RFC 7323 section 4): the echo tells which transmission is acknowledged.
        elapsed = (now // MILLISECOND + c.ts_offset - segment.tsecr) & MASK
        if elapsed < _OLDEST_ECHO:
            rtt.sample(c, now, max(elapsed, 1) * MILLISECOND)
    if c.retransmits:
        c.retransmits = 0
        c.total_rto_recoveries += 1
        c.total_rto_time += now - c.retrans_at
    c.persist_backoff = 0
    if c.blocked:
        autotuning.grow_send_buffer(c)
        notsent.sent(c)
    return octets


def told(c: Tcb, now: int, octets: int, delivered: int, lost: int, flying: int, segment: Segment) -> None:
    """Tell the congestion control of an ACK, `segment`, that acknowledges `octets` and delivers `delivered`, and finds
    `lost`, of `flying` that were on their way."""
    ack = c.tcp.ack
    ack.acked = octets
    ack.delivered = delivered
    if c.accurate is not None:
        ack.marked = accecn.on_ack(c, now, segment, octets or delivered)
    if not delivered and not octets:
        return
    c.delivered += delivered
    ack.now = now
    ack.lost = lost
    ack.flight = flying
    ack.flight_after = c.board.flying
    ack.srtt = c.srtt
    ack.min_rtt = c.rack.min_rtt
    ack.recovering = c.in_recovery or c.rto_recovery
    ack.cwnd_limited = c.cwnd_limited
    c.rate.fill(ack, c.board.ever_lost)
    if ack.ece and c.accurate is None:
        ack.marked = octets
        c.delivered_ce += delivered
        marks = -(-delivered // c.mss)
        c.delivered_ce_segs += marks
        c.tcp.counters.TcpExtTCPDeliveredCE += marks
    congestion = c.congestion
    congestion.on_every_ack(ack)
    if congestion.phase != c.phase_seen:
        congestion_control.phase(c, now)


def grow(c: Tcb, now: int) -> None:
    """The congestion window after what `Tcp.ack` tells."""
    ack = c.tcp.ack
    # Where the network is known to reorder, what arrives out of order counts too (Linux: tcp_may_raise_cwnd).
    if not ack.acked and not (ack.delivered and c.rack.degree > c.tcp.parameters.tcp_reordering):
        return
    congestion = c.congestion
    cwnd = congestion.cwnd
    slow_start = cwnd < congestion.ssthresh
    # A window that was not the limit says nothing about the path (RFC 7661): without tcp_newcwv, in slow start it grows
    # to twice what was outstanding, as Linux has it. Nor does it grow in the round trip of a reduction by ECN.
    if c.validation is not None and not c.rto_recovery:
        grows = newcwv.on_ack(c, now, c.validation)
    else:
        grows = c.cwnd_limited or (slow_start and cwnd < 2 * c.max_out)
    if grows and c.snd_una >= c.cwr_until:
        congestion.on_ack(ack)
    if congestion.cwnd != c.cwnd_seen:
        growing = causes.SLOW_START if slow_start else causes.CONGESTION_AVOIDANCE
        congestion_control.record(c, now, congestion.phase or growing)
    if c.tcp.parameters.tcp_pacing and not congestion.paces and c.srtt:
        congestion.pacing_rate = sender.even_rate(c)


def restart_timers(c: Tcb, now: int, restart: bool) -> None:
    """RFC 6298 sections 5.2 and 5.3; the user timeout counts from the last progress."""
    if c.snd_nxt == c.snd_una:
        if c.rto_at != NEVER:
            c.rto_at = NEVER
            timers.trace_cancelled(c, now, TIMER_RETRANSMISSION)
        chronograph.look(c, now)
    elif restart and c.persist_at == NEVER:
        deadline = c.rto_at = now + c.rto
        if deadline < c.wake_at or c.tcp.sink.level >= LEVEL_ALL:
            timers.trace_set(c, now, TIMER_RETRANSMISSION, deadline, c.backoff)
    if c.user_timeout_at != NEVER:
        if c.outstanding:
            c.user_timeout_at = now + c.options.user_timeout * MILLISECOND
        else:
            c.user_timeout_at = NEVER
            timers.trace_cancelled(c, now, TIMER_USER_TIMEOUT)

"""Loss recovery with SACK: what an ACK tells of what has arrived, what is lost by that, and how fast it is sent again.

Losses are found by RACK (RFC 8985), or by counting as RFC 6675 does when tcp_recovery is 0; the rate is PRR's (RFC
6937). A recovery that turns out to have been for nothing is undone (undo.py).
"""

from __future__ import annotations

from nodes.base import causes
from nodes.base.clock import NEVER
from nodes.base.events import FAST_RECOVERY, TIMER_FIRED, TIMER_REORDERING
from nodes.packet.tcp import ABSENT, Segment
from nodes.tcp import acks, congestion_control, ecn, newcwv, plpmtud, prr, rack, recovery, sender, timers, tlp, undo
from nodes.tcp.recovery_state import Prr
from nodes.tcp.scoreboard import FLYING, SACKED
from nodes.tcp.seq import MASK, unwrap
from nodes.tcp.tcb import Tcb


def on_ack(c: Tcb, now: int, ack: int, segment: Segment) -> None:
    """An acceptable ACK, SND.UNA =< SEG.ACK =< SND.NXT, of a peer that knows SACK."""
    una = c.snd_una
    board = c.board
    outstanding = c.snd_nxt - una
    flying = board.flying
    lost = board.lost
    ever_lost = board.ever_lost
    arrived = board.arrived
    fack = c.rack.fack
    rate = c.rate
    tsecr = segment.tsecr
    delivered = 0
    # Whether something arrived that was sent only once.
    once = False
    blocks = segment.sack
    twice = 0
    if blocks:
        twice = _told_twice(c, ack, blocks)
        for left, right in blocks[1:] if twice else blocks:
            start = unwrap(left, una)
            end = unwrap(right, una)
            if not ack <= start < end <= c.snd_nxt:
                continue
            for record in board.sack(start, end):
                delivered += record.end - record.seq
                once = once or not record.count
                rate.arrived(record, now)
                # What comes out of order is not what the ACK echoes the timestamp of.
                rack.delivered(c, now, record, ABSENT, fack)
    progress = ack > una
    octets = 0
    if progress:
        done = board.acknowledge(ack)
        for record in done:
            if record.state != SACKED:
                delivered += record.end - record.seq
                once = once or not record.count
                if record.payload:
                    rate.arrived(record, now)
                rack.delivered(c, now, record, tsecr, fack)
        octets = acks.advance(c, now, ack, done, segment)
    c.tcp.counters.TcpExtTCPDelivered += board.arrived - arrived
    if c.rack.late:
        c.rack.late = False
        c.rack.seen += 1
        c.tcp.counters.TcpExtTCPSACKReorder += 1
    if progress or delivered:
        _find_lost(c, now)
    acks.told(c, now, octets, delivered, board.ever_lost - ever_lost, flying, segment)
    tlp.on_ack(c, now, ack, progress, delivered, twice)
    if undo.on_ack(c, now, progress, tsecr, twice, blocks, once):
        pass
    elif c.rto_recovery:
        if ack >= c.recover:
            recovery.end_rto_recovery(c, now)
        acks.grow(c, now)
    elif c.in_recovery:
        if ack >= c.recover:
            _leave(c, now)
        elif c.congestion.rules_recovery:
            congestion_control.record(c, now, c.congestion.phase or causes.CONTROL_RULES)
        else:
            prr.on_ack(c, c.prr, delivered, progress and board.lost <= lost)
            congestion_control.record(c, now, causes.PROPORTIONAL_RATE)
    elif board.lost:
        if c.search is None or not plpmtud.lost(c, now):
            enter(c, now, outstanding, delivered)
    else:
        acks.grow(c, now)
    if progress:
        acks.restart_timers(c, now, True)
    if progress or delivered:
        tlp.schedule(c, now)


def _told_twice(c: Tcb, ack: int, blocks: tuple[tuple[int, int], ...]) -> int:
    """How many segments the first block tells of that have come twice: it is before the ACK, or within the second
    block (RFC 2883 section 4). 0: it is of something else, or nobody's fault."""
    left, right = blocks[0]
    start = unwrap(left, c.snd_una)
    end = unwrap(right, c.snd_una)
    if start >= end:
        return 0
    counters = c.tcp.counters
    if end > ack:
        if len(blocks) < 2:
            return 0
        around_left, around_right = (unwrap(edge, c.snd_una) for edge in blocks[1])
        if not around_left <= start < end <= around_right:
            return 0
        counters.TcpExtTCPDSACKOfoRecv += 1
    else:
        counters.TcpExtTCPDSACKRecv += 1
    count = -(-(end - start) // c.mss)
    c.dsack_dups += count
    if c.dsack_dups > c.total_retrans:
        # More than was ever sent again: the network makes copies, of which no recovery is guilty (RFC 3708 section 4).
        counters.TcpExtTCPDSACKIgnoredDubious += 1
        return 0
    counters.TcpExtTCPDSACKRecvSegs += count
    rack.told_twice(c)
    return count


def _find_lost(c: Tcb, now: int) -> None:
    board = c.board
    if not c.tcp.parameters.tcp_recovery:
        _count(c)
        congestion_control.lost(c, now)
        return
    wait = rack.detect(c, now, rack.reordering_window(c, board.sacked_segments))
    congestion_control.lost(c, now)
    if wait:
        c.reordering_at = now + wait
        timers.trace_set(c, now, TIMER_REORDERING, c.reordering_at, 0)
    elif c.reordering_at != NEVER:
        c.reordering_at = NEVER
        timers.trace_cancelled(c, now, TIMER_REORDERING)


def _count(c: Tcb) -> None:
    """RFC 6675 section 4, IsLost: enough beyond it has arrived, by bytes or by blocks."""
    board = c.board
    threshold = c.tcp.parameters.tcp_reordering
    beyond = board.sacked
    ranges = board.ranges
    within = False
    for record in board:
        if record.state == SACKED:
            beyond -= record.end - record.seq
            if not within:
                within = True
                ranges -= 1
            continue
        within = False
        if beyond <= (threshold - 1) * c.mss and ranges < threshold:
            break
        if record.state == FLYING and not record.count:
            board.lose(record)


def enter(c: Tcb, now: int, outstanding: int, delivered: int) -> None:
    """Something is lost: recovery begins (RFC 6675 section 5, RFC 6937 section 3). Of what is outstanding, what went
    beyond the window by limited transmit does not count for ssthresh (RFC 5681 section 3.2, step 2)."""
    tcp = c.tcp
    undo.remember(c, now)
    c.in_recovery = True
    c.recover = c.snd_nxt
    c.prr = Prr(outstanding)
    tcp.counters.TcpExtTCPSackRecovery += 1
    tcp.sink.recovery(now, tcp.node, c.number, causes.SACK_RECOVERY, True, FAST_RECOVERY, c.recover & MASK)
    congestion = c.congestion
    cwnd = congestion.cwnd
    congestion.on_loss(now, min(outstanding, cwnd))
    if c.validation is not None:
        newcwv.on_congestion(c, now, c.validation, outstanding, cwnd, True)
    if not congestion.rules_recovery:
        prr.on_ack(c, c.prr, delivered, False)
    ecn.reduced(c)
    congestion_control.record(c, now, causes.SACK_RECOVERY)


def _leave(c: Tcb, now: int) -> None:
    c.in_recovery = False
    tcp = c.tcp
    tcp.sink.recovery(now, tcp.node, c.number, causes.FAST_RECOVERY_EXIT, False, FAST_RECOVERY, c.recover & MASK)
    rack.recovered(c)
    c.congestion.on_recovered(now)
    if c.validation is not None:
        newcwv.on_recovered(c, now, c.validation)
    congestion_control.record(c, now, causes.FAST_RECOVERY_EXIT)


def on_reordering_timeout(c: Tcb, now: int) -> None:
    """What may have been late has been waited for (RFC 8985 section 6.3)."""
    tcp = c.tcp
    c.reordering_at = NEVER
    tcp.sink.timer(now, tcp.node, c.number, TIMER_REORDERING, TIMER_FIRED, now, 0)
    outstanding = c.snd_nxt - c.snd_una
    _find_lost(c, now)
    if c.board.lost:
        if not c.in_recovery and not c.rto_recovery:
            if not plpmtud.lost(c, now):
                enter(c, now, outstanding, 0)
        elif c.in_recovery and not c.congestion.rules_recovery:
            prr.on_ack(c, c.prr, 0, False)
        sender.output(c, now, False)

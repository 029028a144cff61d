"""RACK: what was sent well before something that has arrived, and has not arrived itself, is lost (RFC 8985)."""

from __future__ import annotations

from typing import Final

from nodes.base.clock import MILLISECOND, SECOND
from nodes.tcp.recovery_state import PERSIST, Rack
from nodes.tcp.scoreboard import Sent
from nodes.tcp.seq import MASK
from nodes.tcp.tcb import Tcb

#: The window of the lowest round trip (RFC 8985 section 7.1 leaves it free; Linux: tcp_min_rtt_wlen).
MIN_RTT_WINDOW: Final = 300 * SECOND
#: The most reordering that is believed, segments (Linux: tcp_max_reordering).
MAX_REORDERING: Final = 300


def round_trip(rack: Rack, now: int, rtt: int) -> None:
    """One was measured, of something sent once (section 6.2, step 1)."""
    if rtt <= rack.min_rtt or not rack.min_rtt or now - rack.min_rtt_at > MIN_RTT_WINDOW:
        rack.min_rtt = max(rtt, 1)
        rack.min_rtt_at = now


def delivered(c: Tcb, now: int, record: Sent, tsecr: int, fack: int) -> None:
    """A segment is known to have arrived, by ACK or SACK (section 6.2, steps 1 to 3). `tsecr`: the ACK's, or less than
    0; `fack`: RACK.fack before the ACK, which may tell of several, not in order."""
    rack = c.rack
    if record.end > rack.fack:
        rack.fack = record.end
    if record.end <= fack and not record.count:
        rack.reordering = rack.late = True
        # How far the network reorders, in segments (Linux: tcp_check_sack_reordering).
        rack.degree = max(rack.degree, min(-(-(rack.fack - record.seq) // c.mss), MAX_REORDERING))
    rtt = now - record.sent_at
    if record.count:
        # It may be the first transmission that arrived.
        if c.timestamps and tsecr >= 0:
            sent_ms = (record.sent_at // MILLISECOND + c.ts_offset) & MASK
            if (tsecr - sent_ms) & MASK > MASK >> 1:
                return
        if rtt < rack.min_rtt:
            return
    else:
        round_trip(rack, now, rtt)
    if record.order > rack.order:
        rack.order = record.order
        rack.rtt = rtt
    elif c.tcp.parameters.profile == "linux":
        # Linux goes by the last that it looks at, which is more patient where an old one comes late.
        rack.rtt = rtt


def reordering_window(c: Tcb, sacked_segments: int) -> int:
    """How much longer than a round trip a segment is waited for, ns (section 6.2, step 4)."""
    rack = c.rack
    if not rack.reordering and (c.in_recovery or sacked_segments >= max(rack.degree, c.tcp.parameters.tcp_reordering)):
        return 0
    return min(rack.mult * rack.min_rtt // 4, c.srtt)


def told_twice(c: Tcb) -> None:
    """A D-SACK: something was sent again for nothing. The window widens, once per round trip (section 7.2)."""
    rack = c.rack
    if rack.dsack_round < 0 or c.snd_una >= rack.dsack_round:
        rack.dsack_round = c.snd_nxt
        rack.mult += 1
        rack.persist = PERSIST


def recovered(c: Tcb) -> None:
    """A recovery has ended: after so many without a D-SACK, back to the narrow window."""
    rack = c.rack
    rack.persist -= 1
    if rack.persist <= 0:
        rack.mult = 1
        rack.persist = PERSIST


def detect(c: Tcb, now: int, window: int) -> int:
    """Mark what is lost (section 6.2, step 5). Returns how long to wait for the next to be so, ns; 0: for none."""
    rack = c.rack
    board = c.board
    wait = 0
    record = board.first_sent
    while record is not None and record.order < rack.order:
        later = record.later
        left = record.sent_at + rack.rtt + window - now
        if left <= 0:
            if record.count:
                c.tcp.counters.TcpExtTCPLostRetransmit += 1
            board.lose(record)
        elif left > wait:
            wait = left
        record = later
    return wait

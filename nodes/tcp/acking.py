"""When to acknowledge: delayed ACKs (RFC 9293 section 3.8.6.3, RFC 5681 section 4.2), and when Linux does not delay.

Linux begins in quick-ack mode: it acknowledges the first segments at once, so that a peer in slow start is not held
back, and again after a long gap. When this end answers what it gets (ping-pong), an ACK soon has data to go with,
and is delayed: by the ATO, which follows the time between the peer's segments. All of that is of profile `linux`.
"""

from __future__ import annotations

from typing import Final

from nodes.base import causes
from nodes.base.clock import MILLISECOND, NEVER
from nodes.base.events import TIMER_DELAYED_ACK, TIMER_FIRED
from nodes.packet.tcp import FIN, PSH
from nodes.tcp import segments, timers
from nodes.tcp.tcb import Tcb

#: The most segments that quick-ack mode acknowledges at once (Linux: TCP_MAX_QUICKACKS).
QUICK_ACKS: Final = 16
#: Longest delays of an ACK: RFC 9293 section 3.8.6.3's, and Linux's in a ping-pong session (TCP_DELACK_MAX).
_LONGEST: Final = 500 * MILLISECOND
_LONGEST_PING_PONG: Final = 200 * MILLISECOND
#: The lowest MSS that a peer is believed to use, and the one everybody takes; with the TCP header.
_LOWEST_WITH_HEADER: Final = 88 + 20
_DEFAULT_WITH_HEADER: Final = 536 + 20

#: `ack_small`: a segment smaller than the rest has come since the last ACK; more than one has.
_SMALL: Final = 1
_SMALLS: Final = 2


def ping_pong(c: Tcb) -> bool:
    """Whether this end answers what it gets."""
    return c.ack_answers >= c.tcp.parameters.tcp_pingpong_thresh


def text_came(c: Tcb, now: int, size: int, flags: int) -> None:
    """`size` bytes came in order: what the peer's MSS seems to be, and how far apart its segments are."""
    parameters = c.tcp.parameters
    if parameters.profile != "linux":
        if size > c.rcv_mss:
            c.rcv_mss = size
        c.data_at = now
        return
    if size >= c.rcv_mss:
        c.rcv_mss = size
        if flags & PSH and not c.ack_small:
            c.ack_small = _SMALL
    else:
        _small_came(c, size, flags)
    least = parameters.tcp_delack_ms * MILLISECOND
    if not c.ack_delay:
        # The first data.
        quicken(c)
        c.ack_delay = least
    else:
        gap = now - c.data_at
        if gap <= least >> 1:
            c.ack_delay = (c.ack_delay >> 1) + (least >> 1)
        elif gap < c.ack_delay:
            c.ack_delay = min((c.ack_delay >> 1) + gap, c.rto)
        elif gap > c.rto:
            quicken(c)
    c.data_at = now


def _small_came(c: Tcb, size: int, flags: int) -> None:
    whole = size + 20 + (12 if c.timestamps else 0)
    if whole >= _DEFAULT_WITH_HEADER or (whole >= _LOWEST_WITH_HEADER and not flags & (PSH | FIN)):
        # Two of one size in a row, and not because a write ended: the peer's MSS is smaller than it was.
        if size == c.last_size:
            c.rcv_mss = size
            return
        c.last_size = size
    c.ack_small = _SMALLS if c.ack_small else _SMALL


def quicken(c: Tcb) -> None:
    """Acknowledge at once what comes until half a window has."""
    wanted = min(c.rcv_wnd // (2 * c.rcv_mss) or 2, QUICK_ACKS)
    if wanted > c.ack_quick:
        c.ack_quick = wanted


def enter_quick_ack(c: Tcb) -> None:
    """The peer seems to have lost our ACKs: it gets them at once for a while, ping-pong or not."""
    quicken(c)
    c.ack_answers = 0
    c.ack_delay = c.tcp.parameters.tcp_delack_ms * MILLISECOND


def schedule(c: Tcb, now: int) -> None:
    """Text came and nothing asks for an ACK at once: is one due all the same, or else when."""
    if c.tcp.parameters.profile == "linux":
        if c.ack_bytes > c.rcv_mss:
            c.ack_cause = causes.ACK_EVERY_SECOND
        elif c.ack_quick and not ping_pong(c):
            c.ack_cause = causes.ACK_QUICK
        else:
            _delay(c, now)
    elif c.ack_bytes >= 2 * c.rcv_mss:
        c.ack_cause = causes.ACK_EVERY_SECOND
    elif c.delack_at == NEVER:
        _start(c, now, c.tcp.parameters.tcp_delack_ms * MILLISECOND)


def _delay(c: Tcb, now: int) -> None:
    delay = c.ack_delay
    least = c.tcp.parameters.tcp_delack_ms * MILLISECOND
    if delay > least:
        most = _LONGEST_PING_PONG if c.ack_small or ping_pong(c) else _LONGEST
        if c.srtt:
            most = min(most, max(c.srtt, least))
        delay = min(delay, most, _LONGEST_PING_PONG)
    if c.delack_at == NEVER:
        _start(c, now, delay)
    elif c.delack_at <= now + (delay >> 2):
        # The timer is about to expire anyway.
        c.ack_cause = causes.DELAYED_ACK_EXPIRED
    elif now + delay < c.delack_at:
        _start(c, now, delay)


def _start(c: Tcb, now: int, delay: int) -> None:
    if delay == 0:
        c.ack_cause = causes.ACK_NOW
        return
    c.delack_at = now + delay
    timers.trace_set(c, now, TIMER_DELAYED_ACK, c.delack_at, 0)


def delay_handshake(c: Tcb, now: int) -> bool:
    """Whether the ACK of a SYN-ACK may wait for data to go with: the user said so by TCP_QUICKACK 0 or
    TCP_DEFER_ACCEPT before opening, or waits to send, as on Linux."""
    if c.options.quickack and not c.options.defer_accept and not c.write_waits:
        return False
    enter_quick_ack(c)
    _start(c, now, _LONGEST_PING_PONG)
    return True


def on_timeout(c: Tcb, now: int) -> None:
    """The delayed-ACK timer expired."""
    tcp = c.tcp
    c.delack_at = NEVER
    tcp.sink.timer(now, tcp.node, c.number, TIMER_DELAYED_ACK, TIMER_FIRED, now, 0)
    tcp.counters.TcpExtDelayedACKs += 1
    if not ping_pong(c):
        # Nothing came that it could have gone with: the peer's pace is slower than believed.
        c.ack_delay = min(c.ack_delay << 1, c.rto)
    else:
        c.ack_answers = 0
        c.ack_delay = tcp.parameters.tcp_delack_ms * MILLISECOND
    segments.send_ack(c, now, causes.DELAYED_ACK_EXPIRED)


def text_read(c: Tcb, now: int) -> bool:
    """The user has read. True if that was the time for a delayed ACK, and it was sent."""
    if c.delack_at == NEVER or c.tcp.parameters.profile != "linux":
        return False
    small = c.ack_small
    emptied = not c.buffered and (small == _SMALLS or (small == _SMALL and not ping_pong(c)))
    if not emptied and c.ack_bytes <= c.rcv_mss:
        return False
    segments.send_ack(c, now, causes.ACK_READ)
    return True


def set_quick_ack(c: Tcb, now: int, value: int) -> None:
    """TCP_QUICKACK changed (tcp(7)): not for ever. 0 delays ACKs; 1 has what is due sent now."""
    if not value:
        c.ack_answers = max(c.ack_answers, c.tcp.parameters.tcp_pingpong_thresh)
        return
    c.ack_answers = 0
    if c.delack_at != NEVER:
        segments.send_ack(c, now, causes.ACK_QUICK)

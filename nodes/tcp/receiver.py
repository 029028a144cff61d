"""Receiving: delivery in order, when to acknowledge, window updates (RFC 9293 3.8.6 and 3.10.7.4, RFC 5681 4.2)."""

from __future__ import annotations

from nodes.base import causes
from nodes.packet.tcp import Segment
from nodes.tcp import accecn, acking, autotuning, segments, states, urgent
from nodes.tcp.tcb import Tcb

#: What arrives in smaller pieces is joined: a sender of single bytes must not take many times the memory of the buffer.
_SMALL = 512
#: For the same reason, one piece out of order is kept for so many bytes of buffer, and some in any case.
_PIECE = 64
_PIECES = 64


def accept_text(c: Tcb, now: int, seq: int, segment: Segment) -> None:
    """Take the part of the text that is in the window: deliver it if it is next, else keep it (3.10.7.4, seventh)."""
    payload = segment.payload
    size = len(payload)
    skip = c.rcv_nxt - seq
    if skip > 0:
        came_twice(c, seq, seq + min(skip, size))
        payload = payload[skip:]
        seq = c.rcv_nxt
    room = c.rcv_adv - seq
    if len(payload) > room:
        payload = payload[:room] if room > 0 else b""
        c.ack_cause = causes.ACK_NOW
        if not payload:
            c.tcp.counters.TcpExtTCPZeroWindowDrop += 1
            acking.enter_quick_ack(c)
    if not payload:
        return
    if seq > c.rcv_nxt:
        if c.reassembly.pieces >= c.options.rcvbuf // _PIECE + _PIECES:
            # It is not reported either, so the peer sends it again.
            c.tcp.counters.TcpExtTCPOFODrop += 1
            c.ack_cause = causes.ACK_OUT_OF_ORDER
            return
        c.tcp.counters.TcpExtTCPOFOQueue += 1
        c.rcv_ooopack += 1
        if not c.reassembly.add(seq, payload):
            came_twice(c, seq, seq + len(payload))
        if c.sack:
            c.received.add(seq, seq + len(payload))
        c.ack_cause = causes.ACK_OUT_OF_ORDER
        return
    acking.text_came(c, now, size, segment.flags)
    if not c.options.rcvbuf_fixed:
        autotuning.text_came(c, now, segment)
    deliver(c, payload)
    if c.reassembly.length:
        for piece in c.reassembly.take(c.rcv_nxt):
            deliver(c, piece)
        if c.sack:
            c.received.advance(c.rcv_nxt)
        # It filled all or part of a gap: RFC 5681 section 4.2.
        c.ack_cause = causes.ACK_NOW
    c.ready = True
    if not c.ack_cause:
        acking.schedule(c, now)


def came_twice(c: Tcb, left: int, right: int) -> None:
    """Have the next ACK tell (RFC 2883)."""
    if c.accurate is not None:
        accecn.came_twice(c, left)
    if c.sack and c.tcp.parameters.tcp_dsack:
        c.received.twice(left, right)
        counters = c.tcp.counters
        if left < c.rcv_nxt:
            counters.TcpExtTCPDSACKOldSent += 1
        else:
            counters.TcpExtTCPDSACKOfoSent += 1


def deliver(c: Tcb, data: bytes) -> None:
    """Give the user what is next in the stream."""
    size = len(data)
    queue = c.rcv_queue
    if size < _SMALL and queue and len(queue[-1]) < _SMALL:
        queue[-1] += data
    else:
        queue.append(data)
    c.rcv_nxt += size
    c.buffered += size
    c.bytes_received += size
    c.ack_bytes += size


def take(c: Tcb, limit: int) -> bytes:
    """Hand the user up to `limit` bytes of what arrived in order."""
    queue = c.rcv_queue
    if c.urgent is not None:
        _, limit = urgent.before_mark(c, limit, False)
    if not queue:
        return b""
    if limit >= c.buffered:
        data = queue[0] if len(queue) == 1 else b"".join(queue)
        queue.clear()
    else:
        left = limit
        count = 0
        while left and len(queue[count]) <= left:
            left -= len(queue[count])
            count += 1
        parts = queue[:count]
        del queue[:count]
        if left:
            parts.append(queue[0][:left])
            queue[0] = queue[0][left:]
        data = b"".join(parts)
    c.buffered -= len(data)
    if c.urgent is not None:
        urgent.passed(c)
    return data


def look(c: Tcb, limit: int) -> bytes:
    """Up to `limit` bytes of what arrived in order, which stay."""
    parts = []
    skip = 0
    if c.urgent is not None:
        skip, limit = urgent.before_mark(c, limit, True)
    for part in c.rcv_queue:
        if skip:
            part = part[skip:]
            skip = 0
        if limit <= 0:
            break
        parts.append(part[:limit])
        limit -= len(part)
    return b"".join(parts)


def text_read(c: Tcb, now: int) -> None:
    """After the user has read: an ACK that waited for it, or the news that the window has grown to at least twice what
    the peer knows of, by a worthwhile step (Linux's rule; the step is RFC 9293 section 3.8.6.2.2's)."""
    if not c.synchronized or c.state == states.CLOSED:
        return
    if not c.options.rcvbuf_fixed:
        autotuning.text_read(c, now)
    if not acking.text_read(c, now):
        update_window(c, now)


def update_window(c: Tcb, now: int) -> None:
    """Tell the peer of a window that has grown."""
    if c.fin_received or not c.synchronized or c.state == states.CLOSED:
        return
    window = c.rcv_adv - c.rcv_nxt
    room = min(c.options.rcvbuf - c.buffered, c.window_clamp)
    if room >= 2 * window and (room - window >= c.rcv_mss or (room - window) * 2 >= c.options.rcvbuf):
        if c.segs_out == 1 and c.tcp.parameters.profile == "linux":
            # Nothing was sent but a SYN-ACK, whose window has no scale: Linux takes the peer to know of more.
            return
        segments.send_ack(c, now, causes.WINDOW_UPDATE)


def want_at_least(c: Tcb, now: int) -> None:
    """SO_RCVLOWAT: the buffer must take that much and as much again meanwhile; the user may be waiting for less now."""
    lowat = c.options.rcvlowat
    if not c.options.rcvbuf_fixed and 2 * lowat > c.options.rcvbuf:
        parameters = c.tcp.parameters
        c.options.rcvbuf = max(c.options.rcvbuf, min(2 * lowat, parameters.window_of(parameters.tcp_rmem[2])))
        update_window(c, now)
    c.ready = True

"""Urgent data (RFC 9293 section 3.8.5, RFC 6093): the last byte of a SEND with MSG_OOB, marked in the stream.

As in BSD and Linux the urgent pointer points behind that byte (tcp_stdurg 0, RFC 6093 section 4), which is taken out of
the stream for the user to receive apart, unless SO_OOBINLINE leaves it there. Reading stops at the mark either way.
"""

from __future__ import annotations

from typing import Final

from nodes.base.errors import SocketError
from nodes.base.events import RECEIVED, SENT
from nodes.packet.tcp import URG, Segment
from nodes.tcp import states
from nodes.tcp.seq import MASK
from nodes.tcp.tcb import Tcb

#: How far the pointer reaches.
_FAR: Final = 0xFFFF


class Urgent:
    """A mark that has come and that the user has not read past: `seq` is the number of its byte, `byte` the byte, -1
    while it has not come; `taken`: the user has received it apart."""

    __slots__ = ("byte", "seq", "taken")

    def __init__(self, seq: int) -> None:
        self.seq = seq
        self.byte = -1
        self.taken = False


# Sending.


def sent(c: Tcb, now: int, size: int) -> None:
    """The last of `size` bytes that were queued just now is urgent."""
    if size:
        c.snd_up = c.snd_nxt + c.snd_queue.length
        tcp = c.tcp
        tcp.sink.urgent(now, tcp.node, c.number, SENT, (c.snd_up - 1) & MASK)


def mark(c: Tcb, segment: Segment, seq: int) -> None:
    """Say in a segment that there is urgent data from it on, and where that ends, as far as the pointer reaches."""
    offset = c.snd_up - seq
    if c.snd_up > c.snd_una and offset > 0:
        segment.flags |= URG
        segment.urgent = min(offset, _FAR)


# Receiving.


def on_segment(c: Tcb, now: int, seq: int, segment: Segment) -> None:
    """An acceptable segment on a connection that has, or is told of, urgent data (RFC 9293 section 3.10.7.4, sixth)."""
    if segment.flags & URG:
        _take_pointer(c, now, seq, segment.urgent)
    known = c.urgent
    if known is not None and known.byte < 0:
        offset = known.seq - seq
        if 0 <= offset < len(segment.payload):
            known.byte = segment.payload[offset]
            c.ready = True


def _take_pointer(c: Tcb, now: int, seq: int, pointer: int) -> None:
    if pointer and not c.tcp.parameters.tcp_stdurg:
        pointer -= 1
    at = seq + pointer
    known = c.urgent
    if at < c.rcv_nxt or (known is not None and at <= known.seq) or c.fin_received:
        return
    if known is not None and known.seq == read_seq(c) and c.buffered and not c.options.oobinline:
        # The mark before is where the user reads: its byte is lost to him.
        _drop(c)
    c.urgent = Urgent(at)
    c.ready = True
    tcp = c.tcp
    tcp.sink.urgent(now, tcp.node, c.number, RECEIVED, at & MASK)


def read_seq(c: Tcb) -> int:
    """The number of the byte that the user reads next."""
    return c.rcv_nxt - int(c.fin_received) - c.buffered


def before_mark(c: Tcb, limit: int, peek: bool) -> tuple[int, int]:
    """How many of the bytes in the queue to pass over, and how many of `limit` may be read then: up to the mark."""
    known = c.urgent
    if known is None:
        return 0, limit
    ahead = known.seq - read_seq(c)
    if ahead > 0:
        return 0, min(limit, ahead)
    if ahead == 0 and c.buffered and not c.options.oobinline:
        if peek:
            return 1, limit
        _drop(c)
    return 0, limit


def passed(c: Tcb) -> None:
    """The user has read: whether past the mark."""
    known = c.urgent
    if known is not None and known.seq < read_seq(c):
        c.urgent = None


def hidden(c: Tcb) -> int:
    """How many of the bytes in the queue nobody will read: the urgent byte, when it is next."""
    known = c.urgent
    return int(known is not None and known.seq == read_seq(c) and c.buffered > 0 and not c.options.oobinline)


def _drop(c: Tcb) -> None:
    first = c.rcv_queue[0]
    if len(first) > 1:
        c.rcv_queue[0] = first[1:]
    else:
        del c.rcv_queue[0]
    c.buffered -= 1
    c.urgent = None


def receive(c: Tcb, peek: bool) -> bytes:
    """The urgent byte, apart from the stream (recv(2) with MSG_OOB); b"" when none can come any more. Raises
    SocketError EINVAL: there is none, it is left in the stream, or was received; EAGAIN: it has not come yet."""
    known = c.urgent
    if known is None or known.taken or c.options.oobinline:
        raise SocketError("EINVAL", "there is no urgent data to receive")
    if known.byte < 0:
        if c.fin_received or c.state == states.CLOSED:
            return b""
        raise SocketError("EAGAIN", "the urgent data has not come yet")
    known.taken = not peek
    return bytes((known.byte,))


def pending(c: Tcb) -> bool:
    """Whether urgent data waits to be received apart: POLLPRI."""
    return c.urgent is not None and c.urgent.byte >= 0 and not c.urgent.taken


def at_mark(c: Tcb) -> bool:
    """Whether the user has read up to the mark: SIOCATMARK."""
    return c.urgent is not None and c.urgent.seq == read_seq(c)

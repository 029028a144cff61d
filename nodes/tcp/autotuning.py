"""Buffers that grow with the connection: with what the user reads in a round trip (dynamic right-sizing), and with what
is under way. The user who sets SO_RCVBUF or SO_SNDBUF gets what he set, and no more."""

from __future__ import annotations

from typing import Final

from nodes.base.clock import MILLISECOND
from nodes.packet.tcp import Segment
from nodes.tcp.seq import MASK
from nodes.tcp.tcb import Tcb

#: A TSecr older than this says nothing (ms).
_OLDEST_ECHO: Final = 1 << 27
#: The send buffer of a connection that has just begun is for so many segments.
_FIRST_SEGMENTS: Final = 10


def window_scale_for(c: Tcb) -> int:
    """The shift of our windows (RFC 7323 section 2.3): large enough for the most that the buffer may grow to, or that a
    user may set it to (as in Linux)."""
    options = c.options
    parameters = c.tcp.parameters
    most = options.rcvbuf
    if not options.rcvbuf_fixed:
        most = max(most, parameters.tcp_rmem[2], parameters.rmem_max)
    return min(max(most.bit_length() - 16, 0), 14)


def start(c: Tcb, now: int) -> None:
    """The connection is established."""
    # Data of the SYN (Fast Open) may have filled the window.
    c.rcv_space = max(min(c.rcv_wnd, _FIRST_SEGMENTS * c.mss), 1)
    c.space_seq = c.rcv_nxt
    c.space_at = now
    c.rcv_rtt_seq = c.rcv_nxt + c.rcv_wnd
    c.rcv_rtt_at = now
    grow_send_buffer(c)


def text_came(c: Tcb, now: int, segment: Segment) -> None:
    """Measure the round trip as a receiver can: by what its timestamps come back with, else by the time in which a
    window was filled, which is no less."""
    if c.timestamps:
        if segment.tsecr > 0 and len(segment.payload) >= c.rcv_mss:
            elapsed = (now // MILLISECOND + c.ts_offset - segment.tsecr) & MASK
            if elapsed < _OLDEST_ECHO:
                sample = max(elapsed, 1) * MILLISECOND
                c.rcv_rtt = (7 * c.rcv_rtt + sample) >> 3 if c.rcv_rtt else sample
    elif c.rcv_nxt >= c.rcv_rtt_seq:
        sample = max(now - c.rcv_rtt_at, 1)
        c.rcv_rtt = min(c.rcv_rtt, sample) if c.rcv_rtt else sample
        c.rcv_rtt_seq = c.rcv_nxt + c.rcv_wnd
        c.rcv_rtt_at = now


def text_read(c: Tcb, now: int) -> None:
    """Once a round trip: has the user read more than in any before? Then the buffer is for twice that, and more if it
    grows fast."""
    if not c.rcv_rtt or now - c.space_at < c.rcv_rtt:
        return
    read = c.rcv_nxt - c.buffered
    copied = read - c.space_seq
    if copied > c.rcv_space:
        tcp = c.tcp
        if tcp.parameters.tcp_moderate_rcvbuf:
            wanted = 2 * copied + 16 * c.mss
            wanted += 2 * (wanted * (copied - c.rcv_space) // c.rcv_space)
            wanted = min(wanted, tcp.parameters.window_of(tcp.parameters.tcp_rmem[2]))
            if wanted > c.options.rcvbuf:
                c.options.rcvbuf = wanted
        c.rcv_space = copied
    c.space_seq = read
    c.space_at = now


def grow_send_buffer(c: Tcb) -> None:
    """Room for what is under way, what is to be sent meanwhile, and as much again for what the user writes next."""
    options = c.options
    if not options.sndbuf_fixed:
        wanted = 4 * max(c.congestion.cwnd, _FIRST_SEGMENTS * c.mss)
        options.sndbuf = max(options.sndbuf, min(wanted, c.tcp.parameters.tcp_wmem[2]))

"""Making segments: every segment of a connection passes through `transmit` or `transmit_syn`."""

from __future__ import annotations

from nodes.base import causes
from nodes.base.clock import MILLISECOND, NEVER
from nodes.base.events import LEVEL_CONGESTION, SENT, TIMER_DELAYED_ACK, WINDOW_RECEIVE
from nodes.packet.tcp import ACK, ECE, RST, SYN, FastOpenOption, Segment
from nodes.packet.tcp_codec import MAX_OPTIONS_LEN
from nodes.tcp import accecn, accecn_handshake, ecn, timers, urgent
from nodes.tcp.seq import MASK
from nodes.tcp.tcb import TIMESTAMPS_LENGTH, Tcb


def transmit(c: Tcb, now: int, seq: int, flags: int, payload: bytes, cause: int, resent: bool) -> None:
    """Send a segment with our ACK, window and timestamp. It does away with any ACK that was due."""
    tcp = c.tcp
    rcv_nxt = c.rcv_nxt
    window = c.rcv_adv - rcv_nxt
    room = c.options.rcvbuf - c.buffered
    if room > c.window_clamp:
        room = c.window_clamp
    grown = room - window
    # Receiver's silly window avoidance (RFC 9293 section 3.8.6.2.2): the edge moves by a worthwhile step or not at all.
    if grown > 0 and (grown >= c.rcv_mss or grown * 2 >= c.options.rcvbuf):
        c.rcv_adv = rcv_nxt + room
        if tcp.sink.level >= LEVEL_CONGESTION:
            tcp.sink.window(now, tcp.node, c.number, WINDOW_RECEIVE, room, c.rcv_adv & MASK, window <= 0)
        window = room
    window = window >> c.rcv_shift if window > 0 else 0
    if (window == 0) != c.closed_window:
        c.closed_window = window == 0
        if c.closed_window:
            tcp.counters.TcpExtTCPToZeroWindowAdv += 1
        else:
            tcp.counters.TcpExtTCPFromZeroWindowAdv += 1
    segment = Segment(
        c.local_port, c.remote_port, seq & MASK, rcv_nxt & MASK, flags, window if window <= 65535 else 65535, payload
    )
    segment.ttl = c.options.ttl
    segment.tos = c.options.tos
    if c.snd_up > seq:
        urgent.mark(c, segment, seq)
    if c.timestamps:
        segment.tsval = (now // MILLISECOND + c.ts_offset) & MASK
        segment.tsecr = c.ts_recent
    if c.ecn and c.accurate is None:
        ecn.mark(c, segment, resent or cause == causes.WINDOW_PROBE)
    c.last_ack_sent = rcv_nxt
    c.ack_bytes = c.ack_small = 0
    if c.ack_quick:
        c.ack_quick -= 1
    c.last_ack_sent_at = now
    if payload:
        if now - c.data_at < c.ack_delay:
            c.ack_answers += 1
        c.data_segs_out += 1
        c.bytes_sent += len(payload)
        if resent:
            c.bytes_retrans += len(payload)
    if not c.received.due or _report(c, segment):
        c.ack_cause = 0
    if c.accurate is not None:
        accecn.mark(c, now, segment, resent or cause == causes.WINDOW_PROBE)
    if c.delack_at != NEVER:
        c.delack_at = NEVER
        timers.trace_cancelled(c, now, TIMER_DELAYED_ACK)
    c.segs_out += 1
    if resent:
        tcp.counters.TcpRetransSegs += 1
    else:
        tcp.counters.TcpOutSegs += 1
    tcp.network.transmit(now, c.local, c.remote, segment, c.number, cause, resent)


def _report(c: Tcb, segment: Segment) -> bool:
    """Put SACK blocks into the segment, as many as fit; False when an ACK of its own must bring them."""
    room = MAX_OPTIONS_LEN - (TIMESTAMPS_LENGTH if c.timestamps else 0)
    size = len(segment.payload)
    if size:
        room = min(room, c.mss - size)
    most = (room - 4) >> 3
    if most <= 0:
        return False
    segment.sack = c.received.report(most)
    return True


def transmit_syn(
    c: Tcb,
    now: int,
    flags: int,
    cause: int,
    resent: bool,
    payload: bytes = b"",
    fast_open: FastOpenOption | None = None,
) -> None:
    """Send our SYN or SYN-ACK with its options; only the first has those of Fast Open, and data."""
    tcp = c.tcp
    with_ack = flags & ACK != 0
    if not with_ack:
        offered = ecn.offers(c)
        c.ecn_offered |= offered
        flags |= offered
    elif c.ecn and c.accurate is None:
        flags |= ECE
    # The window of a SYN is never scaled (RFC 7323 section 2.2); nothing beyond it may be sent to us yet.
    window = min(c.options.rcvbuf - c.buffered, c.window_clamp, 65535)
    segment = Segment(
        c.local_port, c.remote_port, c.iss & MASK, c.rcv_nxt & MASK if with_ack else 0, flags, window, payload
    )
    segment.mss = announced_mss(c)
    segment.fast_open = fast_open
    segment.ttl = c.options.ttl
    segment.tos = c.options.tos
    if c.timestamps:
        segment.tsval = (now // MILLISECOND + c.ts_offset) & MASK
        segment.tsecr = c.ts_recent if with_ack else 0
    if c.scaling:
        segment.window_scale = c.rcv_shift
    segment.sack_permitted = c.sack
    if with_ack:
        if c.accurate is not None:
            accecn_handshake.mark_syn_ack(c, segment)
        c.rcv_adv = max(c.rcv_adv, c.rcv_nxt + window)
        c.last_ack_sent = c.rcv_nxt
        c.ack_cause = causes.NONE
    c.segs_out += 1
    if resent:
        tcp.counters.TcpRetransSegs += 1
        tcp.counters.TcpExtTCPSynRetrans += 1
    else:
        tcp.counters.TcpOutSegs += 1
    tcp.network.transmit(now, c.local, c.remote, segment, c.number, cause, resent)


def header_length(c: Tcb) -> int:
    """IP and TCP headers without options."""
    return 60 if len(c.remote) == 16 else 40


def announced_mss(c: Tcb) -> int:
    """Our MSS option: by the interface's MTU, whatever the path's (RFC 6691 section 2, RFC 1191 section 3.1)."""
    mss = c.tcp.network.link_mtu(c.remote) - header_length(c)
    return min(c.options.maxseg or mss, mss)


def send_ack(c: Tcb, now: int, cause: int) -> None:
    """`<SEQ=SND.NXT><ACK=RCV.NXT><CTL=ACK>`."""
    transmit(c, now, acceptable_seq(c), ACK, b"", cause, False)


def acceptable_seq(c: Tcb) -> int:
    """SND.NXT. Where the peer has taken back window that we have used it would refuse that, and with it our ACK: Linux
    then takes the right edge (tcp_acceptable_seq), which is exact but for what the window scale rounds off."""
    edge = c.snd_una + c.snd_wnd
    if edge + (1 << c.snd_shift) > c.snd_nxt or c.tcp.parameters.profile != "linux":
        return c.snd_nxt
    return edge


def send_reset(c: Tcb, now: int, cause: int) -> None:
    """`<SEQ=SND.NXT><CTL=RST>`, with our ACK where the connection is synchronized (RFC 9293 section 3.10.5 leaves it
    free; it lets the peer's log say what we had received)."""
    knows = c.synchronized or c.early
    seq = acceptable_seq(c) if c.synchronized else c.snd_nxt if c.early else c.iss + 1
    flags = RST | ACK if knows else RST
    segment = Segment(c.local_port, c.remote_port, seq & MASK, c.rcv_nxt & MASK if knows else 0, flags, 0, b"")
    if c.timestamps:
        segment.tsval = (now // MILLISECOND + c.ts_offset) & MASK
        segment.tsecr = c.ts_recent
    _send_reset(c, now, segment, cause)


def answer_with_reset(c: Tcb, now: int, segment: Segment, cause: int) -> None:
    """`<SEQ=SEG.ACK><CTL=RST>`, which whoever has sent `segment` believes wherever it stands (RFC 9293 section
    3.10.7.1)."""
    _send_reset(c, now, reset_for(segment), cause)


def _send_reset(c: Tcb, now: int, reset: Segment, cause: int) -> None:
    tcp = c.tcp
    reset.ttl = c.options.ttl
    reset.tos = c.options.tos
    c.segs_out += 1
    tcp.counters.TcpOutSegs += 1
    tcp.counters.TcpOutRsts += 1
    tcp.sink.reset(now, tcp.node, c.number, cause, SENT, True, reset.seq)
    tcp.network.transmit(now, c.local, c.remote, reset, c.number, cause, False)


def reset_for(segment: Segment) -> Segment:
    """The RST that answers `segment` when there is no connection (RFC 9293 section 3.10.7.1)."""
    if segment.flags & ACK:
        return Segment(segment.dst_port, segment.src_port, segment.ack, 0, RST, 0, b"")
    ack = (segment.seq + segment.length) & MASK
    return Segment(segment.dst_port, segment.src_port, 0, ack, RST | ACK, 0, b"")


def is_syn(flags: int) -> bool:
    """SYN without ACK or RST: an attempt to open."""
    return flags & (SYN | ACK | RST) == SYN

"""Opening: what a SYN says and what follows from its acknowledgment (RFC 9293 section 3.5, RFC 7323 2.2 and 3.2)."""

from __future__ import annotations

from nodes.base import causes
from nodes.base.clock import MILLISECOND
from nodes.packet.tcp import ABSENT, ACK, PSH, SYN, FastOpenOption, Segment
from nodes.tcp import (
    accecn_handshake,
    acks,
    autotuning,
    closing,
    congestion_control,
    ecn,
    keepalive,
    plpmtud,
    rack,
    receiver,
    retransmit,
    segments,
    sender,
)
from nodes.tcp.scoreboard import Sent
from nodes.tcp.seq import MASK
from nodes.tcp.tcb import DEFAULT_MSS_IPV4, Tcb

#: The largest window scale (RFC 7323 section 2.3).
MAX_WINDOW_SCALE = 14
#: RTO after a SYN that had to be sent again, when no sample says better (RFC 6298 section 5.7), ns.
RTO_AFTER_LOST_SYN = 3_000_000_000


def send_syn(c: Tcb, now: int, flags: int, data: bytes = b"", answer: FastOpenOption | None = None) -> None:
    """Send our first SYN (or SYN-ACK) and start its timer. `data` goes with it; `answer` is the SYN-ACK's option."""
    c.board.add(Sent(c.iss, c.iss + 1, flags, b"", now))
    c.snd_nxt = c.iss + 1
    if data:
        c.board.add(Sent(c.snd_nxt, c.snd_nxt + len(data), ACK | PSH, data, now))
        c.tcp.counters.TcpExtTCPOrigDataSent += 1
        c.snd_nxt += len(data)
    option = answer if c.fast is None else c.fast.option
    c.last_sent = c.acked_at = now
    sender.arm(c, now)
    segments.transmit_syn(c, now, flags, causes.HANDSHAKE, False, data, option)


def resend_syn_ack(c: Tcb, now: int) -> None:
    """The peer's SYN came again: so does our SYN-ACK, and its timer starts anew, as Linux has it (tcp_check_req)."""
    retransmit.resend(c, now, c.board.first, causes.RETRANSMIT_SYN_ACK)
    sender.arm(c, now)


def take_syn(c: Tcb, now: int, segment: Segment) -> None:
    """RCV.NXT := SEG.SEQ+1, IRS := SEG.SEQ; agree on MSS, window scale, SACK and timestamps."""
    c.irs = segment.seq
    c.rcv_nxt = segment.seq + 1
    c.rcv_adv = c.rcv_nxt + min(c.options.rcvbuf, c.window_clamp, 65535)
    c.last_ack_sent = c.rcv_nxt
    if segment.mss > 0:  # a peer that says 0 says nothing (as Linux takes it)
        c.peer_mss = segment.mss
    if c.scaling and segment.window_scale != ABSENT:
        # RFC 7323 section 2.3: a larger shift counts as 14.
        c.snd_shift = min(segment.window_scale, MAX_WINDOW_SCALE)
    else:
        c.scaling = False
        c.rcv_shift = 0
    ecn.agree(c, segment)
    c.sack = c.sack and segment.sack_permitted
    if c.timestamps and segment.tsval != ABSENT:
        c.ts_recent = segment.tsval
        c.ts_recent_at = now
    else:
        c.timestamps = False


def set_first_window(c: Tcb, now: int, seq: int, segment: Segment) -> None:
    """SND.WND from a SYN: it is not scaled."""
    c.snd_wl1 = seq
    c.snd_wl2 = c.iss
    acks.set_window(c, now, segment.window)


def syn_acknowledged(c: Tcb, now: int, seq: int, ack: int, segment: Segment) -> None:
    """Our SYN is acknowledged: the connection's MSS, congestion control and first round trip are known."""
    syn_losses = c.total_retrans
    c.synchronized = True
    congested = c.accurate is not None and accecn_handshake.done(c, segment)
    if not c.early:
        agree(c, now)
        c.last_sent = -1
    arrived = c.board.arrived
    acks.new_ack(c, now, ack, segment)
    # As Linux counts: what a SYN-ACK acknowledges, but not who acknowledges one.
    if segment.flags & SYN:
        c.tcp.counters.TcpExtTCPDelivered += c.board.arrived - arrived
    if c.sack and c.tcp.ack.rtt:
        rack.round_trip(c.rack, now, c.tcp.ack.rtt)
    if syn_losses and c.srtt == 0:
        c.rto = RTO_AFTER_LOST_SYN
    c.snd_wl1 = seq
    c.snd_wl2 = ack
    acks.set_window(c, now, segment.window if segment.flags & SYN else segment.window << c.snd_shift)
    if c.accurate is not None:
        accecn_handshake.start(c, now)
    if not c.early:
        # RFC 5681 section 3.1: one segment if the SYN was lost; Linux forgives one loss, which may have been the RTO's.
        # RFC 5562 section 3.2: one if it met congestion.
        lost = syn_losses >= (1 if c.tcp.parameters.profile == "rfc" else 2)
        congestion_control.start(c, now, lost or congested)
    elif congested:
        ecn.on_echo(c, now)


def echo_of_syn(c: Tcb, now: int, tsecr: int) -> bool:
    """Whether a SYN of ours may have brought what a SYN-ACK echoes (RFC 7323 section 5.3; Linux: PAWSActive)."""
    first = c.acked_at // MILLISECOND
    return (tsecr - first - c.ts_offset) & MASK <= now // MILLISECOND - first


def agree(c: Tcb, now: int) -> None:
    """Both SYNs are known: how large segments are, both ways."""
    if c.tcp.parameters.tcp_mtu_probing == plpmtud.ALWAYS:
        plpmtud.begin(c, now)
    c.mss = sender.effective_mss(c)
    # Until a segment shows what the peer sends: no more than either end could (as Linux guesses).
    c.rcv_mss = max(min(segments.announced_mss(c), c.mss, c.options.rcvbuf // 2, DEFAULT_MSS_IPV4), 88)


def open_early(c: Tcb, now: int, syn: Segment) -> None:
    """RFC 7413 section 4.2.2: the data of a SYN is taken, and ours may go before our SYN is acknowledged."""
    assert c.fast is not None
    agree(c, now)
    congestion_control.start(c, now, False)
    data = syn.payload[: c.options.rcvbuf]
    if data:
        c.fast.taken = True
        receiver.deliver(c, data)
        c.ack_bytes = 0


def established(c: Tcb, now: int) -> None:
    """Enter the data phase: keepalive, the listener's accept queue, the user."""
    c.ready = True
    c.data_at = now
    autotuning.start(c, now)
    keepalive.start(c, now)
    if c.fast is not None and c.fast.listener is not None:
        c.fast.listener.fast_open.release(c, now, causes.ACK_OF_SYN)
    if c.listener is not None:
        c.listener.established(c, now)
    if c.close_on_established:
        closing.queue_fin(c, now, c.close_on_established)


def deferral(c: Tcb) -> int:
    """TCP_DEFER_ACCEPT as the number of SYN-ACK timeouts that take that long, at most 255: how Linux keeps it."""
    seconds = c.options.defer_accept
    parameters = c.tcp.parameters
    timeout = parameters.tcp_rto_initial_ms
    count = elapsed = 0
    while elapsed < seconds * 1000 and count < 255:
        elapsed += timeout
        timeout = min(timeout * 2, parameters.tcp_rto_max_ms)
        count += 1
    return count

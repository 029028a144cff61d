"""Sending data: what may go now, and cut how (RFC 9293 sections 3.7.4, 3.8.6.1, 3.8.6.2.1; RFC 3042)."""

from __future__ import annotations

from nodes.base import causes
from nodes.base.clock import MILLISECOND, NEVER, SECOND
from nodes.base.events import TIMER_PERSIST, TIMER_RETRANSMISSION, TIMER_USER_TIMEOUT
from nodes.packet.tcp import ACK, FIN, PSH
from nodes.tcp import (
    accecn,
    chronograph,
    congestion_control,
    notsent,
    pathmtu,
    persist,
    plpmtud,
    retransmit,
    segments,
    states,
    timers,
    tlp,
)
from nodes.tcp.scoreboard import Sent
from nodes.tcp.tcb import TIMESTAMPS_LENGTH, Tcb
from nodes.tcp.undo import FRTO_SECOND


def effective_mss(c: Tcb) -> int:
    """Eff.snd.MSS (RFC 9293 section 3.7.1, RFC 6691): payload that fits the peer, the path and our options."""
    return mss_for(c, c.mtu if c.search is None else min(c.mtu, c.search.low))


def mss_for(c: Tcb, mtu: int) -> int:
    """The same for a path that takes packets of `mtu` bytes."""
    size = c.options.maxseg or c.peer_mss
    size = max(min(size, c.peer_mss, mtu - segments.header_length(c)), c.tcp.parameters.tcp_min_snd_mss)
    return size - options_length(c)


def options_length(c: Tcb) -> int:
    """What options take of a full segment, bytes."""
    length = TIMESTAMPS_LENGTH if c.timestamps else 0
    return length if c.accurate is None else length + accecn.reserve(c)


def output(c: Tcb, now: int, force: bool) -> None:
    """Send all that the windows, Nagle and silly-window avoidance let go now; see that some timer runs for the rest.

    `force` is the override of 3.8.6.2.1: send one segment however small.
    """
    before = c.snd_nxt
    _output(c, now, force)
    if c.blocked and c.snd_nxt != before:
        notsent.sent(c)
    chronograph.look(c, now)
    una = c.snd_una
    limited = c.board.flying + c.mss > c.congestion.cwnd
    if c.snd_nxt != before or limited:
        # Whether the window is used, in flights (after Linux's tcp_cwnd_validate; RFC 7661).
        out = c.snd_nxt - una
        if limited or una >= c.usage_end or (not c.cwnd_limited and out > c.max_out):
            c.cwnd_limited = limited
            c.max_out = out
            c.usage_end = c.snd_nxt
        if c.snd_nxt != before and c.sack and c.synchronized:
            tlp.schedule(c, now)


def look_app_limited(c: Tcb) -> None:
    """Whether until now there was less to send than might have been sent (draft-ietf-ccwg-bbr section 4.1.2.4)."""
    board = c.board
    if c.snd_queue.length < c.mss and not board.lost and board.flying < c.congestion.cwnd:
        c.rate.app_limited = c.rate.delivered + board.flying or 1


def paced(c: Tcb, now: int, size: int) -> bool:
    """Whether `size` bytes may go now; if so they are accounted for, else a timer is set for when they may. What a
    timer came late, up to a millisecond, is made up for."""
    if c.paced_until > now:
        c.pacing_at = c.paced_until
        if c.pacing_at < c.wake_at:
            c.tcp.timers.wake(c, c.pacing_at)
        return False
    c.paced_until = max(c.paced_until, now - MILLISECOND) + size * SECOND // c.congestion.pacing_rate
    return True


def even_rate(c: Tcb) -> int:
    """Bytes per second at which the window is spread over a round trip, with tcp_pacing; there must be an SRTT."""
    congestion = c.congestion
    parameters = c.tcp.parameters
    starting = congestion.cwnd * 2 < congestion.ssthresh
    percent = parameters.tcp_pacing_ss_ratio if starting else parameters.tcp_pacing_ca_ratio
    return congestion.cwnd * SECOND // c.srtt * percent // 100


def _output(c: Tcb, now: int, force: bool) -> None:
    """What the windows, Nagle and silly-window avoidance let go."""
    state = c.state
    if not (
        state == states.ESTABLISHED
        or state == states.CLOSE_WAIT
        or state == states.FIN_WAIT_1
        or state == states.LAST_ACK
        or state == states.CLOSING
        or (state == states.SYN_RECEIVED and c.early)
    ):
        return
    if now >= c.mtu_until:
        pathmtu.refresh(c, now)
    if c.board.lost and c.frto != FRTO_SECOND:
        retransmit.resend_lost(c, now)
        if c.board.lost:
            return
    if c.search is not None and not force and plpmtud.probe(c, now):
        return
    board = c.board
    queue = c.snd_queue
    congestion = c.congestion
    mss = c.mss
    cause = causes.NEW_DATA
    quota = congestion.cwnd
    if c.dup_acks and not c.in_recovery and not c.rto_recovery:
        # Limited transmit (RFC 3042): a new segment for each of the first two duplicate ACKs.
        quota += min(c.dup_acks, 2) * mss
        cause = causes.LIMITED_TRANSMIT
    if c.snd_una == c.snd_nxt:
        congestion_control.restart_after_idle(c, now)
        quota = congestion.cwnd
    edge = c.snd_una + c.snd_wnd
    if state == states.SYN_RECEIVED:
        # The number of our SYN takes no room in either window.
        quota += 1
        edge += 1
    while True:
        unsent = queue.length
        fin = c.fin_queued and not c.fin_sent
        if unsent == 0 and not fin:
            return
        seq = c.snd_nxt
        usable = edge - seq
        size = unsent if unsent < mss else mss
        if queue.ends and queue.to_end() < size:
            size = queue.to_end()
        if size > usable:
            size = usable
        if usable <= 0 or board.flying + size > quota:
            break
        if size < mss and not force and not _small_may_go(c, size, unsent, fin):
            break
        if congestion.pacing_rate and not force and not paced(c, now, size):
            return
        force = False
        flags = ACK
        end = seq + size
        payload = b""
        if size:
            payload = queue.take(size)
            if queue.at_write_end:
                flags = ACK | PSH
        if fin and size == unsent and usable > size:
            flags |= FIN
            c.fin_sent = True
            c.fin_seq = end
            end += 1
        if size < mss:
            c.small_end = end
        send_new(c, now, end, flags, payload, cause if size else causes.FIN_SENT)
    if c.snd_una == c.snd_nxt and c.persist_at == NEVER:
        persist.start(c, now)


def send_new(c: Tcb, now: int, end: int, flags: int, payload: bytes, cause: int) -> None:
    """Send [SND.NXT, `end`) for the first time."""
    seq = c.snd_nxt
    board = c.board
    record = Sent(seq, end, flags, payload, now)
    board.add(record)
    c.rate.sent(record, now, board.flying, board.ever_lost)
    c.tcp.counters.TcpExtTCPOrigDataSent += 1
    c.snd_nxt = end
    c.last_sent = now
    if c.rto_at == NEVER:
        arm(c, now)
    if c.in_recovery:
        c.prr.out += end - seq
    segments.transmit(c, now, seq, flags, payload, cause, False)


def _small_may_go(c: Tcb, size: int, unsent: int, fin: bool) -> bool:
    """Whether a segment smaller than the MSS may go: the conditions of RFC 9293 section 3.8.6.2.1 after the first."""
    if size < unsent:
        if c.snd_queue.ends and c.snd_queue.to_end() == size:
            # Nothing is ever put behind the end of a record.
            return True
        # Cut short by the peer's window: only when it is a fair part of the largest window seen (Fs = 1/2).
        return size * 2 >= c.max_snd_wnd and (c.options.nodelay != 0 or c.snd_una == c.snd_nxt)
    if fin or c.snd_up > c.snd_una:
        return True
    if c.options.cork:
        return False
    if c.options.nodelay:
        return True
    if c.tcp.parameters.profile == "linux":
        return c.small_end <= c.snd_una
    return c.snd_una == c.snd_nxt


def output_as(c: Tcb, now: int, cork: int) -> None:
    """`output` once as if TCP_CORK were `cork`: 1 for MSG_MORE, 0 for what setting TCP_NODELAY pushes."""
    before = c.options.cork
    c.options.cork = cork
    output(c, now, False)
    c.options.cork = before


def arm(c: Tcb, now: int) -> None:
    """Start the retransmission timer (RFC 6298 section 5.1), and with the first outstanding data the user timeout."""
    deadline = c.rto_at = now + c.rto
    if c.persist_at != NEVER:
        c.persist_at = NEVER
        timers.trace_cancelled(c, now, TIMER_PERSIST)
    timers.trace_set(c, now, TIMER_RETRANSMISSION, deadline, c.backoff)
    start_user_timeout(c, now)


def start_user_timeout(c: Tcb, now: int) -> None:
    """Start the user timeout for what now waits for the peer, if the user set one and it is not running."""
    if c.options.user_timeout and c.user_timeout_at == NEVER:
        c.user_timeout_at = now + c.options.user_timeout * 1_000_000
        timers.trace_set(c, now, TIMER_USER_TIMEOUT, c.user_timeout_at, 0)


def change_user_timeout(c: Tcb, now: int) -> None:
    """TCP_USER_TIMEOUT changed: it counts from now for what already waits."""
    if c.user_timeout_at != NEVER:
        c.user_timeout_at = NEVER
        timers.trace_cancelled(c, now, TIMER_USER_TIMEOUT)
    if c.outstanding:
        start_user_timeout(c, now)

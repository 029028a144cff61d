"""The persist timer: probing a closed window, and the override of silly-window avoidance (RFC 9293 section 3.8.6.1)."""

from __future__ import annotations

from nodes.base import causes
from nodes.base.clock import MILLISECOND, NEVER
from nodes.base.events import TIMER_CANCELLED, TIMER_FIRED, TIMER_PERSIST
from nodes.packet.tcp import ACK, FIN
from nodes.tcp import closing, retransmit, segments, sender, timers
from nodes.tcp.scoreboard import Sent
from nodes.tcp.tcb import Tcb


def start(c: Tcb, now: int) -> None:
    """Data waits, nothing is in flight and the window does not let it go: probe after an RTO, then ever more rarely."""
    highest = c.tcp.parameters.tcp_rto_max_ms * MILLISECOND
    c.persist_at = now + min(c.rto << min(c.persist_backoff, 32), highest)
    timers.trace_set(c, now, TIMER_PERSIST, c.persist_at, c.persist_backoff)
    sender.start_user_timeout(c, now)


def stop(c: Tcb, now: int) -> None:
    """The window is open again."""
    c.persist_at = NEVER
    c.persist_backoff = 0
    c.tcp.sink.timer(now, c.tcp.node, c.number, TIMER_PERSIST, TIMER_CANCELLED, NEVER, 0)
    if c.board:
        # A probe's octet is in flight and from now on like any other.
        sender.arm(c, now)


def on_timeout(c: Tcb, now: int) -> None:
    """The persist timer expired: send what the window takes, or a probe if it takes nothing."""
    tcp = c.tcp
    c.persist_at = NEVER
    tcp.sink.timer(now, tcp.node, c.number, TIMER_PERSIST, TIMER_FIRED, now, c.persist_backoff)
    parameters = tcp.parameters
    # A peer that answers keeps the connection, but not for ever once the user has gone (RFC 6429 section 4).
    if c.persist_backoff >= closing.orphan_retries(c, True) if c.user_closed else c.probes >= parameters.tcp_retries2:
        closing.give_up(c, now, causes.RETRIES_EXHAUSTED)
        return
    if c.snd_una + c.snd_wnd > c.snd_nxt and not c.board:
        c.snd_queue.push()
        sender.output(c, now, True)
        return
    c.probes += 1
    c.persist_backoff += 1
    tcp.counters.TcpExtTCPWinProbe += 1
    if parameters.profile == "linux":
        # Linux probes with an old sequence number, which any receiver must answer, and spends no data.
        segments.transmit(c, now, c.snd_una - 1, ACK, b"", causes.WINDOW_PROBE, False)
    elif c.board:
        retransmit.resend(c, now, c.board.first, causes.WINDOW_PROBE)
    else:
        _probe_with_octet(c, now)
    start(c, now)


def _probe_with_octet(c: Tcb, now: int) -> None:
    """At least one octet of new data (RFC 9293 MUST-35); the FIN when that is all there is."""
    seq = c.snd_nxt
    if c.snd_queue.length:
        flags, payload = ACK, c.snd_queue.take(1)
    else:
        flags, payload = ACK | FIN, b""
        c.fin_sent = True
        c.fin_seq = seq
    c.board.add(Sent(seq, seq + 1, flags, payload, now))
    c.snd_nxt = seq + 1
    c.last_sent = now
    segments.transmit(c, now, seq, flags, payload, causes.WINDOW_PROBE, False)

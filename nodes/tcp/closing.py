"""How a connection ends: FIN, TIME-WAIT, FIN-WAIT-2 time-out, RST, giving up (RFC 9293 3.6, 3.10.4, 3.10.5)."""

from __future__ import annotations

from nodes.base import causes
from nodes.base.clock import MILLISECOND, NEVER, SECOND
from nodes.base.events import TIMER_FIN_WAIT_2, TIMER_TIME_WAIT
from nodes.packet.tcp import Segment
from nodes.tcp import segments, sender, states, timers
from nodes.tcp.mutants import no_time_wait
from nodes.tcp.segments import is_syn
from nodes.tcp.seq import before, unwrap
from nodes.tcp.tcb import Tcb, change_state


def queue_fin(c: Tcb, now: int, cause: int) -> None:
    """CLOSE: the FIN goes after all queued data, but the state changes now (RFC 9293 section 3.10.4)."""
    c.fin_queued = True
    change_state(c, now, states.LAST_ACK if c.state == states.CLOSE_WAIT else states.FIN_WAIT_1, cause)
    sender.output(c, now, False)


def enter_time_wait(c: Tcb, now: int, cause: int) -> None:
    """TIME-WAIT: only the 2MSL timer runs."""
    counted = c.fin_wait_2_at != NEVER
    c.rto_at = c.persist_at = c.keepalive_at = c.fin_wait_2_at = c.user_timeout_at = NEVER
    if c.tcp.parameters.mutants.no_time_wait:
        no_time_wait.close(c, now)
        return
    change_state(c, now, states.TIME_WAIT, cause)
    tcp = c.tcp
    tcp.time_waits += 1
    if tcp.time_waits > tcp.parameters.tcp_max_tw_buckets:
        tcp.counters.TcpExtTCPTimeWaitOverflow += 1
        if c.ack_cause:
            segments.send_ack(c, now, c.ack_cause)
        change_state(c, now, states.CLOSED, causes.TIME_WAIT_OVERFLOW)
    else:
        if not counted:
            tcp.counters.TcpExtTW += 1
        c.time_wait_since = now
        restart_time_wait(c, now)


def restart_time_wait(c: Tcb, now: int) -> None:
    """Start the 2MSL timer from now."""
    c.time_wait_at = now + 2 * c.tcp.parameters.tcp_msl_ms * MILLISECOND
    timers.trace_set(c, now, TIMER_TIME_WAIT, c.time_wait_at, 0)


def start_fin_wait_2(c: Tcb, now: int) -> None:
    """In FIN-WAIT-2 with nobody left to wait for the FIN: wait tcp_fin_timeout (or TCP_LINGER2), not for ever."""
    if c.state != states.FIN_WAIT_2 or not c.user_closed or c.fin_wait_2_at != NEVER:
        return
    if c.options.linger2 < 0:
        c.tcp.counters.TcpExtTCPAbortOnLinger += 1
        reset(c, now, causes.NO_FIN_WAIT_2)
        return
    seconds = c.options.linger2 or c.tcp.parameters.tcp_fin_timeout
    if seconds:
        c.fin_wait_2_at = now + seconds * SECOND
        c.tcp.counters.TcpExtTW += 1
        timers.trace_set(c, now, TIMER_FIN_WAIT_2, c.fin_wait_2_at, 0)


def orphan(c: Tcb, now: int) -> None:
    """The user has let go of a connection that goes on. Too many of these are a danger to the host (tcp(7))."""
    if c.state == states.CLOSED or c.state == states.TIME_WAIT:
        return
    tcp = c.tcp
    c.orphan = True
    tcp.orphans += 1
    if tcp.orphans > tcp.parameters.tcp_max_orphans:
        tcp.counters.TcpExtTCPAbortOnMemory += 1
        reset(c, now, causes.TOO_MANY_ORPHANS)


def orphan_retries(c: Tcb, alive: bool) -> int:
    """How often something of a connection nobody holds is sent again. `alive`: its RTO is not yet the highest. Linux:
    0 stands for 8 while it is, and for none then or when ICMP says that something is wrong."""
    retries = c.tcp.parameters.tcp_orphan_retries
    if c.tcp.parameters.profile != "linux":
        return retries
    if c.soft_error and not alive:
        return 0
    return 8 if retries == 0 and alive else retries


def fail(c: Tcb, now: int, cause: int, errno_name: str, words: int) -> None:
    """The connection ends in an error; its user gets `errno_name` and RFC 9293's `words` (a cause ERROR_...)."""
    c.error = errno_name
    c.error_cause = words
    c.error_pending = True
    tcp = c.tcp
    tcp.sink.error(now, tcp.node, c.number, words, tcp.sink.name(errno_name))
    change_state(c, now, states.CLOSED, cause)


def give_up(c: Tcb, now: int, cause: int) -> None:
    """A timer says the peer is gone. What ICMP told us meanwhile is a better reason than ETIMEDOUT."""
    c.tcp.counters.TcpExtTCPAbortOnTimeout += 1
    if c.soft_error:
        fail(c, now, cause, c.soft_error, causes.ERROR_NO_ROUTE)
    else:
        words = causes.ERROR_ABORTED if cause == causes.USER_TIMEOUT_EXPIRED else causes.ERROR_TIMED_OUT
        fail(c, now, cause, "ETIMEDOUT", words)


def reset(c: Tcb, now: int, cause: int) -> None:
    """ABORT from our side: RST to the peer where it knows the connection, then CLOSED (RFC 9293 section 3.10.5)."""
    state = c.state
    if state not in (states.SYN_SENT, states.TIME_WAIT, states.LISTEN):
        segments.send_reset(c, now, cause)
    change_state(c, now, states.CLOSED, cause)


def _loopback(address: bytes) -> bool:
    return address[0] == 127 if len(address) == 4 else address == bytes(15) + b"\x01"


def yields_to_open(c: Tcb, now: int, bound: bool) -> bool:
    """Whether a TIME-WAIT connection makes room for an active OPEN of the same addresses and ports (tcp_tw_reuse): the
    timestamps of the new one will be greater, so nothing old can be taken for it (RFC 6191 section 2). As on Linux the
    knob does not matter when the user has `bound` the port."""
    if c.state != states.TIME_WAIT or not c.timestamps:
        return False
    parameters = c.tcp.parameters
    if bound:
        return True
    wanted = parameters.tcp_tw_reuse == 1 or (parameters.tcp_tw_reuse == 2 and _loopback(c.local))
    return wanted and now - c.time_wait_since >= parameters.tcp_tw_reuse_delay * MILLISECOND


def may_reuse(c: Tcb, segment: Segment) -> bool:
    """Whether a SYN may replace this TIME-WAIT connection (RFC 9293 section 3.6.1, RFC 6191 section 2)."""
    if not is_syn(segment.flags):
        return False
    if c.timestamps and segment.tsval >= 0 and segment.tsval != c.ts_recent:
        return before(c.ts_recent, segment.tsval)
    return unwrap(segment.seq, c.rcv_nxt) > c.rcv_nxt

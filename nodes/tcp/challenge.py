"""Challenge ACKs and their limit (RFC 5961), and the limit on answers to out-of-window segments."""

from __future__ import annotations

from nodes.base import causes
from nodes.base.clock import MILLISECOND, NEVER
from nodes.tcp import segments, states
from nodes.tcp.parameters import Parameters
from nodes.tcp.tcb import Tcb


class ChallengeLimit:
    """At most tcp_challenge_ack_limit challenge ACKs of the whole host in each interval (RFC 5961 section 7)."""

    __slots__ = ("_count", "_interval", "_parameters")

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters
        self._interval = -1
        self._count = 0

    def allow(self, now: int) -> bool:
        """Whether one more may be sent now; counts it if so."""
        interval = now // (self._parameters.tcp_challenge_ack_interval_ms * MILLISECOND)
        if interval != self._interval:
            self._interval = interval
            self._count = 0
        if self._count >= self._parameters.tcp_challenge_ack_limit:
            return False
        self._count += 1
        return True


def challenge(c: Tcb, now: int, cause: int, seq: int) -> None:
    """Send `<SEQ=SND.NXT><ACK=RCV.NXT><CTL=ACK>` because of the suspicious segment with raw number `seq`, unless the
    connection has just answered one, or the host many."""
    tcp = c.tcp
    allowed = False
    if _too_soon(c, now):
        tcp.counters.TcpExtTCPACKSkippedChallenge += 1
    else:
        allowed = tcp.challenge_limit.allow(now)
    tcp.sink.challenge_ack(now, tcp.node, c.number, cause, seq, not allowed)
    if allowed:
        tcp.counters.TcpExtTCPChallengeACK += 1
        segments.send_ack(c, now, cause)


def may_answer_invalid(c: Tcb, now: int, cause: int) -> bool:
    """Whether a segment without data that was refused for `cause` may be answered now."""
    if not _too_soon(c, now):
        return True
    counters = c.tcp.counters
    if c.state == states.TIME_WAIT:
        counters.TcpExtTCPACKSkippedTimeWait += 1
    elif c.state == states.SYN_RECEIVED:
        counters.TcpExtTCPACKSkippedSynRecv += 1
    elif c.fin_wait_2_at != NEVER:
        counters.TcpExtTCPACKSkippedFinWait2 += 1
    elif cause == causes.PAWS_REJECTED:
        counters.TcpExtTCPACKSkippedPAWS += 1
    else:
        counters.TcpExtTCPACKSkippedSeq += 1
    return False


def _too_soon(c: Tcb, now: int) -> bool:
    """Whether the last such answer of the connection was less than tcp_invalid_ratelimit ago; if not, this is one. Two
    ends that disagree about sequence numbers would otherwise answer each other's ACKs for ever."""
    if now - c.dup_acks_sent_at < c.tcp.parameters.tcp_invalid_ratelimit * MILLISECOND:
        return True
    c.dup_acks_sent_at = now
    return False

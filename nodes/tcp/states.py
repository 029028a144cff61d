"""The 11 states of RFC 9293, section 3.3.2, and every transition between them that this TCP makes.

States are numbered as Linux numbers them (include/net/tcp_states.h, TCP_INFO). The transitions are data: the one
function that changes a state (`nodes.tcp.tcb.change_state`) refuses any that is not in `TRANSITIONS`.

Two differences in shape from the RFC's diagram: a listener stays in LISTEN and each SYN gets a connection of its
own, which starts in LISTEN and, when the handshake fails, ends in CLOSED; and FIN-WAIT-1 -> TIME-WAIT never
happens in one step, because 3.10.7.4 takes the ACK (to FIN-WAIT-2) before the FIN (to TIME-WAIT).
"""

from __future__ import annotations

from typing import Final, NamedTuple

from nodes.base import causes

ESTABLISHED: Final = 1
SYN_SENT: Final = 2
SYN_RECEIVED: Final = 3
FIN_WAIT_1: Final = 4
FIN_WAIT_2: Final = 5
TIME_WAIT: Final = 6
CLOSED: Final = 7
CLOSE_WAIT: Final = 8
LAST_ACK: Final = 9
LISTEN: Final = 10
CLOSING: Final = 11

#: RFC 9293's spelling, by number; index 0 is not a state.
STATE_NAMES: Final = (
    "",
    "ESTABLISHED",
    "SYN-SENT",
    "SYN-RECEIVED",
    "FIN-WAIT-1",
    "FIN-WAIT-2",
    "TIME-WAIT",
    "CLOSED",
    "CLOSE-WAIT",
    "LAST-ACK",
    "LISTEN",
    "CLOSING",
)


class Transition(NamedTuple):
    """From state `old` to `new` because of `cause`; `section` is where a specification says so."""

    old: int
    new: int
    cause: int
    section: str


_T = Transition
_SYNCHRONIZED: Final = (ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2, CLOSE_WAIT, CLOSING, LAST_ACK)

TRANSITIONS: Final[tuple[Transition, ...]] = (
    # opening
    _T(CLOSED, LISTEN, causes.USER_PASSIVE_OPEN, "RFC 9293 3.10.1"),
    _T(CLOSED, SYN_SENT, causes.USER_ACTIVE_OPEN, "RFC 9293 3.10.1"),
    _T(LISTEN, SYN_RECEIVED, causes.SYN_RECEIVED, "RFC 9293 3.10.7.2"),
    _T(LISTEN, SYN_RECEIVED, causes.SYN_COOKIE, "RFC 4987 3.6"),
    _T(LISTEN, SYN_RECEIVED, causes.FAST_OPEN, "RFC 7413 4.2.2"),
    _T(SYN_SENT, ESTABLISHED, causes.SYN_ACK_RECEIVED, "RFC 9293 3.10.7.3"),
    _T(SYN_SENT, SYN_RECEIVED, causes.SIMULTANEOUS_SYN, "RFC 9293 3.10.7.3"),
    _T(SYN_RECEIVED, ESTABLISHED, causes.ACK_OF_SYN, "RFC 9293 3.10.7.4"),
    # closing
    _T(LISTEN, CLOSED, causes.USER_CLOSE, "RFC 9293 3.10.4"),
    _T(SYN_SENT, CLOSED, causes.USER_CLOSE, "RFC 9293 3.10.4"),
    _T(SYN_SENT, CLOSED, causes.USER_SHUTDOWN, "RFC 9293 3.10.4"),
    _T(SYN_RECEIVED, FIN_WAIT_1, causes.USER_CLOSE, "RFC 9293 3.10.4"),
    _T(SYN_RECEIVED, FIN_WAIT_1, causes.USER_SHUTDOWN, "RFC 9293 3.10.4"),
    _T(SYN_RECEIVED, CLOSED, causes.USER_CLOSE, "RFC 9293 3.10.4"),
    _T(ESTABLISHED, FIN_WAIT_1, causes.USER_CLOSE, "RFC 9293 3.10.4"),
    _T(ESTABLISHED, FIN_WAIT_1, causes.USER_SHUTDOWN, "RFC 9293 3.10.4"),
    _T(ESTABLISHED, CLOSE_WAIT, causes.FIN_RECEIVED, "RFC 9293 3.10.7.4"),
    _T(FIN_WAIT_1, FIN_WAIT_2, causes.ACK_OF_FIN, "RFC 9293 3.10.7.4"),
    _T(FIN_WAIT_1, CLOSING, causes.FIN_RECEIVED, "RFC 9293 3.10.7.4"),
    _T(FIN_WAIT_2, TIME_WAIT, causes.FIN_RECEIVED, "RFC 9293 3.10.7.4"),
    _T(FIN_WAIT_2, CLOSED, causes.FIN_WAIT_2_EXPIRED, "tcp(7) tcp_fin_timeout"),
    _T(CLOSING, TIME_WAIT, causes.ACK_OF_FIN, "RFC 9293 3.10.7.4"),
    _T(CLOSE_WAIT, LAST_ACK, causes.USER_CLOSE, "RFC 9293 3.10.4"),
    _T(CLOSE_WAIT, LAST_ACK, causes.USER_SHUTDOWN, "RFC 9293 3.10.4"),
    _T(LAST_ACK, CLOSED, causes.ACK_OF_FIN, "RFC 9293 3.10.7.4"),
    _T(TIME_WAIT, CLOSED, causes.TIME_WAIT_EXPIRED, "RFC 9293 3.10.8"),
    _T(TIME_WAIT, CLOSED, causes.TIME_WAIT_REUSED, "RFC 9293 3.6.1"),
    _T(TIME_WAIT, CLOSED, causes.TIME_WAIT_OVERFLOW, "tcp(7) tcp_max_tw_buckets"),
    _T(FIN_WAIT_2, CLOSED, causes.NO_FIN_WAIT_2, "tcp(7) TCP_LINGER2"),
    # a connection that fails before it is established
    _T(SYN_SENT, CLOSED, causes.RST_RECEIVED, "RFC 9293 3.10.7.3"),
    _T(SYN_SENT, CLOSED, causes.USER_ABORT, "RFC 9293 3.10.5"),
    _T(SYN_SENT, CLOSED, causes.RETRIES_EXHAUSTED, "RFC 9293 3.8.3"),
    _T(SYN_SENT, CLOSED, causes.USER_TIMEOUT_EXPIRED, "RFC 9293 3.10.8"),
    _T(SYN_SENT, CLOSED, causes.ICMP_HARD_ERROR, "RFC 5927 4"),
    _T(SYN_SENT, CLOSED, causes.ICMP_SOFT_ERROR, "RFC 5461 4.1"),
    _T(SYN_RECEIVED, CLOSED, causes.RST_RECEIVED, "RFC 9293 3.10.7.4"),
    _T(SYN_RECEIVED, CLOSED, causes.SYN_IN_WINDOW, "RFC 9293 3.10.7.4"),
    _T(SYN_RECEIVED, CLOSED, causes.ECN_MIXED, "RFC 9768 3.1.5"),
    _T(SYN_RECEIVED, CLOSED, causes.USER_ABORT, "RFC 9293 3.10.5"),
    _T(SYN_RECEIVED, CLOSED, causes.UNREAD_DATA_AT_CLOSE, "RFC 7413 4.2.2"),
    _T(SYN_RECEIVED, CLOSED, causes.LINGER_ABORT, "RFC 7413 4.2.2"),
    _T(SYN_RECEIVED, CLOSED, causes.RETRIES_EXHAUSTED, "RFC 9293 3.8.3"),
    _T(SYN_RECEIVED, CLOSED, causes.USER_TIMEOUT_EXPIRED, "RFC 9293 3.10.8"),
    _T(SYN_RECEIVED, CLOSED, causes.ICMP_HARD_ERROR, "RFC 5927 4"),
    _T(SYN_RECEIVED, CLOSED, causes.ICMP_SOFT_ERROR, "RFC 5461 4.1"),
    _T(SYN_RECEIVED, CLOSED, causes.ACCEPT_QUEUE_FULL, "tcp(7) tcp_abort_on_overflow"),
    _T(TIME_WAIT, CLOSED, causes.RST_RECEIVED, "RFC 9293 3.10.7.4"),
    _T(TIME_WAIT, CLOSED, causes.USER_ABORT, "RFC 9293 3.10.5"),
    # a connection that is cut off
    *(_T(state, CLOSED, causes.RST_RECEIVED, "RFC 9293 3.10.7.4") for state in _SYNCHRONIZED),
    *(_T(state, CLOSED, causes.USER_ABORT, "RFC 9293 3.10.5") for state in _SYNCHRONIZED),
    *(
        _T(state, CLOSED, cause, section)
        for state in (ESTABLISHED, FIN_WAIT_1, CLOSE_WAIT, CLOSING, LAST_ACK)
        for cause, section in (
            (causes.RETRIES_EXHAUSTED, "RFC 9293 3.8.3"),
            (causes.USER_TIMEOUT_EXPIRED, "RFC 9293 3.10.8"),
        )
    ),
    *(
        _T(state, CLOSED, causes.CONTROL_FAILED, "tcp(7) TCP_CONGESTION")
        for state in (SYN_RECEIVED, ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2, CLOSE_WAIT, CLOSING, LAST_ACK)
    ),
    *(
        _T(state, CLOSED, causes.KEEPALIVE_PROBES_EXHAUSTED, "RFC 9293 3.8.4")
        for state in (ESTABLISHED, FIN_WAIT_2, CLOSE_WAIT)
    ),
    *(
        _T(state, CLOSED, causes.UNREAD_DATA_AT_CLOSE, "RFC 9293 3.6.1")
        for state in (ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2, CLOSE_WAIT, CLOSING, LAST_ACK)
    ),
    *(_T(state, CLOSED, causes.LINGER_ABORT, "RFC 9293 3.10.5") for state in _SYNCHRONIZED),
    *(
        _T(state, CLOSED, causes.TOO_MANY_ORPHANS, "tcp(7) tcp_max_orphans")
        for state in (SYN_RECEIVED, FIN_WAIT_1, FIN_WAIT_2, CLOSING, LAST_ACK)
    ),
    *(_T(state, CLOSED, causes.DATA_AFTER_CLOSE, "RFC 9293 3.6.1") for state in (FIN_WAIT_1, FIN_WAIT_2)),
)

#: What only mutants do (nodes.tcp.mutants).
MUTATIONS: Final[tuple[Transition, ...]] = (
    _T(SYN_RECEIVED, ESTABLISHED, causes.MUTANT, "two-way-handshake"),
    _T(FIN_WAIT_2, CLOSED, causes.MUTANT, "no-time-wait"),
    _T(CLOSING, CLOSED, causes.MUTANT, "no-time-wait"),
)

LEGAL: Final = frozenset((t.old, t.new, t.cause) for t in (*TRANSITIONS, *MUTATIONS))


class IllegalTransition(Exception):
    """The stack tried a transition that is not in `TRANSITIONS`: a bug in the stack, never a fault of peer or user."""


def check_transition(old: int, new: int, cause: int) -> None:
    """Raise `IllegalTransition` unless (old, new, cause) is listed in `TRANSITIONS`."""
    if (old, new, cause) not in LEGAL:
        raise IllegalTransition(f"{STATE_NAMES[old]} -> {STATE_NAMES[new]} because of {causes.CAUSES[cause].name}")

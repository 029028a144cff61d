"""Why something happened: one enum for the whole trace, each value with the RFC section that says so.

A cause is a small int in records and `CAUSE_<NAME>` in the API. Numbers are never reused. Add new ones at the end.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class CauseInfo(NamedTuple):
    """`name` as in the API without its prefix, `section` of the RFC that defines it, `words` for people."""

    name: str
    section: str
    words: str


NONE: Final = 0
# user calls
USER_ACTIVE_OPEN: Final = 1
USER_PASSIVE_OPEN: Final = 2
USER_SEND: Final = 3
USER_RECEIVE: Final = 4
USER_CLOSE: Final = 5
USER_SHUTDOWN: Final = 6
USER_ABORT: Final = 7
# segments that move the state machine
SYN_RECEIVED: Final = 20
SYN_ACK_RECEIVED: Final = 21
SIMULTANEOUS_SYN: Final = 22
ACK_OF_SYN: Final = 23
FIN_RECEIVED: Final = 24
ACK_OF_FIN: Final = 25
FIN_AND_ACK_OF_FIN: Final = 26
RST_RECEIVED: Final = 27
SYN_COOKIE: Final = 28
FAST_OPEN: Final = 29
# timers
RTO_EXPIRED: Final = 40
DELAYED_ACK_EXPIRED: Final = 41
PERSIST_EXPIRED: Final = 42
KEEPALIVE_EXPIRED: Final = 43
TIME_WAIT_EXPIRED: Final = 44
FIN_WAIT_2_EXPIRED: Final = 45
USER_TIMEOUT_EXPIRED: Final = 46
RETRIES_EXHAUSTED: Final = 47
KEEPALIVE_PROBES_EXHAUSTED: Final = 48
# why a segment was sent
NEW_DATA: Final = 60
HANDSHAKE: Final = 61
ACK_NOW: Final = 62
ACK_OUT_OF_ORDER: Final = 63
ACK_EVERY_SECOND: Final = 64
WINDOW_UPDATE: Final = 65
WINDOW_PROBE: Final = 66
KEEPALIVE_PROBE: Final = 67
FIN_SENT: Final = 68
RETRANSMIT_RTO: Final = 69
RETRANSMIT_FAST: Final = 70
RETRANSMIT_PARTIAL_ACK: Final = 71
RETRANSMIT_SYN: Final = 72
RETRANSMIT_SYN_ACK: Final = 73
LIMITED_TRANSMIT: Final = 74
RETRANSMIT_MTU: Final = 75
RETRANSMIT_SACK: Final = 76
LOSS_PROBE: Final = 77
ACK_QUICK: Final = 78
ACK_READ: Final = 79
RETRANSMIT_FAST_OPEN: Final = 80
MTU_PROBE: Final = 81
RETRANSMIT_MTU_PROBE: Final = 82
# congestion control
SLOW_START: Final = 90
CONGESTION_AVOIDANCE: Final = 91
FAST_RETRANSMIT: Final = 92
FAST_RECOVERY_INFLATE: Final = 93
FAST_RECOVERY_DEFLATE: Final = 94
FAST_RECOVERY_EXIT: Final = 95
RTO_COLLAPSE: Final = 96
IDLE_RESTART: Final = 97
INITIAL_WINDOW: Final = 98
SACK_RECOVERY: Final = 99
PROPORTIONAL_RATE: Final = 100
UNDO: Final = 101
LOSS_PROBE_REPAIRED: Final = 102
REORDERING_EXPIRED: Final = 103
RENEGED: Final = 104
CONTROL_RULES: Final = 105
ECN_ECHO: Final = 106
NOT_VALIDATED: Final = 109
BBR_STARTUP: Final = 110
BBR_DRAIN: Final = 111
BBR_PROBE_BW: Final = 112
BBR_PROBE_RTT: Final = 113
BBR_PROBE_BW_DOWN: Final = 114
BBR_PROBE_BW_CRUISE: Final = 115
BBR_PROBE_BW_REFILL: Final = 116
BBR_PROBE_BW_UP: Final = 117
# segments refused
BAD_CHECKSUM: Final = 120
OUT_OF_WINDOW: Final = 121
DUPLICATE_DATA: Final = 122
PAWS_REJECTED: Final = 123
ACK_OF_NOTHING_SENT: Final = 124
ACK_TOO_OLD: Final = 125
NO_ACK: Final = 126
SYN_IN_WINDOW: Final = 127
RST_NOT_EXACT: Final = 128
RST_OUT_OF_WINDOW: Final = 129
RST_WITHOUT_ACK_OF_SYN: Final = 130
NO_SUCH_CONNECTION: Final = 131
CHALLENGE_LIMIT: Final = 132
SYN_QUEUE_FULL: Final = 133
ACCEPT_QUEUE_FULL: Final = 134
MALFORMED: Final = 135
DATA_AFTER_CLOSE: Final = 136
UNREAD_DATA_AT_CLOSE: Final = 137
LINGER_ABORT: Final = 138
TIME_WAIT_REUSED: Final = 139
ICMP_HARD_ERROR: Final = 140
ICMP_SOFT_ERROR: Final = 141
RST_IN_TIME_WAIT: Final = 142
TIMESTAMP_MISSING: Final = 143
MTU_REDUCED: Final = 144
NO_SYN: Final = 145
TOO_MANY_ORPHANS: Final = 146
TIME_WAIT_OVERFLOW: Final = 147
NO_FIN_WAIT_2: Final = 148
MTU_RAISED: Final = 155
MTU_PROBED: Final = 157
MTU_BLACK_HOLE: Final = 158
CONTROL_FAILED: Final = 156
# calls that RFC 9293 does not allow in the state
ERROR_DOES_NOT_EXIST: Final = 160
ERROR_ALREADY_EXISTS: Final = 161
ERROR_CLOSING: Final = 162
ERROR_ILLEGAL: Final = 163
ERROR_RESET: Final = 164
ERROR_REFUSED: Final = 165
ERROR_ABORTED: Final = 166
ERROR_TIMED_OUT: Final = 167
ERROR_NO_ROUTE: Final = 168
ERROR_INSUFFICIENT_RESOURCES: Final = 169
ERROR_CONTROL_FAILED: Final = 170
# attacks
ATTACK: Final = 180
MUTANT: Final = 181
# accurate ECN
ECN_ACCURATE: Final = 190
ECN_CHANGED: Final = 191
ECN_MARKS: Final = 192
ECN_MANGLED: Final = 193
ECN_BLEACHED: Final = 194
ECN_OPTION_BLOCKED: Final = 195
ECN_MIXED: Final = 196

CAUSES: Final[dict[int, CauseInfo]] = {
    NONE: CauseInfo("NONE", "", ""),
    USER_ACTIVE_OPEN: CauseInfo("USER_ACTIVE_OPEN", "RFC 9293 3.10.1", "active OPEN"),
    USER_PASSIVE_OPEN: CauseInfo("USER_PASSIVE_OPEN", "RFC 9293 3.10.1", "passive OPEN"),
    USER_SEND: CauseInfo("USER_SEND", "RFC 9293 3.10.2", "SEND"),
    USER_RECEIVE: CauseInfo("USER_RECEIVE", "RFC 9293 3.10.3", "RECEIVE"),
    USER_CLOSE: CauseInfo("USER_CLOSE", "RFC 9293 3.10.4", "CLOSE"),
    USER_SHUTDOWN: CauseInfo("USER_SHUTDOWN", "RFC 9293 3.6", "half-close: CLOSE of the sending side"),
    USER_ABORT: CauseInfo("USER_ABORT", "RFC 9293 3.10.5", "ABORT"),
    SYN_RECEIVED: CauseInfo("SYN_RECEIVED", "RFC 9293 3.10.7.2", "SYN received in LISTEN"),
    SYN_ACK_RECEIVED: CauseInfo("SYN_ACK_RECEIVED", "RFC 9293 3.10.7.3", "SYN-ACK received: our SYN is acknowledged"),
    SIMULTANEOUS_SYN: CauseInfo("SIMULTANEOUS_SYN", "RFC 9293 3.10.7.3", "SYN received in SYN-SENT: simultaneous open"),
    ACK_OF_SYN: CauseInfo("ACK_OF_SYN", "RFC 9293 3.10.7.4", "our SYN is acknowledged"),
    FIN_RECEIVED: CauseInfo("FIN_RECEIVED", "RFC 9293 3.10.7.4", "FIN received"),
    ACK_OF_FIN: CauseInfo("ACK_OF_FIN", "RFC 9293 3.10.7.4", "our FIN is acknowledged"),
    FIN_AND_ACK_OF_FIN: CauseInfo("FIN_AND_ACK_OF_FIN", "RFC 9293 3.10.7.4", "FIN received that acknowledges our FIN"),
    RST_RECEIVED: CauseInfo("RST_RECEIVED", "RFC 9293 3.10.7.4", "RST accepted"),
    FAST_OPEN: CauseInfo("FAST_OPEN", "RFC 7413 4.2", "Fast Open: the data of the SYN is taken at once"),
    SYN_COOKIE: CauseInfo("SYN_COOKIE", "RFC 4987 3.6", "SYN cookie: the SYN-ACK's number stands for the SYN queue"),
    RTO_EXPIRED: CauseInfo("RTO_EXPIRED", "RFC 6298 5", "retransmission timer expired"),
    DELAYED_ACK_EXPIRED: CauseInfo("DELAYED_ACK_EXPIRED", "RFC 9293 3.8.6.3", "delayed ACK timer expired"),
    PERSIST_EXPIRED: CauseInfo("PERSIST_EXPIRED", "RFC 9293 3.8.6.1", "persist timer expired"),
    KEEPALIVE_EXPIRED: CauseInfo("KEEPALIVE_EXPIRED", "RFC 9293 3.8.4", "keepalive timer expired"),
    TIME_WAIT_EXPIRED: CauseInfo("TIME_WAIT_EXPIRED", "RFC 9293 3.10.8", "2 MSL have passed"),
    FIN_WAIT_2_EXPIRED: CauseInfo("FIN_WAIT_2_EXPIRED", "tcp(7) tcp_fin_timeout", "orphan waited too long for a FIN"),
    USER_TIMEOUT_EXPIRED: CauseInfo("USER_TIMEOUT_EXPIRED", "RFC 9293 3.10.8", "user timeout expired"),
    RETRIES_EXHAUSTED: CauseInfo("RETRIES_EXHAUSTED", "RFC 9293 3.8.3", "retransmitted too often (R2)"),
    KEEPALIVE_PROBES_EXHAUSTED: CauseInfo("KEEPALIVE_PROBES_EXHAUSTED", "RFC 9293 3.8.4", "no answer to keepalives"),
    NEW_DATA: CauseInfo("NEW_DATA", "RFC 9293 3.8", "new data"),
    HANDSHAKE: CauseInfo("HANDSHAKE", "RFC 9293 3.5", "connection establishment"),
    ACK_NOW: CauseInfo("ACK_NOW", "RFC 9293 3.10.7.4", "acknowledgment at once"),
    ACK_OUT_OF_ORDER: CauseInfo("ACK_OUT_OF_ORDER", "RFC 5681 4.2", "duplicate ACK for data out of order"),
    ACK_EVERY_SECOND: CauseInfo("ACK_EVERY_SECOND", "RFC 5681 4.2", "ACK of every second full-sized segment"),
    WINDOW_UPDATE: CauseInfo("WINDOW_UPDATE", "RFC 9293 3.8.6.2.2", "window update"),
    WINDOW_PROBE: CauseInfo("WINDOW_PROBE", "RFC 9293 3.8.6.1", "zero-window probe"),
    KEEPALIVE_PROBE: CauseInfo("KEEPALIVE_PROBE", "RFC 9293 3.8.4", "keepalive probe"),
    FIN_SENT: CauseInfo("FIN_SENT", "RFC 9293 3.6", "FIN"),
    RETRANSMIT_RTO: CauseInfo("RETRANSMIT_RTO", "RFC 6298 5.4", "retransmission after timeout"),
    RETRANSMIT_FAST: CauseInfo("RETRANSMIT_FAST", "RFC 5681 3.2", "fast retransmit"),
    RETRANSMIT_PARTIAL_ACK: CauseInfo("RETRANSMIT_PARTIAL_ACK", "RFC 6582 3.2", "retransmission after partial ACK"),
    RETRANSMIT_SYN: CauseInfo("RETRANSMIT_SYN", "RFC 6298 5.4", "SYN again"),
    RETRANSMIT_SYN_ACK: CauseInfo("RETRANSMIT_SYN_ACK", "RFC 6298 5.4", "SYN-ACK again"),
    LIMITED_TRANSMIT: CauseInfo("LIMITED_TRANSMIT", "RFC 3042 2", "limited transmit"),
    SLOW_START: CauseInfo("SLOW_START", "RFC 5681 3.1", "slow start"),
    CONGESTION_AVOIDANCE: CauseInfo("CONGESTION_AVOIDANCE", "RFC 5681 3.1", "congestion avoidance"),
    FAST_RETRANSMIT: CauseInfo("FAST_RETRANSMIT", "RFC 5681 3.2", "third duplicate ACK"),
    FAST_RECOVERY_INFLATE: CauseInfo("FAST_RECOVERY_INFLATE", "RFC 5681 3.2", "further duplicate ACK in recovery"),
    FAST_RECOVERY_DEFLATE: CauseInfo("FAST_RECOVERY_DEFLATE", "RFC 6582 3.2", "partial ACK in recovery"),
    FAST_RECOVERY_EXIT: CauseInfo("FAST_RECOVERY_EXIT", "RFC 6582 3.2", "full ACK ends recovery"),
    SACK_RECOVERY: CauseInfo("SACK_RECOVERY", "RFC 8985 6.2", "SACK shows a loss"),
    PROPORTIONAL_RATE: CauseInfo("PROPORTIONAL_RATE", "RFC 6937 3", "as much as was delivered, in proportion"),
    UNDO: CauseInfo("UNDO", "RFC 4015 3.2", "nothing was lost: the window is what it was"),
    LOSS_PROBE_REPAIRED: CauseInfo("LOSS_PROBE_REPAIRED", "RFC 8985 7.4", "the loss probe repaired a loss"),
    REORDERING_EXPIRED: CauseInfo("REORDERING_EXPIRED", "RFC 8985 6.3", "waited long enough for what is late"),
    CONTROL_RULES: CauseInfo("CONTROL_RULES", "tcp(7) TCP_CONGESTION", "as the congestion control has it"),
    ECN_ECHO: CauseInfo("ECN_ECHO", "RFC 3168 6.1.2", "the peer tells of a congestion mark"),
    NOT_VALIDATED: CauseInfo("NOT_VALIDATED", "RFC 7661 4.4.3", "the window was not used for too long"),
    BBR_STARTUP: CauseInfo("BBR_STARTUP", "draft-ietf-ccwg-bbr 5.3.1", "BBR: double the rate until the pipe is full"),
    BBR_DRAIN: CauseInfo("BBR_DRAIN", "draft-ietf-ccwg-bbr 5.3.2", "BBR: let the queue of Startup drain"),
    BBR_PROBE_BW: CauseInfo(
        "BBR_PROBE_BW", "draft-cardwell-iccrg-bbr-congestion-control-00 4.3.4", "BBR: probe for bandwidth, in cycles"
    ),
    BBR_PROBE_RTT: CauseInfo(
        "BBR_PROBE_RTT", "draft-ietf-ccwg-bbr 5.3.4", "BBR: little in flight, to see the round trip"
    ),
    BBR_PROBE_BW_DOWN: CauseInfo(
        "BBR_PROBE_BW_DOWN", "draft-ietf-ccwg-bbr 5.3.3.1", "BBR: slower than what is delivered"
    ),
    BBR_PROBE_BW_CRUISE: CauseInfo(
        "BBR_PROBE_BW_CRUISE", "draft-ietf-ccwg-bbr 5.3.3.2", "BBR: as fast as is delivered"
    ),
    BBR_PROBE_BW_REFILL: CauseInfo("BBR_PROBE_BW_REFILL", "draft-ietf-ccwg-bbr 5.3.3.3", "BBR: fill the pipe again"),
    BBR_PROBE_BW_UP: CauseInfo("BBR_PROBE_BW_UP", "draft-ietf-ccwg-bbr 5.3.3.4", "BBR: faster than what is delivered"),
    ECN_ACCURATE: CauseInfo("ECN_ACCURATE", "RFC 9768 3.1.1", "AccECN mode: marks are counted and told"),
    ECN_CHANGED: CauseInfo("ECN_CHANGED", "RFC 9768 3.2.2.5.1", "ACK at once: ECN field other than that of before"),
    ECN_MARKS: CauseInfo("ECN_MARKS", "RFC 9768 3.2.2.5.1", "ACK at once: marks that were not told yet"),
    ECN_MANGLED: CauseInfo("ECN_MANGLED", "RFC 9768 3.2.2.3", "the ECN field was changed on the way"),
    ECN_BLEACHED: CauseInfo("ECN_BLEACHED", "RFC 9768 3.2.2.4", "feedback was cleared on the way"),
    ECN_OPTION_BLOCKED: CauseInfo("ECN_OPTION_BLOCKED", "RFC 9768 3.2.3.2.2", "the path seems to swallow the option"),
    ECN_MIXED: CauseInfo("ECN_MIXED", "RFC 9768 3.1.5", "SYNs that ask for both kinds of ECN feedback"),
    RENEGED: CauseInfo("RENEGED", "RFC 2018 8", "the receiver has thrown away what it had reported"),
    RTO_COLLAPSE: CauseInfo("RTO_COLLAPSE", "RFC 5681 3.1", "timeout: loss window of one segment"),
    IDLE_RESTART: CauseInfo("IDLE_RESTART", "RFC 5681 4.1", "restart after idle"),
    INITIAL_WINDOW: CauseInfo("INITIAL_WINDOW", "RFC 6928 2", "initial window"),
    BAD_CHECKSUM: CauseInfo("BAD_CHECKSUM", "RFC 9293 3.1", "checksum is wrong"),
    OUT_OF_WINDOW: CauseInfo("OUT_OF_WINDOW", "RFC 9293 3.10.7.4", "segment outside the receive window"),
    DUPLICATE_DATA: CauseInfo("DUPLICATE_DATA", "RFC 9293 3.10.7.4", "only data already received"),
    PAWS_REJECTED: CauseInfo("PAWS_REJECTED", "RFC 7323 5.3", "timestamp older than the last one"),
    ACK_OF_NOTHING_SENT: CauseInfo("ACK_OF_NOTHING_SENT", "RFC 9293 3.10.7.4", "ACK of something not yet sent"),
    ACK_TOO_OLD: CauseInfo("ACK_TOO_OLD", "RFC 5961 5.2", "ACK older than the largest window seen"),
    NO_ACK: CauseInfo("NO_ACK", "RFC 9293 3.10.7.4", "no ACK bit"),
    SYN_IN_WINDOW: CauseInfo("SYN_IN_WINDOW", "RFC 5961 4.2", "SYN on a synchronized connection"),
    RST_NOT_EXACT: CauseInfo("RST_NOT_EXACT", "RFC 5961 3.2", "RST in the window but not at RCV.NXT"),
    RST_OUT_OF_WINDOW: CauseInfo("RST_OUT_OF_WINDOW", "RFC 5961 3.2", "RST outside the window"),
    RST_WITHOUT_ACK_OF_SYN: CauseInfo("RST_WITHOUT_ACK_OF_SYN", "RFC 9293 3.10.7.3", "RST that acknowledges no SYN"),
    NO_SUCH_CONNECTION: CauseInfo("NO_SUCH_CONNECTION", "RFC 9293 3.10.7.1", "segment for no connection"),
    CHALLENGE_LIMIT: CauseInfo("CHALLENGE_LIMIT", "RFC 5961 7", "challenge ACK limit reached"),
    SYN_QUEUE_FULL: CauseInfo("SYN_QUEUE_FULL", "tcp(7) tcp_max_syn_backlog", "SYN queue is full"),
    ACCEPT_QUEUE_FULL: CauseInfo("ACCEPT_QUEUE_FULL", "listen(2)", "accept queue is full"),
    MALFORMED: CauseInfo("MALFORMED", "RFC 9293 3.1", "malformed segment"),
    DATA_AFTER_CLOSE: CauseInfo("DATA_AFTER_CLOSE", "RFC 9293 3.6.1", "data for a user that has gone"),
    UNREAD_DATA_AT_CLOSE: CauseInfo("UNREAD_DATA_AT_CLOSE", "RFC 9293 3.6.1", "CLOSE with unread data"),
    LINGER_ABORT: CauseInfo("LINGER_ABORT", "RFC 9293 3.10.5", "CLOSE with linger time zero"),
    TIME_WAIT_REUSED: CauseInfo("TIME_WAIT_REUSED", "RFC 6191 2", "new SYN accepted in TIME-WAIT"),
    ICMP_HARD_ERROR: CauseInfo("ICMP_HARD_ERROR", "RFC 5927 4", "ICMP hard error"),
    ICMP_SOFT_ERROR: CauseInfo("ICMP_SOFT_ERROR", "RFC 5927 4", "ICMP soft error"),
    ERROR_DOES_NOT_EXIST: CauseInfo("ERROR_DOES_NOT_EXIST", "RFC 9293 3.10", "connection does not exist"),
    ERROR_ALREADY_EXISTS: CauseInfo("ERROR_ALREADY_EXISTS", "RFC 9293 3.10.1", "connection already exists"),
    ERROR_CLOSING: CauseInfo("ERROR_CLOSING", "RFC 9293 3.10", "connection closing"),
    ERROR_ILLEGAL: CauseInfo("ERROR_ILLEGAL", "RFC 9293 3.10", "connection illegal for this process"),
    ERROR_RESET: CauseInfo("ERROR_RESET", "RFC 9293 3.10", "connection reset"),
    ERROR_REFUSED: CauseInfo("ERROR_REFUSED", "RFC 9293 3.10.7.4", "connection refused"),
    ERROR_ABORTED: CauseInfo("ERROR_ABORTED", "RFC 9293 3.10.8", "connection aborted due to user timeout"),
    ERROR_TIMED_OUT: CauseInfo("ERROR_TIMED_OUT", "RFC 9293 3.8.3", "connection timed out"),
    ERROR_NO_ROUTE: CauseInfo("ERROR_NO_ROUTE", "RFC 9293 3.9.2.2", "no route to host"),
    ERROR_INSUFFICIENT_RESOURCES: CauseInfo("ERROR_INSUFFICIENT_RESOURCES", "RFC 9293 3.10", "insufficient resources"),
    RETRANSMIT_SACK: CauseInfo("RETRANSMIT_SACK", "RFC 8985 6.2", "fast retransmit of what SACK shows lost"),
    ACK_QUICK: CauseInfo("ACK_QUICK", "RFC 9293 3.8.6.3", "ACK at once: quick-ack mode"),
    ACK_READ: CauseInfo("ACK_READ", "RFC 9293 3.8.6.3", "ACK because the user has read what came"),
    RETRANSMIT_FAST_OPEN: CauseInfo("RETRANSMIT_FAST_OPEN", "RFC 7413 4.2.2", "data of the SYN that was not taken"),
    LOSS_PROBE: CauseInfo("LOSS_PROBE", "RFC 8985 7.3", "tail loss probe"),
    RETRANSMIT_MTU: CauseInfo("RETRANSMIT_MTU", "RFC 1191 6.3", "retransmission in segments that fit the path"),
    MTU_PROBE: CauseInfo("MTU_PROBE", "RFC 4821 7.5", "probe of the path's MTU: a segment larger than the others"),
    RETRANSMIT_MTU_PROBE: CauseInfo(
        "RETRANSMIT_MTU_PROBE", "RFC 4821 7.6.2", "data of an MTU probe that was too large, in segments that pass"
    ),
    RST_IN_TIME_WAIT: CauseInfo("RST_IN_TIME_WAIT", "RFC 1337 4", "RST ignored in TIME-WAIT"),
    TIMESTAMP_MISSING: CauseInfo("TIMESTAMP_MISSING", "RFC 7323 3.2", "no timestamp where both ends agreed on them"),
    MTU_REDUCED: CauseInfo("MTU_REDUCED", "RFC 1191 6.3", "the path takes smaller packets than before"),
    MTU_RAISED: CauseInfo("MTU_RAISED", "RFC 8201 4", "path MTU grown, or what was known of it too old"),
    MTU_PROBED: CauseInfo("MTU_PROBED", "RFC 4821 7.6.1", "a probe has shown that the path takes larger packets"),
    MTU_BLACK_HOLE: CauseInfo("MTU_BLACK_HOLE", "RFC 4821 7.7", "so many timeouts: larger packets may be swallowed"),
    NO_SYN: CauseInfo("NO_SYN", "RFC 9293 3.10.7.3", "neither SYN nor RST where one is due"),
    TOO_MANY_ORPHANS: CauseInfo("TOO_MANY_ORPHANS", "tcp(7) tcp_max_orphans", "too many connections nobody holds"),
    TIME_WAIT_OVERFLOW: CauseInfo(
        "TIME_WAIT_OVERFLOW", "tcp(7) tcp_max_tw_buckets", "too many connections in TIME-WAIT"
    ),
    NO_FIN_WAIT_2: CauseInfo(
        "NO_FIN_WAIT_2", "tcp(7) TCP_LINGER2", "the user does not want to wait for the peer's FIN"
    ),
    CONTROL_FAILED: CauseInfo("CONTROL_FAILED", "tcp(7) TCP_CONGESTION", "the user's congestion control has failed"),
    ERROR_CONTROL_FAILED: CauseInfo("ERROR_CONTROL_FAILED", "tcp(7) TCP_CONGESTION", "congestion control failed"),
    ATTACK: CauseInfo("ATTACK", "", "injected by an attack"),
    MUTANT: CauseInfo("MUTANT", "", "wrong on purpose: a mutant's doing"),
}

"""The 11 states of RFC 9293, section 3.3.2, numbered as Linux numbers them (include/net/tcp_states.h, TCP_INFO)."""

from __future__ import annotations

from typing import Final

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

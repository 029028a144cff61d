"""TCPs that are wrong on purpose, to show what the right one is for. Off unless the parameter `mutants` names them, and
every connection of a host that has one is marked in the trace (event `mutant`).

A file each; the right code asks for them by name where it would do otherwise, off the path of ordinary segments.
"""

from __future__ import annotations

from typing import Final

from nodes.base.errors import InvalidArgument

TWO_WAY_HANDSHAKE: Final = "two-way-handshake"
CONSTANT_ISN: Final = "constant-isn"
NO_TIME_WAIT: Final = "no-time-wait"
NO_KARN: Final = "no-karn"
STOP_AND_WAIT: Final = "stop-and-wait"
RFC793_RTT: Final = "rfc793-rtt"

#: What each does.
MUTANTS: Final[dict[str, str]] = {
    TWO_WAY_HANDSHAKE: "a SYN alone establishes the connection; nobody waits for the ACK of the SYN-ACK",
    CONSTANT_ISN: "every connection starts with the same sequence number",
    NO_TIME_WAIT: "the end that closes first forgets the connection at once",
    NO_KARN: "round trips are measured on segments that were sent again, too",
    STOP_AND_WAIT: "one segment in flight, never more",
    RFC793_RTT: "the timeout is twice the average round-trip time, whatever the variation (RFC 793)",
}


class Mutants:
    """Which of them a host has. `names` in the order of `MUTANTS`; an attribute for each."""

    __slots__ = (
        "constant_isn",
        "names",
        "no_karn",
        "no_time_wait",
        "rfc793_rtt",
        "stop_and_wait",
        "two_way_handshake",
    )

    def __init__(self, text: str = "") -> None:
        """`text`: names, with spaces or commas between them, or none. Raises InvalidArgument."""
        wanted = [] if text.strip() == "none" else text.replace(",", " ").split()
        for name in wanted:
            if name not in MUTANTS:
                raise InvalidArgument(f"mutants: {name!r} is not allowed; none is, or {', '.join(MUTANTS)}", "mutants")
        self.names: tuple[str, ...] = tuple(name for name in MUTANTS if name in wanted)
        self.two_way_handshake = TWO_WAY_HANDSHAKE in wanted
        self.constant_isn = CONSTANT_ISN in wanted
        self.no_time_wait = NO_TIME_WAIT in wanted
        self.no_karn = NO_KARN in wanted
        self.stop_and_wait = STOP_AND_WAIT in wanted
        self.rfc793_rtt = RFC793_RTT in wanted

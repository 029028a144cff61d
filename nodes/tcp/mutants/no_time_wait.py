"""Mutant: CLOSED where TIME-WAIT is due. If the last ACK is lost, the peer's FIN comes again and meets a RST; and old
segments may meet a new connection between the same ports (RFC 9293 section 3.6)."""

from __future__ import annotations

from nodes.base import causes
from nodes.tcp import segments, states
from nodes.tcp.tcb import Tcb, change_state


def close(c: Tcb, now: int) -> None:
    """Acknowledge the peer's FIN, if that is due, and forget."""
    if c.ack_cause:
        segments.send_ack(c, now, c.ack_cause)
    change_state(c, now, states.CLOSED, causes.MUTANT)

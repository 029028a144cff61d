"""Mutant: the handshake ends with the SYN-ACK. An old SYN, or one with a forged source, then makes a connection whose
other end knows nothing of it, and a program that waits for data that nobody will send."""

from __future__ import annotations

from nodes.base import causes
from nodes.packet.tcp import Segment
from nodes.tcp import handshake, states
from nodes.tcp.tcb import Tcb, change_state


def establish(c: Tcb, now: int, syn: Segment) -> None:
    """Take our SYN-ACK, just sent, for acknowledged."""
    c.board.first.count = 1  # no round trip was measured
    handshake.syn_acknowledged(c, now, c.irs, c.iss + 1, syn)
    change_state(c, now, states.ESTABLISHED, causes.MUTANT)
    handshake.established(c, now)

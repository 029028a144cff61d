"""Mutant: without Karn's algorithm (RFC 6298 section 3). The ACK of a segment that was sent twice is taken for that of
the second, so an original that was only late makes the round-trip time, and with it the timeout, far too short."""

from __future__ import annotations

from collections.abc import Iterable

from nodes.tcp import rtt
from nodes.tcp.scoreboard import Sent
from nodes.tcp.tcb import Tcb


def sample(c: Tcb, now: int, acknowledged: Iterable[Sent]) -> None:
    """Measure from when each was sent last."""
    for record in acknowledged:
        if record.count:
            rtt.sample(c, now, now - record.sent_at)

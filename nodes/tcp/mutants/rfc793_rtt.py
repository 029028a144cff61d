"""Mutant: the timeout of RFC 793 section 3.7, from the average round-trip time alone. Where round trips vary, as behind
a queue that fills, it is too short, and what is only late is sent again (RFC 1122 section 4.2.3.1)."""

from __future__ import annotations

from nodes.base.clock import MILLISECOND
from nodes.tcp.tcb import Tcb


def estimate(c: Tcb, rtt: int) -> None:
    """SRTT with ALPHA 7/8; RTO = BETA * SRTT with BETA 2, between the bounds of the host."""
    c.srtt = rtt if c.srtt == 0 else (7 * c.srtt + rtt) // 8
    c.rttvar = 0
    parameters = c.tcp.parameters
    lowest = parameters.tcp_rto_min_ms * MILLISECOND
    highest = parameters.tcp_rto_max_ms * MILLISECOND
    c.rto = min(max(2 * c.srtt, lowest), highest)

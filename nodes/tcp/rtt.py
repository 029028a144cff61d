"""Round-trip estimation and the retransmission timeout (RFC 6298 section 2), in ints."""

from __future__ import annotations

from typing import Final

from nodes.base.clock import MILLISECOND
from nodes.tcp.mutants import rfc793_rtt
from nodes.tcp.tcb import Tcb

#: G, the granularity of the clock (RFC 6298 section 4), ns: timers on the machine's clock are as good as this.
GRANULARITY: Final = MILLISECOND


def sample(c: Tcb, now: int, rtt: int) -> None:
    """Take one sample, ns. Karn's algorithm is the caller's: none is taken that could belong to two transmissions."""
    if rtt < 1:
        rtt = 1
    parameters = c.tcp.parameters
    if parameters.mutants.rfc793_rtt:
        rfc793_rtt.estimate(c, rtt)
        c.backoff = 0
        c.tcp.sink.rtt(now, c.tcp.node, c.number, rtt, c.srtt, c.rttvar, c.rto)
        return
    if c.srtt == 0:
        c.srtt = rtt
        c.rttvar = rtt // 2
    else:
        # alpha = 1/8, beta = 1/4; RTTVAR first, with the old SRTT.
        c.rttvar = (3 * c.rttvar + abs(c.srtt - rtt)) // 4
        c.srtt = (7 * c.srtt + rtt) // 8
    lowest = parameters.tcp_rto_min_ms * MILLISECOND
    variance = 4 * c.rttvar
    if parameters.profile == "linux":
        # Linux floors the variance term, so the RTO stays the minimum above SRTT also on a steady path.
        rto = c.srtt + (variance if variance > lowest else lowest)
    else:
        rto = c.srtt + (variance if variance > GRANULARITY else GRANULARITY)
        if rto < lowest:
            rto = lowest
    highest = parameters.tcp_rto_max_ms * MILLISECOND
    c.rto = rto if rto < highest else highest
    c.backoff = 0
    tcp = c.tcp
    tcp.sink.rtt(now, tcp.node, c.number, rtt, c.srtt, c.rttvar, c.rto)


def back_off(c: Tcb) -> None:
    """Double the RTO (RFC 6298 section 5.5). It stays so until a sample is taken (Karn)."""
    highest = c.tcp.parameters.tcp_rto_max_ms * MILLISECOND
    c.rto = min(c.rto * 2, highest)
    c.backoff += 1

"""Proportional rate reduction: how much may be sent for each ACK of a recovery (RFC 6937, slow-start bound)."""

from __future__ import annotations

from nodes.tcp.recovery_state import Prr
from nodes.tcp.tcb import Tcb


def on_ack(c: Tcb, prr: Prr, delivered: int, progress: bool) -> None:
    """Set cwnd after an ACK that delivered so many bytes. `progress`: SND.UNA moved and nothing more was found lost, so
    sending may slow-start back up to ssthresh."""
    congestion = c.congestion
    ssthresh = congestion.ssthresh
    pipe = c.board.flying
    prr.delivered += delivered
    if pipe > ssthresh:
        count = -(-prr.delivered * ssthresh // prr.recover_fs) - prr.out
    else:
        count = max(prr.delivered - prr.out, delivered)
        if progress:
            count += c.mss
        count = min(ssthresh - pipe, count)
    # What begins the recovery is sent again at once.
    congestion.cwnd = pipe + max(count, 0 if prr.out else c.mss)

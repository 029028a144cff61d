"""The path's MTU as one connection believes it (RFC 1191, RFC 8201)."""

from __future__ import annotations

from nodes.base import causes
from nodes.base.clock import SECOND
from nodes.tcp import congestion_trace, sender
from nodes.tcp.tcb import Tcb


def begin(c: Tcb, now: int) -> None:
    """Start with what the host knows of the path."""
    network = c.tcp.network
    c.mtu = network.mtu_to(now, c.remote)
    c.mtu_until = network.mtu_until(c.remote)


def refresh(c: Tcb, now: int) -> None:
    """Ask the layer below again, and obey it: what a router said is forgotten in time (`mtu_until`), so that a path
    that has become wider is found (RFC 8201 section 4)."""
    network = c.tcp.network
    mtu = network.mtu_to(now, c.remote)
    c.mtu_until = network.mtu_until(c.remote)
    _obey(c, now, mtu)


def too_big(c: Tcb, now: int, mtu: int) -> None:
    """A router says that what we have sent is larger than the `mtu` of its link."""
    if mtu < c.mtu:
        c.mtu_until = now + c.tcp.parameters.mtu_expires * SECOND
        _obey(c, now, mtu)


def _obey(c: Tcb, now: int, mtu: int) -> None:
    """If the path takes less than before, what is in flight was lost for its size."""
    c.mtu = mtu
    if not c.synchronized:
        return
    mss = sender.effective_mss(c)
    if mss == c.mss:
        return
    smaller = mss < c.mss
    c.mss = mss
    c.congestion.on_mss_change(now, mss)
    congestion_trace.record(c, now, causes.MTU_REDUCED if smaller else causes.MTU_RAISED)
    if smaller and c.board and len(c.board.first.payload) > mss:
        c.board.lose_all()
        sender.output(c, now, False)

"""The path's MTU as one connection believes it (RFC 1191, RFC 8201)."""

from __future__ import annotations

from nodes.base import causes
from nodes.base.clock import SECOND
from nodes.tcp import congestion_control, sender
from nodes.tcp.tcb import Tcb


def begin(c: Tcb, now: int) -> None:
    """Start with what the host knows of the path."""
    network = c.tcp.network
    c.mtu = network.mtu_to(now, c.remote)
    c.mtu_until = network.mtu_until(c.remote)


def refresh(c: Tcb, now: int) -> None:
    """Ask the layer below again, and obey it: what a router said is forgotten in time (`mtu_until`), so that a path
    that has become wider is found (RFC 8201 section 4). The caller sends what is then believed lost."""
    network = c.tcp.network
    mtu = network.mtu_to(now, c.remote)
    c.mtu_until = network.mtu_until(c.remote)
    _obey(c, now, mtu)


def too_big(c: Tcb, now: int, mtu: int) -> None:
    """A router says that what we have sent is larger than the `mtu` of its link."""
    if mtu < c.mtu:
        c.mtu_until = now + c.tcp.parameters.mtu_expires * SECOND
        if _obey(c, now, mtu):
            sender.output(c, now, False)


def _obey(c: Tcb, now: int, mtu: int) -> bool:
    """If the path takes less than before, what is in flight was lost for its size. Whether there is such."""
    c.mtu = mtu
    search = c.search
    if search is not None and mtu < search.high:
        search.high = mtu
    before = c.mss
    if not c.synchronized:
        return False
    resize(c, now, causes.NONE)
    if c.mss >= before or not c.board or len(c.board.first.payload) <= c.mss:
        return False
    c.board.lose_all()
    if c.board.losses:
        c.board.losses.clear()  # not lost by congestion
    return True


def resize(c: Tcb, now: int, cause: int) -> None:
    """Cut segments by what is known now. `cause` is NONE where a router has told of it."""
    before = c.mss
    mss = sender.effective_mss(c)
    if mss == before:
        return
    c.mss = mss
    congestion = c.congestion
    cwnd = congestion.cwnd
    congestion.on_mss_change(now, mss)
    if cause == causes.MTU_PROBED:
        # Larger segments, but not more bytes (RFC 4821 section 7.6.1).
        congestion.cwnd = cwnd
    c.cwnd_seen = -1  # to be recorded even so
    congestion_control.record(c, now, cause or (causes.MTU_REDUCED if mss < before else causes.MTU_RAISED))

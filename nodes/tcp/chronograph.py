"""How long a sender had something to send, and what it waited for: tcpi_busy_time, tcpi_rwnd_limited and
tcpi_sndbuf_limited of TCP_INFO (names and priorities as Linux has them)."""

from __future__ import annotations

from typing import Final

from nodes.tcp import states
from nodes.tcp.tcb import Tcb

#: Nothing to send; something is sent or waits; it waits for the peer's window alone; all is sent and the user's next
#: write waits for room in the send buffer.
IDLE: Final = 0
BUSY: Final = 1
RWND_LIMITED: Final = 2
SNDBUF_LIMITED: Final = 3


def look(c: Tcb, now: int) -> None:
    """Something was sent, acknowledged or written: has what the sender waits for changed?"""
    waiting = c.snd_queue.length
    if waiting:
        usable = c.snd_una + c.snd_wnd - c.snd_nxt
        kind = RWND_LIMITED if usable < c.mss and usable < waiting and _cwnd_lets(c) else BUSY
    elif c.snd_nxt > c.snd_una:
        kind = SNDBUF_LIMITED if c.blocked and _cwnd_lets(c) and c.state in _WRITABLE else BUSY
    else:
        kind = IDLE
    if kind != c.chrono:
        _add(c, now)
        c.chrono = kind


_WRITABLE: Final = (states.ESTABLISHED, states.CLOSE_WAIT)


def _cwnd_lets(c: Tcb) -> bool:
    """Whether the congestion window would let a segment go."""
    return c.board.flying + c.mss <= c.congestion.cwnd


def _add(c: Tcb, now: int) -> None:
    elapsed = now - c.chrono_since
    c.chrono_since = now
    if c.chrono != IDLE:
        c.busy_time += elapsed
        if c.chrono == RWND_LIMITED:
            c.rwnd_limited += elapsed
        elif c.chrono == SNDBUF_LIMITED:
            c.sndbuf_limited += elapsed


def read(c: Tcb, now: int) -> None:
    """Bring the three sums up to now."""
    if c.state == states.CLOSED:
        return
    _add(c, now)

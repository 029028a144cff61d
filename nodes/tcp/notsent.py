"""TCP_NOTSENT_LOWAT and tcp_notsent_lowat: who writes is to have little queued that was not sent yet, so that what it
writes next is the latest that it knows (tcp(7), ip-sysctl)."""

from __future__ import annotations

from typing import Final

from nodes.tcp.tcb import Tcb

#: The value that sets no limit.
NO_LIMIT: Final = 0xFFFF_FFFF
#: Linux fills its buffers piece by piece, each for one handing down to the device, and no larger than this.
_LARGEST_PIECE: Final = 65_535


def limit(c: Tcb) -> int:
    """With fewer bytes queued and not sent a write goes on; NO_LIMIT."""
    return c.options.notsent_lowat or c.tcp.parameters.tcp_notsent_lowat


def room(c: Tcb, most: int) -> int:
    """What a write may still queue under the limit `most`, bytes: the rest of a piece, or where that is full and the
    limit is not reached another. A piece is as long as half the largest window of the peer, in whole segments."""
    unsent = c.snd_queue.length
    piece = max(min(c.max_snd_wnd >> 1, _LARGEST_PIECE) // c.mss, 1) * c.mss
    begun = unsent % piece
    if begun:
        return piece - begun
    return piece if unsent < most else 0


def few(c: Tcb) -> bool:
    """Whether half as much waits as the limit says: then a writer is woken."""
    return c.snd_queue.length << 1 < limit(c)


def sent(c: Tcb) -> None:
    """Something was sent while a writer waits: it may be the time to wake it."""
    if (c.snd_queue.length + c.snd_nxt - c.snd_una) * 3 <= c.options.sndbuf * 2 and few(c):
        c.blocked = False
        c.ready = True

"""Listeners at one address and port (SO_REUSEPORT, socket(7)): each connection goes to one of them, by a hash of its
4-tuple that only this host can compute."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from nodes.tcp.isn import IsnGenerator

if TYPE_CHECKING:
    from nodes.tcp.listener import Listener

#: Of a socket that shares its port with nobody; who shares has its owner's uid.
ALONE: Final = -1


def index(isn: IsnGenerator, count: int, local: bytes, local_port: int, remote: bytes, remote_port: int) -> int:
    """Which of `count` sockets takes what comes from the remote end: the same for ever, while they are as many."""
    return isn.keyed(b"reuseport", local, local_port, remote, remote_port) * count >> 32


def join(listeners: dict[tuple[bytes, int], Listener], one: Listener) -> None:
    """`one`, which may listen there, is found at its address and port."""
    first = listeners.setdefault((one.local, one.local_port), one)
    if first is not one:
        first.group = first.group or [first]
        first.group.append(one)
        one.group = first.group


def leave(listeners: dict[tuple[bytes, int], Listener], one: Listener) -> None:
    """`one` is not found any more. As on Linux the last of the others takes its place, so that fewest move."""
    place = (one.local, one.local_port)
    group = one.group
    if not group or len(group) == 1:
        listeners.pop(place, None)
        return
    at = group.index(one)
    last = group.pop()
    if last is not one:
        group[at] = last
    listeners[place] = group[0]

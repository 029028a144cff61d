"""epoll of a script: level-triggered, edge-triggered and one-shot, on the sockets of its process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from lab.packetdrill.arguments import Arguments, CallFailed
from lab.packetdrill.descriptors import Socket
from lab.packetdrill.polling import events_of
from lab.packetdrill.problem import Mismatch
from lab.packetdrill.script import Struct

_KNOWN: Final = frozenset(
    (
        "EPOLLIN",
        "EPOLLPRI",
        "EPOLLOUT",
        "EPOLLRDHUP",
        "EPOLLERR",
        "EPOLLHUP",
        "EPOLLET",
        "EPOLLONESHOT",
        "EPOLLEXCLUSIVE",
    )
)
#: What is told whether it was asked for or not.
_ALWAYS: Final = frozenset(("EPOLLERR", "EPOLLHUP"))


@dataclass(slots=True)
class _Entry:
    """One descriptor that is watched. `seen` is what its socket was like when it was last told of."""

    socket: Socket
    wanted: frozenset[str]
    data: int
    seen: tuple[object, ...] | None = None
    disarmed: bool = False


class Epoll:
    """What epoll_create makes."""

    def __init__(self) -> None:
        self._entries: dict[int, _Entry] = {}

    def control(self, call: Arguments, socket: Socket) -> int:
        """epoll_ctl(epfd, EPOLL_CTL_..., fd, {events=..., fd=n}). Raises CallFailed EEXIST, ENOENT."""
        number = call.number(2)
        operation = call.name_at(1)
        if (number in self._entries) == (operation == "EPOLL_CTL_ADD"):
            raise CallFailed("EEXIST" if number in self._entries else "ENOENT")
        if operation == "EPOLL_CTL_DEL":
            del self._entries[number]
            return 0
        if operation not in ("EPOLL_CTL_ADD", "EPOLL_CTL_MOD"):
            raise call.refuse(operation)
        wanted, data = _event(call, call.struct(3))
        if not wanted <= _KNOWN:
            raise call.refuse(" ".join(sorted(wanted - _KNOWN)))
        self._entries[number] = _Entry(socket, wanted, data)
        return 0

    def forget(self, number: int) -> None:
        """The descriptor was closed."""
        self._entries.pop(number, None)

    def wait(self, call: Arguments) -> int:
        """epoll_wait(epfd, {events=..., fd=n}, most, timeout), as often as it takes: how many are ready. Raises
        Mismatch when some are, but otherwise than the script has it."""
        told: list[tuple[frozenset[str], int]] = []
        for entry in self._entries.values():
            found = _ready(entry)
            if found and len(told) < call.number(2):
                told.append((found, entry.data))
                entry.seen = _state(entry.socket)
                entry.disarmed = "EPOLLONESHOT" in entry.wanted
        if told:
            expected = _event(call, call.struct(1))
            if len(told) > 1 or told[0] != expected:
                words = ", ".join(f"{'|'.join(sorted(found))} of fd {data}" for found, data in told)
                raise Mismatch(call.line, f"epoll_wait gives {words}")
        return len(told)


def _event(call: Arguments, struct: Struct) -> tuple[frozenset[str], int]:
    events, data = struct.get("events"), struct.get("fd")
    return call.names_of(events if events is not None else 0), call.number_of(data if data is not None else 0)


def _ready(entry: _Entry) -> frozenset[str]:
    """What is to be told of it now."""
    if entry.disarmed or ("EPOLLET" in entry.wanted and entry.seen == _state(entry.socket)):
        return frozenset()
    return frozenset(f"EPOLL{name}" for name in events_of(entry.socket)) & (entry.wanted | _ALWAYS)


def _state(socket: Socket) -> tuple[object, ...]:
    """Changes with everything for which Linux wakes who waits: new data, an end, an error, room for a writer that had
    found none, something in the error queue, a connection to accept."""
    c = socket.connection
    if c is None:
        return (socket.listener is not None and len(socket.listener.accept_queue),)
    if socket.full and not c.blocked:
        socket.full = False
        socket.rooms += 1
    return (c.bytes_received, c.fin_received, c.state, c.error, socket.rooms, socket.errors.told)

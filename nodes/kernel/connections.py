"""The connections of a node by number, whoever has made them: our calls, or programs that run there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from nodes.base.errors import NotFound
from nodes.base.tasks import TaskRunner
from nodes.sockets.gate import Gate
from nodes.tcp import states
from nodes.tcp.info import TcpInfo

#: (local address, local port, remote address, remote port)
Key = tuple[bytes, int, bytes, int]

ACTIVE: Final = 1
PASSIVE: Final = 2
#: Connections that have ended and are still known, at most; the oldest are forgotten first.
MOST_ENDED: Final = 4096


class Connection:
    """What is known of one. `state` is the last one seen; `error` an errno name or ""; `info` the last TcpInfo."""

    __slots__ = ("cookie", "error", "gate", "info", "key", "last", "mine", "number", "origin", "seen_ns", "state")

    def __init__(self, number: int, key: Key, origin: int, runner: TaskRunner) -> None:
        self.number = number
        self.key = key
        self.origin = origin
        self.state = states.CLOSED
        self.error = ""
        self.info: TcpInfo | None = None
        #: Its struct tcp_info and congestion control when we closed it.
        self.last: tuple[bytes, str] = (b"", "")
        #: Ours, else that of another program of the node.
        self.mine = False
        #: The kernel's name for its socket, 0: unknown.
        self.cookie = 0
        #: When its state was last seen to change, ns of lab time.
        self.seen_ns = 0
        #: Notified at every change of state.
        self.gate = Gate(runner)


class Connections:
    """Numbers count from 1 and are never used again."""

    def __init__(self, name: str, runner: TaskRunner) -> None:
        self._name = name
        self._runner = runner
        #: How many numbers were given.
        self.numbered = 0
        self._by_number: dict[int, Connection] = {}
        self._by_key: dict[Key, Connection] = {}

    def add(self, key: Key, origin: int) -> Connection:
        """A new one, which takes the place of an older one between the same ends."""
        self.numbered += 1
        connection = Connection(self.numbered, key, origin, self._runner)
        self._by_number[self.numbered] = connection
        self._by_key[key] = connection
        if len(self._by_number) > 2 * MOST_ENDED:
            self._forget()
        return connection

    def at(self, key: Key) -> Connection | None:
        """The newest one between these ends."""
        return self._by_key.get(key)

    def get(self, number: int) -> Connection:
        """Raises NotFound."""
        connection = self._by_number.get(number)
        if connection is None:
            raise NotFound(f"{self._name} has no connection {number}")
        return connection

    def __contains__(self, number: int) -> bool:
        return number in self._by_number

    def __iter__(self) -> Iterator[Connection]:
        """Oldest first."""
        return iter(list(self._by_number.values()))

    def _forget(self) -> None:
        ended = [one for one in self._by_number.values() if one.state == states.CLOSED]
        for one in ended[: len(ended) - MOST_ENDED] if len(ended) > MOST_ENDED else ():
            del self._by_number[one.number]
            if self._by_key.get(one.key) is one:
                del self._by_key[one.key]

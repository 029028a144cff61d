"""What an application is: a coroutine on a node, with settings and with results that people can read."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Final, Generic, TypeVar

from nodes.apps.sockets import Datagrams, Listener, Sockets, Stream
from nodes.base.errors import InvalidArgument
from nodes.base.tasks import Task

S = TypeVar("S")

#: Metadata of the field for socket options.
OPTIONS: Final = {"doc": "Socket options such as TCP_NODELAY: 1."}


def setting(default: Any = dataclasses.MISSING, doc: str = "") -> Any:
    """A field of an application's settings. `doc` describes it in schemas."""
    return dataclasses.field(default=default, metadata={"doc": doc})


def check_range(field: str, value: int, lowest: int, highest: int) -> None:
    """Raise InvalidArgument unless lowest <= value <= highest."""
    if not lowest <= value <= highest:
        raise InvalidArgument(f"{field}: {value} is not allowed; {lowest} to {highest} is", field)


class App(ABC, Generic[S]):
    """One application called `name` on the node of `sockets`; `order` is the node's place in the run queue.

    `resolve` turns a node's name or an address in text into an address. `connections` are the numbers of those it
    has, in order. `results` can be read at any time and is complete when the task is done; a failed app's task has
    the error (SocketError, TimeoutError).
    """

    #: Its word in files and in the API.
    kind: ClassVar[str]
    #: A frozen dataclass; field names end in their unit where they have one (`interval_ns`).
    Settings: ClassVar[type[Any]]

    def __init__(self, name: str, sockets: Sockets, order: int, settings: S, resolve: Callable[[str], bytes]) -> None:
        self.name = name
        self.order = order
        self.sockets = sockets
        self.settings = settings
        self.resolve = resolve
        self.results: dict[str, int | str] = {}
        self.connections: list[int] = []
        self._held: list[Stream | Listener] = []
        self._datagrams: list[Datagrams] = []

    @property
    def node(self) -> str:
        """The name of its node."""
        return self.sockets.name

    @abstractmethod
    async def run(self) -> None:
        """Do the work. Returns when it is done; what is still open then is closed."""

    def start(self) -> Task:
        """Run it as a task of its node. Cancelling the task stops it."""
        return self.sockets.runner.spawn(self.order, self.name, self._run())

    async def _run(self) -> None:
        try:
            await self.run()
        finally:
            for held in self._held:
                held.release()
            for datagram in self._datagrams:
                datagram.close()

    # For subclasses.

    def report(self, what: str, value: int, connection: int = 0) -> None:
        """Put an APP event into the trace."""
        sockets = self.sockets
        sink = sockets.sink
        sink.app(sockets.now(), sockets.node, connection, sink.name(self.name), sink.name(what), value)

    def count(self, what: str, by: int = 1) -> None:
        """Add to a result."""
        self.results[what] = int(self.results.get(what, 0)) + by

    async def sleep(self, duration_ns: int) -> None:
        """Sleep for `duration_ns` of lab time."""
        await self.sockets.runner.sleep(duration_ns)

    async def connect(self, to: str, port: int, local_port: int = 0, options: dict[str, Any] | None = None) -> Stream:
        """Active OPEN, until established."""
        socket = self.sockets.open(self.resolve(to), port, local_port, options or {})
        self.hold(socket)
        await socket.established()
        return socket

    def listen(self, port: int, backlog: int = 128, options: dict[str, Any] | None = None) -> Listener:
        """Passive OPEN."""
        listener = self.sockets.listen(port, backlog, options or {})
        self._held.append(listener)
        return listener

    def hold(self, socket: Stream) -> None:
        """Close `socket` at the end, and list it among `connections`."""
        self._held.append(socket)
        self.connections.append(socket.number)

    def bind(self, port: int = 0) -> Datagrams:
        """A UDP socket."""
        socket = self.sockets.bind(port)
        self._datagrams.append(socket)
        return socket

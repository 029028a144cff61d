"""What applications need of their node, whatever its TCP is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from nodes.base.clock import NEVER
from nodes.base.event_sink import EventSink
from nodes.base.tasks import TaskRunner
from nodes.sockets.datagram import DatagramSocket
from nodes.sockets.driver import StackDriver
from nodes.sockets.stream import REUSED, StreamListener, StreamSocket, listen, open_stream


class Stream(Protocol):
    """A TCP connection; as `nodes.sockets.stream.StreamSocket`."""

    @property
    def number(self) -> int:
        """The connection's number on its node."""

    async def established(self, timeout_ns: int = NEVER) -> None:
        """Wait until the handshake is done."""

    async def send_all(self, data: bytes, timeout_ns: int = NEVER) -> None:
        """SEND all of `data`; returns when the send buffer has taken it."""

    async def recv(self, limit: int = 65536, timeout_ns: int = NEVER) -> bytes:
        """RECEIVE up to `limit` bytes, at least one; b"" at end of file."""

    async def recv_exactly(self, length: int, timeout_ns: int = NEVER) -> bytes:
        """RECEIVE `length` bytes; fewer only at end of file."""

    def shutdown(self) -> None:
        """Half-close."""

    def close(self) -> None:
        """CLOSE."""

    def abort(self) -> None:
        """ABORT: RST."""

    def release(self) -> None:
        """CLOSE unless that was done."""


class Listener(Protocol):
    """A listening socket."""

    async def accept(self, timeout_ns: int = NEVER) -> Stream:
        """The next established connection."""

    def release(self) -> None:
        """Close unless that was done."""


class Datagram(Protocol):
    """A datagram that was received."""

    @property
    def data(self) -> bytes:
        """Its payload."""


class Datagrams(Protocol):
    """A UDP socket."""

    def connect(self, remote: bytes, port: int) -> None:
        """Fix the other end."""

    def send_to(self, data: bytes, remote: bytes = b"", port: int = 0) -> None:
        """Send one datagram, to the connected end when none is named."""

    async def receive(self, timeout_ns: int = NEVER) -> Datagram:
        """The next datagram."""

    def close(self) -> None:
        """Unbind. Idempotent."""


class Sockets(Protocol):
    """The sockets of a node called `name`, its events and its time. All raise SocketError, InvalidArgument."""

    @property
    def name(self) -> str:
        """The node's name."""

    @property
    def node(self) -> int:
        """The same, interned in `sink`."""

    @property
    def sink(self) -> EventSink:
        """Where events go."""

    @property
    def runner(self) -> TaskRunner:
        """Runs tasks of the node."""

    def now(self) -> int:
        """The current instant, ns of lab time."""

    def open(self, remote: bytes, port: int, local_port: int, options: Mapping[str, object]) -> Stream:
        """Active OPEN: the SYN is sent now."""

    def listen(self, port: int, backlog: int, options: Mapping[str, object]) -> Listener:
        """Passive OPEN, on any address."""

    def bind(self, port: int) -> Datagrams:
        """A UDP socket; port 0: the node chooses."""


class StackSockets:
    """The sockets of a node with our stack."""

    def __init__(self, driver: StackDriver) -> None:
        self._driver = driver
        self.name = driver.stack.name
        self.node = driver.stack.node
        self.sink = driver.stack.sink
        self.runner = driver.runner
        self.now = driver.now

    def open(self, remote: bytes, port: int, local_port: int, options: Mapping[str, object]) -> StreamSocket:
        """Active OPEN: the SYN is sent now."""
        return open_stream(self._driver, remote, port, b"", local_port, options)

    def listen(self, port: int, backlog: int, options: Mapping[str, object]) -> StreamListener:
        """Passive OPEN, on any address."""
        return listen(self._driver, port, b"", backlog, {**REUSED, **options})

    def bind(self, port: int) -> DatagramSocket:
        """A UDP socket."""
        return DatagramSocket(self._driver, port)

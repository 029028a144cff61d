"""`Host`: the calls a user makes on a node, whatever its TCP is. The node's gRPC services are written against it.

Connections and listeners are meant by their numbers on the node. Calls that may wait are coroutines for the lab's
TaskRunner; `timeout_ns` is lab time (NEVER: no limit), after which they raise TimeoutError and nothing has changed.
Every method that takes a number raises NotFound for one that is unknown, and SocketError for what TCP refuses.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nodes.agent.payload import PLAIN, Payload, Received, SendFlags
from nodes.base.clock import NEVER
from nodes.base.tasks import Task
from nodes.tcp.info import TcpInfo


@dataclass(frozen=True, slots=True)
class ListenerInfo:
    """A listener. `local_address` is b"" for any address; the queues are counts of connections."""

    number: int
    local_address: bytes
    local_port: int
    backlog: int
    syn_queue: int
    accept_queue: int


@dataclass(frozen=True, slots=True)
class InterfaceInfo:
    """A network interface; `counters` has rx_packets, rx_bytes, rx_errors, rx_dropped and the same of tx. `ipv6`:
    its IPv6 addresses with their prefix lengths, the link-local one first."""

    name: str
    mac: bytes
    address: bytes
    prefix_len: int
    mtu: int
    counters: Mapping[str, int]
    ipv6: tuple[tuple[bytes, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Readiness:
    """What poll(2) would say. `error` is the errno name the connection failed with, or ""."""

    readable: bool
    writable: bool
    eof: bool
    error: str


@dataclass(frozen=True, slots=True)
class PingResult:
    """One echo request. `error` is "" when its reply came after `rtt_ns` from `address`; else it says what came
    instead, and `address` who said it (b"": nobody)."""

    sequence: int
    address: bytes
    rtt_ns: int
    ttl: int
    size: int
    error: str


@dataclass(frozen=True, slots=True)
class AppState:
    """An application. `results` are its own words, `connections` the numbers of those it has or had."""

    results: Mapping[str, int | str]
    connections: tuple[int, ...]


class Host(ABC):
    """One node. `order` is its position in the topology: where its tasks stand in the run queue."""

    name: str
    order: int

    # TCP, RFC 9293 section 3.9.1

    @abstractmethod
    def start_open(
        self,
        remote: bytes,
        remote_port: int,
        local: bytes = b"",
        local_port: int = 0,
        options: Mapping[str, object] | None = None,
    ) -> int:
        """Active OPEN; returns the connection's number as soon as the SYN is sent. Raises InvalidArgument."""

    @abstractmethod
    async def established(self, connection: int, timeout_ns: int = NEVER) -> None:
        """Wait until the connection is established; raises the SocketError it failed with instead."""

    async def open(
        self,
        remote: bytes,
        remote_port: int,
        local: bytes = b"",
        local_port: int = 0,
        options: Mapping[str, object] | None = None,
        timeout_ns: int = NEVER,
    ) -> int:
        """Active OPEN, and wait until it is established."""
        connection = self.start_open(remote, remote_port, local, local_port, options)
        await self.established(connection, timeout_ns)
        return connection

    @abstractmethod
    def listen(
        self, local_port: int, local: bytes = b"", backlog: int = 128, options: Mapping[str, object] | None = None
    ) -> int:
        """Passive OPEN; returns the listener's number. `local` b"" is any of the node's addresses, zeros any of one
        family. As servers do, it has SO_REUSEADDR unless `options` say otherwise."""

    @abstractmethod
    def close_listener(self, listener: int) -> None:
        """Stop listening; connections nobody has accepted are reset."""

    @abstractmethod
    async def accept(self, listener: int, timeout_ns: int = NEVER) -> int:
        """The next established connection of a listener."""

    @abstractmethod
    async def send(self, connection: int, payload: Payload, timeout_ns: int = NEVER, flags: SendFlags = PLAIN) -> int:
        """SEND; returns the number of bytes, all of them, when the send buffer has taken them."""

    @abstractmethod
    async def receive(
        self, connection: int, max_bytes: int = 65536, min_bytes: int = 1, keep: bool = True, timeout_ns: int = NEVER
    ) -> Received:
        """RECEIVE `min_bytes` to `max_bytes`; less at end of file, or when an error or the timeout comes and something
        has come before it. Without `keep` the bytes are only counted and digested."""

    @abstractmethod
    async def receive_urgent(self, connection: int, timeout_ns: int = NEVER) -> Received:
        """The urgent byte, apart from the stream (MSG_OOB), when it has come; nothing when the FIN comes first."""

    @abstractmethod
    async def wait_ready(self, connection: int, read: bool, write: bool, timeout_ns: int = NEVER) -> tuple[bool, bool]:
        """Wait until the connection is readable or writable, whichever is asked; returns which is."""

    @abstractmethod
    async def closed(self, connection: int, timeout_ns: int = NEVER) -> None:
        """Wait until the connection is CLOSED (after TIME-WAIT)."""

    @abstractmethod
    def shutdown(self, connection: int) -> None:
        """Half-close: no more sending; FIN follows what is queued."""

    @abstractmethod
    def close(self, connection: int) -> None:
        """CLOSE, without waiting."""

    @abstractmethod
    async def linger(self, connection: int) -> None:
        """CLOSE as close(2) with SO_LINGER: wait until all is acknowledged, our FIN too, for that option's seconds."""

    @abstractmethod
    def abort(self, connection: int) -> None:
        """ABORT: RST."""

    @abstractmethod
    def has_connection(self, connection: int) -> bool:
        """Whether there is, or was, a connection of that number."""

    @abstractmethod
    def status(self, connection: int) -> TcpInfo:
        """STATUS; of ended connections too. Looking leaves no trace."""

    @abstractmethod
    def statuses(self) -> list[TcpInfo]:
        """STATUS of every connection, ended ones included, oldest first."""

    @abstractmethod
    def readiness(self, connection: int) -> Readiness:
        """What can be done with the connection now."""

    @abstractmethod
    def set_option(self, connection: int, name: str, value: object) -> None:
        """Set a socket option such as TCP_NODELAY. Raises InvalidArgument."""

    @abstractmethod
    def get_option(self, connection: int, name: str) -> int | str:
        """A socket option. Raises InvalidArgument."""

    @abstractmethod
    def listeners(self) -> list[ListenerInfo]:
        """Open listeners, oldest first."""

    # the host

    @abstractmethod
    def parameters(self) -> Mapping[str, int | str]:
        """Every knob by its sysctl name."""

    @abstractmethod
    def set_parameters(self, values: Mapping[str, object]) -> None:
        """Change knobs, all or none. Raises InvalidArgument."""

    @abstractmethod
    def counters(self) -> Mapping[str, int]:
        """Every counter by its nstat name."""

    @abstractmethod
    def interfaces(self) -> list[InterfaceInfo]:
        """The interfaces, loopback first."""

    @abstractmethod
    async def ping(
        self,
        remote: bytes,
        count: int = 1,
        interval_ns: int = 1_000_000_000,
        size: int = 56,
        ttl: int = 0,
        timeout_ns: int = 1_000_000_000,
    ) -> list[PingResult]:
        """Send `count` echo requests, one per `interval_ns`, each with its own `timeout_ns`. `ttl` 0: the default."""

    @abstractmethod
    def send_raw(self, packet: bytes) -> None:
        """Send an IP packet as it is. Raises SocketError when there is no way to its destination."""

    # applications

    @abstractmethod
    def start_app(self, name: str, kind: str, settings: Any) -> Task:
        """Start an application of `nodes.apps` now; `settings` is one of its class. Cancelling the task stops it, and
        it closes what it holds."""

    @abstractmethod
    def app(self, name: str) -> AppState:
        """How far an application is. Raises NotFound."""

"""A Host whose TCP is the kernel's, in the network namespace of the calling thread."""

from __future__ import annotations

import dataclasses
import hashlib
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from nodes.agent.host import AppState, Host, InterfaceInfo, ListenerInfo, PingResult, Readiness
from nodes.agent.payload import PLAIN, Payload, Received, SendFlags
from nodes.apps.base import App
from nodes.apps.catalogue import APPS
from nodes.base import causes
from nodes.base.clock import MILLISECOND, NEVER, SECOND
from nodes.base.errors import InvalidArgument, NotFound, SocketError
from nodes.base.event_sink import EventSink
from nodes.base.real import RealScheduler
from nodes.base.tasks import Task, TaskRunner
from nodes.kernel import sysctls, tcp_info
from nodes.kernel.connections import ACTIVE, Connection, Connections
from nodes.kernel.context import Context
from nodes.kernel.counters import read_counters
from nodes.kernel.datagrams import KernelDatagrams
from nodes.kernel.failures import socket_error
from nodes.kernel.follower import Follower
from nodes.kernel.interfaces import interfaces
from nodes.kernel.listeners import KernelListener, listen
from nodes.kernel.options import get_option
from nodes.kernel.pinging import ping
from nodes.kernel.sock_diag import Listed, SockDiag
from nodes.kernel.streams import KernelStream, open_stream
from nodes.packet.address import address_text
from nodes.sockets.stream import LEAVING
from nodes.tcp import states
from nodes.tcp.info import TcpInfo

_PIECE: Final = 1 << 18
#: How often the kernel is asked whether a connection has ended, by whoever waits for that.
_ASK_NS: Final = 20 * MILLISECOND
#: The kernel has the peer's FIN, or its acknowledgment of ours, in these (TIME-WAIT has no struct tcp_info).
_FIN_RECEIVED: Final = (states.CLOSE_WAIT, states.LAST_ACK, states.CLOSING)
_FIN_ACKNOWLEDGED: Final = (states.FIN_WAIT_2,)
_SYN_RECEIVED_ONLY: Final = 1 << states.SYN_RECEIVED | 1 << 12


class KernelSockets:
    """The sockets of a node for applications (`nodes.apps.sockets.Sockets`)."""

    def __init__(self, name: str, context: Context) -> None:
        self.name = name
        self.node = context.node
        self.sink = context.sink
        self.runner = context.runner
        self.now = context.scheduler.now
        self._context = context

    def open(self, remote: bytes, port: int, local_port: int, options: Mapping[str, object]) -> KernelStream:
        """Active OPEN: the SYN is sent now."""
        return open_stream(self._context, remote, port, b"", local_port, options)

    def listen(self, port: int, backlog: int, options: Mapping[str, object]) -> KernelListener:
        """Passive OPEN, on any address."""
        return listen(self._context, port, b"", backlog, options)

    def bind(self, port: int) -> KernelDatagrams:
        """A UDP socket."""
        return KernelDatagrams(self._context, port)


class KernelHost(Host):
    """One node with the kernel's stack. `resolve` turns names of nodes and addresses in text into addresses, for
    applications. Connections that other programs of the node make have numbers too, once they are seen; they can be
    looked at, not used."""

    def __init__(
        self,
        name: str,
        order: int,
        scheduler: RealScheduler,
        runner: TaskRunner,
        sink: EventSink,
        resolve: Callable[[str], bytes],
    ) -> None:
        self.name = name
        self.order = order
        self.connections = Connections(name, runner)
        self.follower = Follower(scheduler, self.connections, sink, sink.name(name))
        self.diag = SockDiag()
        self._scheduler = scheduler
        self._runner = runner
        self._context = Context(scheduler, runner, sink, sink.name(name), self.connections, self.follower)
        self._resolve = resolve
        self._apps: dict[str, App[Any]] = {}
        self._set: set[str] = set()

    # What stands behind a number.

    def _stream(self, number: int, errno_name: str = "EBADF") -> KernelStream:
        stream = self._context.streams.get(number)
        if stream is not None:
            return stream
        connection = self.connections.get(number)
        if not connection.mine:
            words = f"{causes.CAUSES[causes.ERROR_ILLEGAL].words}: another program of {self.name} has it"
            raise SocketError("EPERM", words)
        closed = connection.state == states.CLOSED
        raise SocketError(
            errno_name, causes.CAUSES[causes.ERROR_DOES_NOT_EXIST if closed else causes.ERROR_CLOSING].words
        )

    def _listener(self, number: int) -> KernelListener:
        listener = self._context.listeners.get(number)
        if listener is None:
            raise NotFound(f"{self.name} has no listener {number}")
        return listener

    # TCP

    def start_open(
        self,
        remote: bytes,
        remote_port: int,
        local: bytes = b"",
        local_port: int = 0,
        options: Mapping[str, object] | None = None,
    ) -> int:
        return open_stream(self._context, remote, remote_port, local, local_port, options).number

    async def established(self, connection: int, timeout_ns: int = NEVER) -> None:
        await self._stream(connection).established(timeout_ns)

    def listen(
        self, local_port: int, local: bytes = b"", backlog: int = 128, options: Mapping[str, object] | None = None
    ) -> int:
        return listen(self._context, local_port, local, backlog, options).number

    def close_listener(self, listener: int) -> None:
        self._listener(listener).close()

    async def accept(self, listener: int, timeout_ns: int = NEVER) -> int:
        return (await self._listener(listener).accept(timeout_ns)).number

    async def send(self, connection: int, payload: Payload, timeout_ns: int = NEVER, flags: SendFlags = PLAIN) -> int:
        stream = self._stream(connection, "EPIPE")
        deadline = self._context.deadline(timeout_ns)
        offset = 0
        while piece := payload.part(offset, _PIECE):
            offset += len(piece)
            await stream.send_all(piece, self._left(deadline), flags if offset == payload.length else PLAIN)
        return offset

    async def receive(
        self, connection: int, max_bytes: int = 65536, min_bytes: int = 1, keep: bool = True, timeout_ns: int = NEVER
    ) -> Received:
        stream = self._stream(connection)
        deadline = self._context.deadline(timeout_ns)
        digest = hashlib.sha256()
        parts: list[bytes] = []
        length = 0
        eof = False
        while length < max_bytes:
            try:
                data = stream.receive(min(max_bytes - length, _PIECE))
                if data is None:
                    if length >= max(min_bytes, 1):
                        break
                    data = await stream.recv(min(max_bytes - length, _PIECE), self._left(deadline))
            except (TimeoutError, SocketError):
                if not length:
                    raise
                break
            if not data:
                eof = True
                break
            length += len(data)
            digest.update(data)
            if keep:
                parts.append(data)
        return Received(b"".join(parts), length, digest.hexdigest(), eof or (length > 0 and stream.at_eof()))

    async def receive_urgent(self, connection: int, timeout_ns: int = NEVER) -> Received:
        return Received.of(await self._stream(connection).recv_urgent(timeout_ns))

    def _left(self, deadline: int) -> int:
        return NEVER if deadline == NEVER else max(0, deadline - self._scheduler.now())

    async def wait_ready(self, connection: int, read: bool, write: bool, timeout_ns: int = NEVER) -> tuple[bool, bool]:
        return await self._stream(connection).ready(read, write, timeout_ns)

    async def closed(self, connection: int, timeout_ns: int = NEVER) -> None:
        await self._until(connection, lambda state: state == states.CLOSED, "CLOSED", timeout_ns)

    async def _until(self, connection: int, reached: Callable[[int], bool], what: str, timeout_ns: int) -> None:
        """Wait for a state. Raises TimeoutError."""
        one = self.connections.get(connection)
        deadline = self._context.deadline(timeout_ns)
        while not reached(self._refresh(one).state):
            now = self._scheduler.now()
            if now >= deadline:
                raise TimeoutError(f"connection {connection} of {self.name} is {states.STATE_NAMES[one.state]}")
            try:
                await one.gate.wait(f"{what} of connection {connection}", min(deadline, now + _ASK_NS))
            except TimeoutError:
                continue

    def shutdown(self, connection: int) -> None:
        self._stream(connection).shutdown()

    def close(self, connection: int) -> None:
        self._stream(connection).close()

    async def linger(self, connection: int) -> None:
        stream = self._stream(connection)
        seconds = int(self.get_option(connection, "SO_LINGER"))
        stream.close()
        if seconds > 0:
            with suppress(TimeoutError):
                await self._until(connection, lambda state: state not in LEAVING, "the last ACK", seconds * SECOND)

    def abort(self, connection: int) -> None:
        self._stream(connection).abort()

    def has_connection(self, connection: int) -> bool:
        return connection in self.connections

    def status(self, connection: int) -> TcpInfo:
        return self._info(self._refresh(self.connections.get(connection)))

    def statuses(self) -> list[TcpInfo]:
        self.follower.catch_up()
        asked_ns = self._scheduler.real_now()
        listed = _by_ends(self.diag.sockets())
        return [self._info(self._take(one, listed.get(one.key), asked_ns)) for one in self.connections]

    def _refresh(self, connection: Connection) -> Connection:
        """Have the state and the numbers of a connection from the kernel."""
        if connection.state != states.CLOSED or connection.info is None:
            self.follower.catch_up()
            asked_ns = self._scheduler.real_now()
            return self._take(connection, _by_ends(self.diag.sockets()).get(connection.key), asked_ns)
        return connection

    def _take(self, connection: Connection, listed: Listed | None, asked_ns: int) -> Connection:
        newest = self.connections.at(connection.key) is connection
        state = listed.state if listed is not None and newest else states.CLOSED
        self.follower.asked(asked_ns, connection, state)
        stream = self._context.streams.get(connection.number)
        data, congestion = b"", ""
        if listed is not None and newest and listed.info:
            data, congestion = listed.info, listed.congestion
        elif stream is not None:
            data, congestion = stream.info()
        elif connection.info is None or not newest or listed is None:
            data, congestion = connection.last
        if data:
            raw = tcp_info.parse(data)
            unread = listed.unread if listed is not None else 0
            unacked = max(listed.unacked - raw.notsent_bytes, 0) if listed is not None else 0
            numbers = self.follower.flow(connection).numbers
            connection.info = tcp_info.tcp_info(
                raw,
                _who(connection),
                asked_ns,
                congestion,
                unread,
                unacked,
                numbers,
                self._not_data(connection, raw.state),
            )
        return connection

    def _info(self, connection: Connection) -> TcpInfo:
        if connection.info is None:
            numbers = self.follower.flow(connection).numbers
            connection.info = tcp_info.tcp_info(tcp_info.parse(b""), _who(connection), 0, "", 0, 0, numbers, (0, 0))
        flow = self.follower.flow(connection)
        return dataclasses.replace(
            connection.info,
            state=connection.state,
            state_name=states.STATE_NAMES[connection.state],
            error=connection.error,
            # What came after the kernel was last asked for it.
            bytes_acked=max(connection.info.bytes_acked, flow.bytes_acked),
            bytes_received=max(connection.info.bytes_received, flow.bytes_received),
            delivered=max(connection.info.delivered, flow.bytes_acked),
        )

    def _not_data(self, connection: Connection, state: int) -> tuple[int, int]:
        """How much of what the kernel counts as bytes acknowledged, and received, is SYN and FIN."""
        flow = self.follower.flow(connection)
        ended = state == states.CLOSED
        syn = int(connection.origin == ACTIVE and state != states.SYN_SENT)
        ours = state in _FIN_ACKNOWLEDGED or (ended and flow.fin_acknowledged)
        theirs = state in _FIN_RECEIVED or (ended and flow.fin_taken)
        return syn + ours, int(theirs)

    def readiness(self, connection: int) -> Readiness:
        one = self.connections.get(connection)
        stream = self._context.streams.get(connection)
        if stream is None:
            return Readiness(False, False, False, one.error)
        return Readiness(stream.waiting, stream.has_room, stream.at_eof(), one.error)

    def set_option(self, connection: int, name: str, value: object) -> None:
        self._stream(connection).set_option(name, value)

    def get_option(self, connection: int, name: str) -> int | str:
        stream = self._stream(connection)
        assert stream.socket is not None  # else there is no stream
        return get_option(stream.socket, name)

    def listeners(self) -> list[ListenerInfo]:
        arriving: dict[int, int] = {}
        for one in self.diag.sockets(_SYN_RECEIVED_ONLY, with_info=False):
            arriving[one.local_port] = arriving.get(one.local_port, 0) + 1
        waiting = {
            (one.local, one.local_port): one.unread for one in self.diag.sockets(1 << states.LISTEN, with_info=False)
        }
        return [
            ListenerInfo(
                number,
                listener.local,
                listener.port,
                listener.backlog,
                arriving.get(listener.port, 0),
                waiting.get((listener.local or bytes(4), listener.port), 0),
            )
            for number, listener in self._context.listeners.items()
        ]

    # the host

    def parameters(self) -> Mapping[str, int | str]:
        values = sysctls.read_all()
        return {**values, **{name: sysctls.read(name) for name in sorted(self._set) if name not in values}}

    def set_parameters(self, values: Mapping[str, object]) -> None:
        sysctls.write_all(values)
        self._set |= {sysctls.short_name(sysctls.full_name(name)) for name in values}

    def counters(self) -> Mapping[str, int]:
        return read_counters()

    def interfaces(self) -> list[InterfaceInfo]:
        return interfaces()

    async def ping(
        self,
        remote: bytes,
        count: int = 1,
        interval_ns: int = 1_000_000_000,
        size: int = 56,
        ttl: int = 0,
        timeout_ns: int = 1_000_000_000,
    ) -> list[PingResult]:
        return await ping(self._context, remote, count, interval_ns, size, ttl, timeout_ns)

    def send_raw(self, packet: bytes) -> None:
        version = packet[0] >> 4 if packet else 0
        if (version, len(packet) >= 20) != (4, True) and (version, len(packet) >= 40) != (6, True):
            raise InvalidArgument("packet: it is no IP packet", "packet")
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        with socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_RAW) as raw:
            try:
                raw.sendto(packet, (address_text(packet[16:20] if version == 4 else packet[24:40]), 0))
            except OSError as error:
                raise socket_error(error) from None

    # applications

    def start_app(self, name: str, kind: str, settings: Any) -> Task:
        sockets = KernelSockets(self.name, self._context)
        app = self._apps[name] = APPS[kind](name, sockets, self.order, settings, self._resolve)
        return app.start()

    def app(self, name: str) -> AppState:
        app = self._apps.get(name)
        if app is None:
            raise NotFound(f"{self.name} has no app {name}")
        return AppState(dict(app.results), tuple(app.connections))


def _who(connection: Connection) -> tcp_info.Identity:
    return tcp_info.Identity(connection.number, *connection.key)


def _by_ends(listed: list[Listed]) -> dict[tuple[bytes, int, bytes, int], Listed]:
    return {(one.local, one.local_port, one.remote, one.remote_port): one for one in listed}

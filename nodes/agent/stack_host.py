"""A Host whose TCP is ours: a Stack in lab time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Final

from nodes.agent.host import AppState, Host, InterfaceInfo, ListenerInfo, PingResult, Readiness
from nodes.agent.payload import PLAIN, Payload, Received, SendFlags
from nodes.apps.base import App
from nodes.apps.catalogue import APPS
from nodes.apps.sockets import StackSockets
from nodes.base.clock import NEVER, Scheduler
from nodes.base.errors import InvalidArgument, NotFound
from nodes.base.tasks import Task, TaskRunner
from nodes.ip.ping import PingAnswer
from nodes.packet import icmp, icmp6
from nodes.packet.address import address_text
from nodes.sockets.driver import Send, StackDriver
from nodes.sockets.gate import Gate
from nodes.sockets.stream import REUSED, StreamListener, StreamSocket, listen, open_stream, stream_of
from nodes.stack import Stack
from nodes.tcp.connection import Connection
from nodes.tcp.info import TcpInfo, info

#: The most a ping may ask for.
MAX_PING_COUNT = 10_000
MAX_PING_SIZE = 65_507
#: What one RECEIVE of `receive` asks for, and what one SEND of `send` gives: bounds of memory, not of meaning.
_PIECE: Final = 1 << 18


class StackHost(Host):
    """One node with our stack. `resolve` turns names of nodes and addresses in text into addresses, for applications.

    `ports[interface_index](frame)` sends a frame; `receive_frame` takes those that arrive.
    """

    def __init__(
        self,
        stack: Stack,
        scheduler: Scheduler,
        runner: TaskRunner,
        order: int,
        ports: list[Send],
        resolve: Callable[[str], bytes],
    ) -> None:
        self.name = stack.name
        self.order = order
        self.stack = stack
        self.driver = StackDriver(stack, scheduler, runner, ports)
        self.receive_frame = self.driver.receive_frame
        self._resolve = resolve
        self._apps: dict[str, App[Any]] = {}

    # What stands behind a number.

    def socket(self, connection: int) -> StreamSocket:
        """The socket of a connection, for coroutines of this node. Raises NotFound."""
        return stream_of(self.driver, connection)

    def _connection(self, number: int) -> Connection:
        connection = self.stack.tcp.connections.get(number)
        if connection is None:
            raise NotFound(f"{self.name} has no connection {number}")
        return connection

    def _listener(self, number: int) -> StreamListener:
        listener = self.driver.listeners.get(number)
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
        return open_stream(self.driver, remote, remote_port, local, local_port, options).number

    async def established(self, connection: int, timeout_ns: int = NEVER) -> None:
        await self.socket(connection).established(timeout_ns)

    def listen(
        self, local_port: int, local: bytes = b"", backlog: int = 128, options: Mapping[str, object] | None = None
    ) -> int:
        return listen(self.driver, local_port, local, backlog, {**REUSED, **(options or {})}).number

    def close_listener(self, listener: int) -> None:
        self._listener(listener).close()

    async def accept(self, listener: int, timeout_ns: int = NEVER) -> int:
        return (await self._listener(listener).accept(timeout_ns)).number

    async def send(self, connection: int, payload: Payload, timeout_ns: int = NEVER, flags: SendFlags = PLAIN) -> int:
        socket = self.socket(connection)
        deadline = self.driver.deadline(timeout_ns)
        offset = 0
        while piece := payload.part(offset, _PIECE):
            offset += len(piece)
            await socket.send_all(piece, self._left(deadline), *(flags if offset == payload.length else PLAIN))
        return offset

    async def receive(
        self, connection: int, max_bytes: int = 65536, min_bytes: int = 1, keep: bool = True, timeout_ns: int = NEVER
    ) -> Received:
        socket = self.socket(connection)
        c = socket.connection
        deadline = self.driver.deadline(timeout_ns)
        digest = hashlib.sha256()
        parts: list[bytes] = []
        length = 0
        eof = False
        while length < max_bytes:
            if length and not c.buffered and (c.error_pending or length >= min_bytes):
                eof = c.eof
                break
            try:
                data = await socket.recv(min(max_bytes - length, _PIECE), self._left(deadline))
            except TimeoutError:
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
        return Received(b"".join(parts), length, digest.hexdigest(), eof)

    async def receive_urgent(self, connection: int, timeout_ns: int = NEVER) -> Received:
        return Received.of(await self.socket(connection).recv_urgent(timeout_ns))

    def _left(self, deadline: int) -> int:
        return NEVER if deadline == NEVER else max(0, deadline - self.driver.now())

    async def wait_ready(self, connection: int, read: bool, write: bool, timeout_ns: int = NEVER) -> tuple[bool, bool]:
        return await self.socket(connection).ready(read, write, timeout_ns)

    async def closed(self, connection: int, timeout_ns: int = NEVER) -> None:
        await self.socket(connection).closed(timeout_ns)

    def shutdown(self, connection: int) -> None:
        self._act(self._connection(connection).shutdown)

    def close(self, connection: int) -> None:
        self._act(self._connection(connection).close)

    async def linger(self, connection: int) -> None:
        await self.socket(connection).linger()

    def abort(self, connection: int) -> None:
        self._act(self._connection(connection).abort)

    def _act(self, call: Callable[[int], None]) -> None:
        """Make a call that does not wait, and send what it wants sent."""
        try:
            call(self.driver.now())
        finally:
            self.driver.flush()

    def has_connection(self, connection: int) -> bool:
        return connection in self.stack.tcp.connections

    def status(self, connection: int) -> TcpInfo:
        return info(self._connection(connection), self.driver.now())

    def statuses(self) -> list[TcpInfo]:
        now = self.driver.now()
        return [info(connection, now) for connection in self.stack.tcp.connections.values()]

    def readiness(self, connection: int) -> Readiness:
        c = self._connection(connection)
        return Readiness(c.readable, c.writable, c.eof, c.error)

    def set_option(self, connection: int, name: str, value: object) -> None:
        one = self._connection(connection)
        self._act(lambda now: one.set_option(now, name, value))

    def get_option(self, connection: int, name: str) -> int | str:
        return self._connection(connection).get_option(name)

    def listeners(self) -> list[ListenerInfo]:
        return [
            ListenerInfo(
                number,
                stream.listener.local,
                stream.listener.local_port,
                stream.listener.backlog,
                len(stream.listener.syn_queue),
                len(stream.listener.accept_queue),
            )
            for number, stream in self.driver.listeners.items()
        ]

    # the host

    def parameters(self) -> Mapping[str, int | str]:
        return self.stack.parameters.as_dict()

    def set_parameters(self, values: Mapping[str, object]) -> None:
        self.stack.parameters.set_all(values)

    def counters(self) -> Mapping[str, int]:
        return self.stack.counters.as_dict()

    def interfaces(self) -> list[InterfaceInfo]:
        return [
            InterfaceInfo(
                interface.name,
                interface.mac,
                interface.address,
                interface.prefix_len,
                interface.mtu,
                interface.as_dict(),
                tuple(interface.ipv6),
            )
            for interface in (self.stack.loopback, *self.stack.interfaces)
        ]

    async def ping(
        self,
        remote: bytes,
        count: int = 1,
        interval_ns: int = 1_000_000_000,
        size: int = 56,
        ttl: int = 0,
        timeout_ns: int = 1_000_000_000,
    ) -> list[PingResult]:
        for field, value, lowest, highest in (
            ("count", count, 1, MAX_PING_COUNT),
            ("size", size, 0, MAX_PING_SIZE),
            ("ttl", ttl, 0, 255),
            ("interval_ns", interval_ns, 0, NEVER),
            ("timeout_ns", timeout_ns, 0, NEVER),
        ):
            if not lowest <= value <= highest:
                raise InvalidArgument(f"{field}: {value} is not allowed; {lowest} to {highest} is", field)
        driver = self.driver
        gate = Gate(driver.runner)
        answers: dict[int, PingAnswer] = {}

        def answered(answer: PingAnswer) -> None:
            answers.setdefault(answer.sequence, answer)
            gate.notify()

        ping = self.stack.icmp.pings.open(remote, answered)
        try:
            for sequence in range(1, count + 1):
                sent_at = driver.now()
                try:
                    ping.send(sent_at, sequence, size, ttl)
                finally:
                    driver.flush()
                if sequence < count:
                    await driver.runner.sleep_until(sent_at + interval_ns)
            last = driver.deadline(timeout_ns)
            while len(answers) < count and driver.now() < last:
                try:
                    await gate.wait(f"echo reply from {address_text(remote)}", last)
                except TimeoutError:
                    break
        finally:
            ping.close()
        return [_result(sequence, answers.get(sequence), timeout_ns) for sequence in range(1, count + 1)]

    def send_raw(self, packet: bytes) -> None:
        self._act(lambda now: self.stack.send_raw_ip(now, packet))

    # applications

    def start_app(self, name: str, kind: str, settings: Any) -> Task:
        app = self._apps[name] = APPS[kind](name, StackSockets(self.driver), self.order, settings, self._resolve)
        return app.start()

    def app(self, name: str) -> AppState:
        app = self._apps.get(name)
        if app is None:
            raise NotFound(f"{self.name} has no app {name}")
        return AppState(dict(app.results), tuple(app.connections))


def _result(sequence: int, answer: PingAnswer | None, timeout_ns: int) -> PingResult:
    if answer is None or answer.rtt_ns > timeout_ns:
        return PingResult(sequence, b"", 0, 0, 0, "no answer")
    error = ""
    if len(answer.address) == 16:
        if answer.type == icmp6.DESTINATION_UNREACHABLE:
            error = _UNREACHABLE6.get(answer.code, f"destination unreachable, code {answer.code}")
        elif answer.type != icmp6.ECHO_REPLY:
            error = _ERRORS6.get(answer.type, f"ICMPv6 type {answer.type}, code {answer.code}")
    elif answer.type == icmp.DESTINATION_UNREACHABLE:
        error = _UNREACHABLE.get(answer.code, f"destination unreachable, code {answer.code}")
    elif answer.type == icmp.TIME_EXCEEDED:
        error = "time exceeded"
    elif answer.type != icmp.ECHO_REPLY:
        error = f"ICMP type {answer.type}, code {answer.code}"
    return PingResult(sequence, answer.address, answer.rtt_ns, answer.ttl, answer.size, error)


_UNREACHABLE = {
    icmp.NET_UNREACHABLE: "network unreachable",
    icmp.HOST_UNREACHABLE: "host unreachable",
    icmp.PROTOCOL_UNREACHABLE: "protocol unreachable",
    icmp.PORT_UNREACHABLE: "port unreachable",
    icmp.FRAGMENTATION_NEEDED: "fragmentation needed",
}
_UNREACHABLE6 = {
    icmp6.NO_ROUTE: "network unreachable",
    icmp6.ADMINISTRATIVELY_PROHIBITED: "administratively prohibited",
    icmp6.BEYOND_SCOPE: "beyond the scope of the source address",
    icmp6.ADDRESS_UNREACHABLE: "host unreachable",
    icmp6.PORT_UNREACHABLE: "port unreachable",
}
_ERRORS6 = {
    icmp6.PACKET_TOO_BIG: "packet too big",
    icmp6.TIME_EXCEEDED: "time exceeded",
    icmp6.PARAMETER_PROBLEM: "parameter problem",
}

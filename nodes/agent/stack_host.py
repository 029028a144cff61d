"""A Host whose TCP is ours: a Stack in lab time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nodes.agent.host import Host, InterfaceInfo, ListenerInfo, PingResult, Readiness
from nodes.base.clock import NEVER, Scheduler
from nodes.base.errors import InvalidArgument, NotFound
from nodes.base.tasks import TaskRunner
from nodes.ip.ping import PingAnswer
from nodes.packet import icmp
from nodes.packet.address import address_text
from nodes.sockets.driver import Send, StackDriver
from nodes.sockets.gate import Gate
from nodes.sockets.stream import StreamListener, StreamSocket, listen, open_stream, stream_of
from nodes.stack import Stack
from nodes.tcp.connection import Connection
from nodes.tcp.info import TcpInfo

#: The most a ping may ask for.
MAX_PING_COUNT = 10_000
MAX_PING_SIZE = 65_507


class StackHost(Host):
    """One node with our stack. `order` is its position in the topology: where its tasks stand in the run queue.

    `ports[interface_index](frame)` sends a frame; `receive_frame` takes those that arrive.
    """

    def __init__(
        self, stack: Stack, scheduler: Scheduler, runner: TaskRunner, order: int, ports: Sequence[Send]
    ) -> None:
        self.name = stack.name
        self.order = order
        self.stack = stack
        self.driver = StackDriver(stack, scheduler, runner, ports)
        self.receive_frame = self.driver.receive_frame

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
        return listen(self.driver, local_port, local, backlog, options).number

    def close_listener(self, listener: int) -> None:
        self._listener(listener).close()

    async def accept(self, listener: int, timeout_ns: int = NEVER) -> int:
        return (await self._listener(listener).accept(timeout_ns)).number

    async def send(self, connection: int, data: bytes, timeout_ns: int = NEVER) -> int:
        await self.socket(connection).send_all(data, timeout_ns)
        return len(data)

    async def receive(self, connection: int, max_bytes: int, exact: bool = False, timeout_ns: int = NEVER) -> bytes:
        socket = self.socket(connection)
        if exact:
            return await socket.recv_exactly(max_bytes, timeout_ns)
        return await socket.recv(max_bytes, timeout_ns)

    async def wait_ready(self, connection: int, read: bool, write: bool, timeout_ns: int = NEVER) -> tuple[bool, bool]:
        return await self.socket(connection).ready(read, write, timeout_ns)

    async def closed(self, connection: int, timeout_ns: int = NEVER) -> None:
        await self.socket(connection).closed(timeout_ns)

    def shutdown(self, connection: int) -> None:
        self.socket(connection).shutdown()

    def close(self, connection: int) -> None:
        self.socket(connection).close()

    def abort(self, connection: int) -> None:
        self.socket(connection).abort()

    def status(self, connection: int) -> TcpInfo:
        return self._connection(connection).status(self.driver.now())

    def readiness(self, connection: int) -> Readiness:
        c = self._connection(connection)
        return Readiness(c.readable, c.writable, c.eof, c.error)

    def set_option(self, connection: int, name: str, value: object) -> None:
        self.socket(connection).set_option(name, value)

    def get_option(self, connection: int, name: str) -> int | str:
        return self._connection(connection).get_option(name)

    def connections(self) -> list[int]:
        return list(self.stack.tcp.connections)

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


def _result(sequence: int, answer: PingAnswer | None, timeout_ns: int) -> PingResult:
    if answer is None or answer.rtt_ns > timeout_ns:
        return PingResult(sequence, b"", 0, 0, 0, "no answer")
    error = ""
    if answer.type == icmp.DESTINATION_UNREACHABLE:
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

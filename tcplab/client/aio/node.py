"""Hosts and routers of a lab."""
# ruff: noqa: ASYNC109 - timeouts are lab time

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from tcplab.client.aio.command import Command
from tcplab.client.aio.connection import Connection, Listener
from tcplab.client.aio.operation import Clock, Operation, texts
from tcplab.client.completed import Completed
from tcplab.client.values import Time, duration
from tcplab.v1 import node_pb2, operation_pb2, tcp_pb2


class Node:
    """A node of a lab, by its name there. Nothing is asked until a method is called."""

    def __init__(self, clock: Clock, name: str) -> None:
        self._clock = clock
        self._rpc = clock.rpc
        self.name = name
        self._path = f"{clock.lab}/nodes/{name}"

    async def start_open(
        self,
        remote: str,
        port: int,
        *,
        local: str = "",
        local_port: int = 0,
        options: Mapping[str, Any] | None = None,
        timeout: Time | None = None,
    ) -> tuple[Connection, Operation]:
        """Active OPEN: the connection, and the operation that is done when it is established."""
        request = tcp_pb2.OpenRequest(
            node=self._path,
            remote=remote,
            remote_port=port,
            local=local,
            local_port=local_port,
            options=texts(options),
            timeout=duration(timeout, "timeout"),
        )
        message = await self._rpc.call(self._rpc.tcp.Open, request)
        return Connection(self._clock, message.connection), Operation(self._clock, message)

    async def open(
        self,
        remote: str,
        port: int,
        *,
        local: str = "",
        local_port: int = 0,
        options: Mapping[str, Any] | None = None,
        timeout: Time | None = None,
    ) -> Connection:
        """Active OPEN to a node or an address; time passes until it is established. Raises SocketError."""
        connection, operation = await self.start_open(
            remote, port, local=local, local_port=local_port, options=options, timeout=timeout
        )
        await operation.wait()
        return connection

    async def listen(
        self, port: int, *, local: str = "", backlog: int = 128, options: Mapping[str, Any] | None = None
    ) -> Listener:
        """Passive OPEN."""
        request = tcp_pb2.ListenRequest(
            node=self._path, local_port=port, local=local, backlog=backlog, options=texts(options)
        )
        return Listener(self._clock, await self._rpc.call(self._rpc.tcp.Listen, request))

    def connection(self, number: int) -> Connection:
        """A connection by its number."""
        return Connection(self._clock, f"{self._path}/connections/{number}")

    async def connections(self) -> list[Connection]:
        """Every connection it ever had, oldest first."""
        pages = self._rpc.pages(self._rpc.tcp.ListConnections, tcp_pb2.ListConnectionsRequest(parent=self._path))
        return [Connection(self._clock, one.name) async for page in pages for one in page.connections]

    async def listeners(self) -> list[tcp_pb2.Listener]:
        """Open listeners with their queues."""
        pages = self._rpc.pages(self._rpc.tcp.ListListeners, tcp_pb2.ListListenersRequest(parent=self._path))
        return [one async for page in pages for one in page.listeners]

    async def info(self) -> node_pb2.Node:
        """Kind, interfaces with their addresses, parameters."""
        return await self._rpc.call(self._rpc.nodes.GetNode, node_pb2.GetNodeRequest(name=self._path))

    async def address(self) -> str:
        """Its first address."""
        return (await self.info()).interfaces[0].address

    async def parameters(self) -> dict[str, str]:
        """Every knob by its sysctl name."""
        return dict((await self.info()).parameters)

    async def set_parameters(self, **values: Any) -> None:
        """Set knobs by their sysctl names, all or none; each acts at its next use."""
        request = node_pb2.UpdateParametersRequest(name=self._path, parameters=texts(values))
        await self._rpc.call(self._rpc.nodes.UpdateParameters, request)

    async def counters(self) -> dict[str, int]:
        """Every counter by its nstat name."""
        answer = await self._rpc.call(self._rpc.nodes.GetCounters, node_pb2.GetCountersRequest(name=self._path))
        return dict(answer.counters)

    async def exec(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str = "",
        timeout: Time | None = None,
    ) -> Command:
        """Start a command on a node, without a shell; `timeout` is wall time, after which it is killed.

        Raises NotFound for a program that is not there, InvalidArgument, FailedPrecondition on other nodes.
        """
        exchange = self._rpc.exchange(self._rpc.nodes.Exec)
        start = node_pb2.ExecStart(
            node=self._path, argv=argv, env=env or {}, cwd=cwd, timeout=duration(timeout, "timeout")
        )
        await exchange.send(node_pb2.ExecRequest(start=start))
        try:
            await exchange.receive()  # that it has started, or why not
        except BaseException:
            await exchange.close()
            raise
        return Command(exchange)

    async def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        cwd: str = "",
        timeout: Time | None = None,
    ) -> Completed:
        """Run a command to its end: `lab.node("h1").run(["ping", "-c1", "h2"]).code`. See exec."""
        async with await self.exec(argv, env=env, cwd=cwd, timeout=timeout) as command:
            if stdin:
                await command.write(stdin)
            await command.end_input()
            return await command.wait()

    async def logs(self, *, tail: int = 0, follow: bool = False) -> AsyncIterator[bytes]:
        """What its container has printed, in pieces: the last `tail` lines, or all; with `follow` it goes on with what
        is printed from now on. Raises FailedPrecondition where nodes are no containers."""
        request = node_pb2.ReadLogsRequest(name=self._path, tail=tail, follow=follow)
        async for one in self._rpc.stream(self._rpc.nodes.ReadLogs, request):
            yield one.data

    async def start_ping(
        self, remote: str, count: int = 1, *, interval: Time | None = None, timeout: Time | None = None
    ) -> Operation:
        """Send ICMP echo requests, without waiting."""
        request = node_pb2.PingRequest(
            node=self._path,
            remote=remote,
            count=count,
            interval=duration(interval, "interval"),
            timeout=duration(timeout, "timeout"),
        )
        return Operation(self._clock, await self._rpc.call(self._rpc.nodes.Ping, request))

    async def ping(
        self, remote: str, count: int = 1, *, interval: Time | None = None, timeout: Time | None = None
    ) -> operation_pb2.PingResult:
        """Send ICMP echo requests; time passes until all are answered or have timed out (default 1 s)."""
        return (await (await self.start_ping(remote, count, interval=interval, timeout=timeout)).wait()).ping

    def __repr__(self) -> str:
        return f"<node {self.name}>"

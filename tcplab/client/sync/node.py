# Made by tools/sync_client.py from tcplab/client/aio/node.py: change it there.
"""Hosts and routers of a lab."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tcplab.client.completed import Completed
from tcplab.client.sync.command import Command
from tcplab.client.sync.connection import Connection, Listener
from tcplab.client.sync.operation import Clock, Operation, texts
from tcplab.client.values import Time, duration
from tcplab.v1 import node_pb2, operation_pb2, tcp_pb2


class Node:
    """A node of a lab, by its name there. Nothing is asked until a method is called."""

    def __init__(self, clock: Clock, name: str) -> None:
        self._clock = clock
        self._rpc = clock.rpc
        self.name = name
        self._path = f"{clock.lab}/nodes/{name}"

    def start_open(
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
        message = self._rpc.call(self._rpc.tcp.Open, request)
        return Connection(self._clock, message.connection), Operation(self._clock, message)

    def open(
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
        connection, operation = self.start_open(
            remote, port, local=local, local_port=local_port, options=options, timeout=timeout
        )
        operation.wait()
        return connection

    def listen(
        self, port: int, *, local: str = "", backlog: int = 128, options: Mapping[str, Any] | None = None
    ) -> Listener:
        """Passive OPEN."""
        request = tcp_pb2.ListenRequest(
            node=self._path, local_port=port, local=local, backlog=backlog, options=texts(options)
        )
        return Listener(self._clock, self._rpc.call(self._rpc.tcp.Listen, request))

    def connection(self, number: int) -> Connection:
        """A connection by its number."""
        return Connection(self._clock, f"{self._path}/connections/{number}")

    def connections(self) -> list[Connection]:
        """Every connection it ever had, oldest first."""
        pages = self._rpc.pages(self._rpc.tcp.ListConnections, tcp_pb2.ListConnectionsRequest(parent=self._path))
        return [Connection(self._clock, one.name) for page in pages for one in page.connections]

    def listeners(self) -> list[tcp_pb2.Listener]:
        """Open listeners with their queues."""
        pages = self._rpc.pages(self._rpc.tcp.ListListeners, tcp_pb2.ListListenersRequest(parent=self._path))
        return [one for page in pages for one in page.listeners]

    def info(self) -> node_pb2.Node:
        """Kind, interfaces with their addresses, parameters."""
        return self._rpc.call(self._rpc.nodes.GetNode, node_pb2.GetNodeRequest(name=self._path))

    def address(self) -> str:
        """Its first address."""
        return (self.info()).interfaces[0].address

    def parameters(self) -> dict[str, str]:
        """Every knob by its sysctl name."""
        return dict((self.info()).parameters)

    def set_parameters(self, **values: Any) -> None:
        """Set knobs by their sysctl names, all or none; each acts at its next use."""
        request = node_pb2.UpdateParametersRequest(name=self._path, parameters=texts(values))
        self._rpc.call(self._rpc.nodes.UpdateParameters, request)

    def counters(self) -> dict[str, int]:
        """Every counter by its nstat name."""
        answer = self._rpc.call(self._rpc.nodes.GetCounters, node_pb2.GetCountersRequest(name=self._path))
        return dict(answer.counters)

    def exec(
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
        exchange.send(node_pb2.ExecRequest(start=start))
        try:
            exchange.receive()  # that it has started, or why not
        except BaseException:
            exchange.close()
            raise
        return Command(exchange)

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        cwd: str = "",
        timeout: Time | None = None,
    ) -> Completed:
        """Run a command to its end: `lab.node("h1").run(["ping", "-c1", "h2"]).code`. See exec."""
        with self.exec(argv, env=env, cwd=cwd, timeout=timeout) as command:
            if stdin:
                command.write(stdin)
            command.end_input()
            return command.wait()

    def logs(self, *, tail: int = 0, follow: bool = False) -> Iterator[bytes]:
        """What its container has printed, in pieces: the last `tail` lines, or all; with `follow` it goes on with what
        is printed from now on. Raises FailedPrecondition where nodes are no containers."""
        request = node_pb2.ReadLogsRequest(name=self._path, tail=tail, follow=follow)
        for one in self._rpc.stream(self._rpc.nodes.ReadLogs, request):
            yield one.data

    def start_ping(
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
        return Operation(self._clock, self._rpc.call(self._rpc.nodes.Ping, request))

    def ping(
        self, remote: str, count: int = 1, *, interval: Time | None = None, timeout: Time | None = None
    ) -> operation_pb2.PingResult:
        """Send ICMP echo requests; time passes until all are answered or have timed out (default 1 s)."""
        return ((self.start_ping(remote, count, interval=interval, timeout=timeout)).wait()).ping

    def __repr__(self) -> str:
        return f"<node {self.name}>"

"""NodeService.Exec: commands on nodes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from lab.backends.real.execution import Execution
from lab.server import convert, names
from lab.server.host import LabHost
from nodes.base.clock import NEVER
from nodes.base.errors import InvalidArgument, SocketError
from tcplab.v1 import node_pb2


async def execute(host: LabHost, requests: AsyncIterator[node_pb2.ExecRequest]) -> AsyncIterator[node_pb2.ExecResponse]:
    """Start what the first request asks for, feed it with the others, and tell what it says."""
    first = await anext(requests, None)
    if first is None or not first.HasField("start"):
        raise InvalidArgument("start: is missing; the first request says what to run", "start")
    command = _start(host, first.start)
    feeding = asyncio.create_task(_feed(host, command, requests))
    try:
        yield node_pb2.ExecResponse(started=node_pb2.ExecStarted())
        while True:
            reading = host.future(command.read())
            while not reading.done():
                if feeding.done():
                    feeding.result()  # it may have failed
                await asyncio.wait(
                    {reading} if feeding.done() else {reading, feeding}, return_when=asyncio.FIRST_COMPLETED
                )
            said = reading.result()
            if said.stdout:
                yield node_pb2.ExecResponse(stdout=said.stdout)
            if said.stderr:
                yield node_pb2.ExecResponse(stderr=said.stderr)
            if (end := said.exit) is not None:
                found = node_pb2.ExecExit(code=end.code, signal=end.signal, timed_out=end.timed_out)
                yield node_pb2.ExecResponse(exit=found)
                return
    finally:
        feeding.cancel()
        command.end()


def _start(host: LabHost, start: node_pb2.ExecStart) -> Execution:
    node = names.NODE.parse(start.node, "start.node")[1]
    timeout_ns = NEVER
    if start.HasField("timeout"):
        timeout_ns = convert.nanoseconds(start.timeout, "start.timeout", lowest=1)
    try:
        return host.lab.execute(node, start.argv, env=dict(start.env), cwd=start.cwd, timeout_ns=timeout_ns)
    except InvalidArgument as error:
        raise InvalidArgument(f"start.{error}", f"start.{error.field}" if error.field else "start") from None


async def _feed(host: LabHost, command: Execution, requests: AsyncIterator[node_pb2.ExecRequest]) -> None:
    async for request in requests:
        kind = request.WhichOneof("request")
        if kind == "stdin":
            with contextlib.suppress(SocketError):  # the command reads no more, which is its own business
                await host.future(command.write(request.stdin))
        elif kind == "signal":
            command.signal(request.signal)
        elif kind == "stdin_end":
            command.end_input()
        else:
            raise InvalidArgument("start: one command for each call; only the first request starts one", "start")
    command.end_input()

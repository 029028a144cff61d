"""NodeService: hosts and routers of a lab."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

from lab.server import convert, names
from lab.server.exec_service import execute
from lab.server.host import LabHost
from lab.server.pages import page
from lab.server.serving import Context
from nodes.base.clock import SECOND
from nodes.base.errors import InvalidArgument
from tcplab.v1 import node_pb2, operation_pb2


class NodeService:
    def __init__(self, host: LabHost) -> None:
        self.host = host
        self.lab = host.lab

    def GetNode(self, request: node_pb2.GetNodeRequest, context: Context) -> node_pb2.Node:
        _, node = names.parts_of(request)
        return convert.node(self.lab, self.host.name, node)

    def ListNodes(self, request: node_pb2.ListNodesRequest, context: Context) -> node_pb2.ListNodesResponse:
        nodes, token = page(self.lab.nodes, request)
        return node_pb2.ListNodesResponse(
            nodes=[convert.node(self.lab, self.host.name, one) for one in nodes], next_page_token=token
        )

    def UpdateParameters(self, request: node_pb2.UpdateParametersRequest, context: Context) -> node_pb2.Node:
        _, node = names.parts_of(request)
        if not request.parameters:
            raise InvalidArgument("parameters: nothing to set", "parameters")
        self.lab.set_parameters(node, convert.values(request.parameters))
        return convert.node(self.lab, self.host.name, node)

    def GetCounters(self, request: node_pb2.GetCountersRequest, context: Context) -> node_pb2.GetCountersResponse:
        _, node = names.parts_of(request)
        return node_pb2.GetCountersResponse(counters=self.lab.counters(node))

    def Exec(
        self, requests: AsyncIterator[node_pb2.ExecRequest], context: Context
    ) -> AsyncIterator[node_pb2.ExecResponse]:
        return execute(self.host, requests)

    async def ReadLogs(
        self, request: node_pb2.ReadLogsRequest, context: Context
    ) -> AsyncIterator[node_pb2.ReadLogsResponse]:
        _, node = names.parts_of(request)
        if request.tail < 0:
            raise InvalidArgument(f"tail: {request.tail} is not 0 (all) or more", "tail")
        logs = self.lab.logs(node, request.tail, request.follow)
        # A thread of its own: whoever follows waits for long.
        with ThreadPoolExecutor(1) as thread:
            try:
                while data := await asyncio.get_running_loop().run_in_executor(thread, logs.read):
                    yield node_pb2.ReadLogsResponse(data=data)
            finally:
                logs.close()

    def Ping(self, request: node_pb2.PingRequest, context: Context) -> operation_pb2.Operation:
        _, node = names.parts_of(request)
        if not request.remote:
            raise InvalidArgument("remote: is missing; give a node's name or an address", "remote")
        if not 0 <= request.count <= 10_000:
            raise InvalidArgument(f"count: {request.count} is not in 1 (the default) to 10000", "count")
        interval, timeout = SECOND, SECOND
        if request.HasField("interval"):
            interval = convert.nanoseconds(request.interval, "interval")
        if request.HasField("timeout"):
            timeout = convert.nanoseconds(request.timeout, "timeout")
        operation = self.lab.ping(
            node, request.remote, count=request.count or 1, interval_ns=interval, timeout_ns=timeout
        )
        return convert.operation(self.host.name, operation)

"""The process of one lab: one thread, in which the asyncio loop serves calls and Advance runs virtual time."""

from __future__ import annotations

import asyncio
import base64
import os
import socket
from pathlib import Path
from typing import Any, Final

import grpc.aio

from lab.backends.session import start
from lab.server import line as lines
from lab.server.app_service import AppService
from lab.server.attack_service import AttackService
from lab.server.errors import status_of
from lab.server.host import LabHost
from lab.server.lab_service import LabService
from lab.server.link_service import LinkService
from lab.server.node_service import NodeService
from lab.server.operation_service import OperationService
from lab.server.serving import OPTIONS, Handlers
from lab.server.tcp_service import TcpService
from lab.server.trace_service import TraceService
from lab.topology.loader import find_topology, topology_from_text
from lab.topology.model import Topology
from nodes.base.errors import InvalidArgument, NotFound
from nodes.base.events import LEVEL_SEGMENTS
from tcplab.v1 import app_pb2, attack_pb2, lab_pb2, link_pb2, node_pb2, operation_pb2, tcp_pb2, trace_pb2

#: Streams get so long to take what there is when the lab ends, wall seconds.
GRACE: Final = 2.0


def run(job: dict[str, Any], line: socket.socket) -> None:
    """Make the lab that a CreateLab asks for, serve it until told to end or until the controller is gone.

    `job`: request (base64), lab, run (their ids), directory (of the run), socket (where to serve).
    """
    request = lab_pb2.CreateLabRequest.FromString(base64.b64decode(job["request"]))
    try:
        host = make(request, job["lab"], job["run"], Path(job["directory"]))
    except Exception as error:
        lines.send(line, {"error": base64.b64encode(status_of(error).SerializeToString()).decode()})
        return
    asyncio.run(_serve(host, job["socket"], line))


def make(request: lab_pb2.CreateLabRequest, name: str, run_name: str, directory: Path) -> LabHost:
    """The lab and its run. Raises InvalidArgument, NotFound, and leaves nothing behind then."""
    topology = _topology(request)
    seed = request.seed if request.HasField("seed") else 1
    if seed < 0:
        raise InvalidArgument(f"seed: {seed} is not 0 to {(1 << 63) - 1}", "seed")
    level = request.trace_level or LEVEL_SEGMENTS
    if level not in trace_pb2.TraceLevel.values():
        raise InvalidArgument(f"trace_level: {level} is the number of none", "trace_level")
    capture = request.capture if request.HasField("capture") else True
    text = request.topology_yaml or request.topology
    bundle, lab = start(directory, name, topology, seed, level, capture, text)
    return LabHost(name, run_name, lab, bundle)


def _topology(request: lab_pb2.CreateLabRequest) -> Topology:
    source = request.WhichOneof("source")
    if source is None:
        raise InvalidArgument("topology: is missing; give topology (a name) or topology_yaml (a text)", "topology")
    try:
        if source == "topology":
            return find_topology(request.topology)
        return topology_from_text(request.topology_yaml)
    except InvalidArgument as error:
        field = f"{source}.{error.field}" if error.field else source
        raise InvalidArgument(f"{source}: {error}", field, error.line) from None
    except NotFound as error:
        raise NotFound(f"{source}: {error}") from None


async def _serve(host: LabHost, path: str, line: socket.socket) -> None:
    reader, writer = await asyncio.open_connection(sock=line.dup())
    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers((_handlers(host),))
    server.add_insecure_port(f"unix:{path}")
    await server.start()
    writer.write(lines.pack({"lab": base64.b64encode(host.message().SerializeToString()).decode()}))
    told = await lines.read(reader)  # nothing is said but that it is over
    host.end()
    await server.stop(GRACE if told is not None else None)
    if told is not None and told.get("export"):
        host.bundle.export()
    if told is not None:
        writer.write(lines.pack({"ended": os.getpid()}))
        await writer.drain()
    writer.close()


def _handlers(host: LabHost) -> Handlers:
    handlers = Handlers()
    for module, servicer in (
        (lab_pb2, LabService(host)),
        (node_pb2, NodeService(host)),
        (tcp_pb2, TcpService(host)),
        (operation_pb2, OperationService(host)),
        (link_pb2, LinkService(host)),
        (attack_pb2, AttackService(host)),
        (app_pb2, AppService(host)),
        (trace_pb2, TraceService(lambda _: host)),
    ):
        (service,) = module.DESCRIPTOR.services_by_name.values()
        handlers.add(service, servicer)
    return handlers

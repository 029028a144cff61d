"""The process of one lab: one thread, in which the asyncio loop serves calls, and Advance runs virtual time or a
real-time lab is pumped.

What is said on the line to the controller, as JSON objects (line.py):

    from the controller   the job, then {"end": true, "export": whether to write captures and tables}
    from the lab          {"progress": [what, done, of]}, then {"error"} or {"lab"}; {"lab"} again when a node has
                          FAILED; {"failed": why} when it cannot go on; {"ended": facts of its run} as its last

A real-time lab has its journal (journal.py) from before it makes anything, and takes a new line at its control socket,
where it says {"lab"} first.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import socket
import time
from pathlib import Path
from typing import Any, Final

import grpc.aio

from lab.backends.base import Progress
from lab.backends.catalogue import REAL, SIM
from lab.backends.session import start
from lab.server import journal
from lab.server import line as lines
from lab.server.app_service import AppService
from lab.server.attack_service import AttackService
from lab.server.convert import uploaded
from lab.server.errors import status_of
from lab.server.host import LabHost
from lab.server.journal import Owned
from lab.server.lab_service import LabService
from lab.server.link_service import LinkService
from lab.server.node_service import NodeService
from lab.server.operation_service import OperationService
from lab.server.serving import OPTIONS, Handlers
from lab.server.tcp_service import TcpService
from lab.server.trace_service import TraceService
from lab.topology.loader import NONE, find_topology, topology_from_text
from lab.topology.model import Topology
from lab.topology.sources import Sources
from nodes.base import garbage
from nodes.base.errors import InvalidArgument, NotFound, TcplabError
from nodes.base.events import LEVEL_SEGMENTS
from tcplab.v1 import app_pb2, attack_pb2, lab_pb2, link_pb2, node_pb2, operation_pb2, tcp_pb2, trace_pb2

#: Streams get so long to take what there is when the lab ends, wall seconds.
GRACE: Final = 2.0
#: Wall seconds between reports of progress.
_PROGRESS_EVERY: Final = 0.05
#: What the controller wants to know of the manifest in the end.
_FACTS: Final = ("fidelity", "lab_time_ns")


def run(job: dict[str, Any], line: socket.socket) -> None:
    """Make the lab that a CreateLab asks for, serve it until told to end or until the controller is gone.

    `job`: request (base64), lab, run (their ids), directory (of the run), socket (where to serve); for a real-time lab
    also state (the journal's directory), controller (its socket), keep (whether it goes on without a controller).
    allow_code: whether Python code that came with the request may be run.
    """
    request = lab_pb2.CreateLabRequest.FromString(base64.b64decode(job["request"]))
    owned: Owned | None = None
    try:
        more = {}
        if request.backend in REAL:
            owned = _own(job)
            more["owner"] = owned.path.name
        sources = Sources(uploaded(request.congestion_controls), job["allow_code"])
        place = Path(job["directory"])
        host = make(request, job["lab"], job["run"], place, job["keep"], _Progress(line), sources, **more)
    except Exception as error:
        if owned is not None:
            owned.remove()
        lines.send(line, {"error": base64.b64encode(status_of(error).SerializeToString()).decode()})
        return
    garbage.settle()
    try:
        asyncio.run(_serve(host, job["socket"], line, owned))
    finally:
        if owned is not None:
            owned.remove()


def _own(job: dict[str, Any]) -> Owned:
    """Write the journal; from now on the processes are their own session, and their errors go to the log."""
    facts = {name: job[name] for name in ("lab", "run", "directory", "controller", "keep")}
    owned = journal.claim(Path(job["state"]), **facts)
    os.setsid()  # the end of the controller's terminal is not that of the lab
    log = os.open(owned.log, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    os.dup2(log, 2)
    os.close(log)
    return owned


class _Progress:
    """Reports how far the making of a lab is. Raises OSError when the controller is gone: then nobody wants it."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._next = 0.0

    def __call__(self, what: str, done: int, of: int) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _PROGRESS_EVERY
            lines.send(self._line, {"progress": [what, done, of]})


def make(
    request: lab_pb2.CreateLabRequest,
    name: str,
    run_name: str,
    directory: Path,
    keep: bool = False,
    progress: Progress | None = None,
    sources: Sources = NONE,
    **more: Any,
) -> LabHost:
    """The lab and its run, in whose manifest `more` is. `sources` are its files of congestion controls.

    Raises InvalidArgument, NotFound, Unsupported, and leaves nothing behind then.
    """
    topology = _topology(request, sources)
    seed = request.seed if request.HasField("seed") else 1
    if seed < 0:
        raise InvalidArgument(f"seed: {seed} is not 0 to {(1 << 63) - 1}", "seed")
    level = request.trace_level or LEVEL_SEGMENTS
    if level not in trace_pb2.TraceLevel.values():
        raise InvalidArgument(f"trace_level: {level} is the number of none", "trace_level")
    capture = request.capture if request.HasField("capture") else True
    text = request.topology_yaml or request.topology
    bundle, lab = start(directory, name, topology, seed, level, capture, text, request.backend or SIM, progress, **more)
    return LabHost(name, run_name, lab, bundle, keep)


def _topology(request: lab_pb2.CreateLabRequest, sources: Sources) -> Topology:
    source = request.WhichOneof("source")
    if source is None:
        raise InvalidArgument("topology: is missing; give topology (a name) or topology_yaml (a text)", "topology")
    try:
        if source == "topology":
            return find_topology(request.topology, sources)
        return topology_from_text(request.topology_yaml, sources=sources)
    except InvalidArgument as error:
        field = f"{source}.{error.field}" if error.field else source
        raise InvalidArgument(f"{source}: {error}", field, error.line) from None
    except NotFound as error:
        raise NotFound(f"{source}: {error}") from None


async def _serve(host: LabHost, path: str, line: socket.socket, owned: Owned | None) -> None:
    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers((_handlers(host),))
    server.add_insecure_port(f"unix:{owned.api if owned is not None else path}")
    await server.start()
    control = Control(host)
    host.start_pumping()
    if owned is not None:
        await control.listen(owned.control)
    await control.take(*await asyncio.open_connection(sock=line.dup()))
    told = await control.told
    host.end(host.failure)
    failure = host.failure
    await server.stop(GRACE if told else None)
    if told.get("export"):
        try:
            host.bundle.export()
        except (TcplabError, OSError) as error:  # the disk is full, say
            failure = failure or f"{host.bundle.path}: captures and tables cannot be written: {error}"
    if failure:
        control.say({"failed": failure})
    control.say({"ended": {name: host.bundle.manifest[name] for name in _FACTS if name in host.bundle.manifest}})
    await control.close()


class Control:
    """The line to the controller. `told` is done when the lab is to end: with what the controller said, empty when it
    is gone, or when the lab cannot go on."""

    def __init__(self, host: LabHost) -> None:
        self.told: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._host = host
        self._writer: asyncio.StreamWriter | None = None
        self._hearing: asyncio.Task[None] | None = None
        self._server: asyncio.Server | None = None
        host.on_change = self._on_change

    async def listen(self, path: Path) -> None:
        """Take new lines at a socket."""
        self._server = await asyncio.start_unix_server(self.take, path)

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take a line, instead of the one there was."""
        if self._hearing is not None:
            self._hearing.cancel()
        if self._writer is not None:
            self._writer.close()
        self._writer = writer
        self._hearing = asyncio.create_task(self._hear(reader))
        self._say_lab()

    def say(self, message: dict[str, Any]) -> None:
        """Tell the controller, if it is there."""
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(lines.pack(message))

    async def close(self) -> None:
        """Let what was said arrive, and hang up."""
        if self._server is not None:
            self._server.close()
        if self._hearing is not None:
            self._hearing.cancel()
        if self._writer is not None:
            with contextlib.suppress(OSError):
                await self._writer.drain()
            self._writer.close()

    async def _hear(self, reader: asyncio.StreamReader) -> None:
        message = await lines.read(reader)  # nothing is said but that it is over
        if not self.told.done() and (message is not None or not self._host.keep):
            self.told.set_result(message or {})

    def _on_change(self) -> None:
        if not self._host.failure:
            self._say_lab()
        elif not self.told.done():
            self.told.set_result({})

    def _say_lab(self) -> None:
        self.say({"lab": base64.b64encode(self._host.message().SerializeToString()).decode()})


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

"""The labs of a controller: made and ended here, everything else is done in their processes."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Coroutine, Iterator
from pathlib import Path
from typing import Any, Final

import grpc.aio
from google.protobuf import empty_pb2
from google.rpc import status_pb2

from lab.backends.sim import SimLab
from lab.server import names
from lab.server.children import Child, Nursery
from lab.server.errors import CallFailed, LabFailed
from lab.server.pages import page
from lab.server.requests import Requests
from lab.server.runs import Run, Runs
from lab.server.serving import Context
from lab.trace.bundle import Bundle
from nodes.base.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, TcplabError
from tcplab.v1 import lab_pb2, lab_pb2_grpc, run_pb2

#: Each lab is a process; so many fit into the memory of a small machine.
MAX_LABS: Final = 500
#: A lab has so long to complete its files when the controller ends, wall seconds.
_END_WITHIN: Final = 8.0
#: Calls to a lab that has ended learn of it within this, wall seconds.
_CALLS_END_WITHIN: Final = 5.0
_CHANNEL_OPTIONS: Final = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),
)

Change = tuple[lab_pb2.Lab, bool]


class LabRecord:
    """A lab as the controller knows it. `message` is what was last heard of it."""

    def __init__(self, serial: int, name: str, run: Run, child: Child, socket: Path, message: lab_pb2.Lab) -> None:
        self.serial = serial
        self.name = name
        self.run = run
        self.child = child
        self.message = message
        self.channel = grpc.aio.insecure_channel(f"unix:{socket}", options=_CHANNEL_OPTIONS)
        self.calls: dict[str, Any] = {}  # of the router, by method
        self.socket = socket
        self.ending = False
        self.gone: asyncio.Task[None] | None = None

    @property
    def failure(self) -> str:
        """How its process ended; "" while it is there."""
        return self.message.failure

    def check(self) -> None:
        """Raises LabFailed when its process has ended."""
        if self.failure:
            raise LabFailed(f"labs/{self.name} has FAILED: {self.failure}")

    async def is_gone(self, within: float) -> bool:
        """Whether its process ends within so many wall seconds."""
        assert self.gone is not None
        await asyncio.wait([self.gone], timeout=within)
        return self.gone.done()

    async def refresh(self) -> lab_pb2.Lab:
        """What it is now."""
        if not self.failure:
            request = lab_pb2.GetLabRequest(name=f"labs/{self.name}")
            with contextlib.suppress(grpc.aio.AioRpcError):  # it is ending; what was last heard stands
                self.message = await lab_pb2_grpc.LabServiceStub(self.channel).GetLab(request)
        return self.message


class Labs:
    """Labs by name, oldest first. `sockets` is the private directory where they serve."""

    def __init__(self, nursery: Nursery, runs: Runs, sockets: Path) -> None:
        self.nursery = nursery
        self.runs = runs
        self.by_name: dict[str, LabRecord] = {}
        self._sockets = sockets
        self._made = 0
        self._reserved: set[str] = set()
        self._watchers: set[asyncio.Queue[Change]] = set()
        self._tasks: set[asyncio.Task[Any]] = set()

    def get(self, name: str) -> LabRecord:
        """Raises NotFound."""
        record = self.by_name.get(name)
        if record is None:
            known = ", ".join(list(self.by_name)[:20]) or "none"
            raise NotFound(f"labs/{name}: there is no such lab; there are {known}")
        return record

    async def create(self, request: lab_pb2.CreateLabRequest) -> lab_pb2.Lab:
        """Make a lab in a process of its own. When it fails, or the caller leaves, nothing stays."""
        name = self._reserve(request)
        try:
            run = self.runs.reserve(name, lab=name)
            child: Child | None = None
            self._made += 1
            serial = self._made
            socket = self._sockets / str(serial)
            try:
                child = await self.nursery.child(
                    f"lab {name}",
                    {
                        "what": "lab",
                        "request": base64.b64encode(request.SerializeToString()).decode(),
                        "lab": name,
                        "run": run.name,
                        "directory": str(run.directory),
                        "socket": str(socket),
                    },
                )
                answer = await child.heard()
                if answer is None:
                    raise LabFailed(f"labs/{name} could not be made: {await child.ended()}")
                if "error" in answer:
                    raise CallFailed(status_pb2.Status.FromString(base64.b64decode(answer["error"])))
            except BaseException:
                if child is not None:
                    child.kill()
                    await child.ended()
                self.runs.discard(run)
                raise
        finally:
            self._reserved.discard(name)
        message = lab_pb2.Lab.FromString(base64.b64decode(answer["lab"]))
        run.message.seed = message.seed
        record = self.by_name[name] = LabRecord(serial, name, run, child, socket, message)
        record.gone = self._spawn(self._watch(record))
        self._tell(message, False)
        return message

    def _reserve(self, request: lab_pb2.CreateLabRequest) -> str:
        if request.backend not in ("", SimLab.backend):
            raise InvalidArgument(f"backend: no {request.backend[:80]!r}; there is {SimLab.backend}", "backend")
        if len(self.by_name) + len(self._reserved) >= MAX_LABS:
            raise FailedPrecondition(f"there are {MAX_LABS} labs, as many as a controller takes; delete some first")
        name = request.lab_id
        if name:
            names.check_id(name, "lab_id")
        else:
            number = self._made + 1
            while (name := f"lab-{number}") in self.by_name or name in self._reserved:
                number += 1
        if name in self.by_name or name in self._reserved:
            raise AlreadyExists(f"labs/{name}: there is one already")
        self._reserved.add(name)
        return name

    async def _watch(self, record: LabRecord) -> None:
        """Hear what the lab's process says until it has ended; by itself, that is a failure."""
        while await record.child.heard() is not None:
            pass
        how = await record.child.ended()
        record.socket.unlink(missing_ok=True)
        if record.ending:
            return
        record.message.state = lab_pb2.Lab.STATE_FAILED
        record.message.failure = how
        record.message.advancing = False
        record.run.end(run_pb2.Run.STATE_ERROR, how)
        with contextlib.suppress(TcplabError):
            Bundle.open(record.run.directory).finish(failure=how)
        self._tell(record.message, False)

    async def delete(self, name: str) -> None:
        """End a lab and complete its run. It goes on when the caller leaves."""
        record = self.get(name)
        del self.by_name[name]
        await asyncio.shield(self._spawn(self._end(record, export=True)))

    async def _end(self, record: LabRecord, export: bool) -> None:
        message = record.message if record.failure else await record.refresh()
        failed = bool(record.failure)
        record.ending = True
        record.child.tell({"end": True, "export": export})
        assert record.gone is not None
        await record.gone
        self._spawn(record.channel.close(_CALLS_END_WITHIN))
        if not failed:
            record.run.message.time_ns = message.time_ns
            how = await record.child.ended()
            if how.endswith("exit code 0"):
                record.run.end(run_pb2.Run.STATE_PASSED)
            else:
                record.run.end(run_pb2.Run.STATE_ERROR, how)
        self._tell(message, True)

    async def close(self) -> None:
        """End all labs."""
        records = list(self.by_name.values())
        self.by_name.clear()
        if not records:
            return
        tasks = [self._spawn(self._end(record, export=False)) for record in records]
        _, late = await asyncio.wait(tasks, timeout=_END_WITHIN)
        if late:
            for record in records:
                record.child.kill()
            await asyncio.wait(late, timeout=_END_WITHIN)

    # Watching.

    @contextlib.contextmanager
    def changes(self) -> Iterator[asyncio.Queue[Change]]:
        """A queue of every change from now on: a lab, and whether it was deleted."""
        queue: asyncio.Queue[Change] = asyncio.Queue()
        self._watchers.add(queue)
        try:
            yield queue
        finally:
            self._watchers.discard(queue)

    def _tell(self, message: lab_pb2.Lab, deleted: bool) -> None:
        for queue in self._watchers:
            queue.put_nowait((message, deleted))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


class LabsService:
    """LabService of the API but for Advance, which is the lab's own."""

    def __init__(self, labs: Labs) -> None:
        self.labs = labs
        self._requests: Requests[lab_pb2.Lab] = Requests()

    async def CreateLab(self, request: lab_pb2.CreateLabRequest, context: Context) -> lab_pb2.Lab:
        return await self._requests.once(request, lambda: self.labs.create(request))

    async def GetLab(self, request: lab_pb2.GetLabRequest, context: Context) -> lab_pb2.Lab:
        return await self.labs.get(names.parts_of(request)[0]).refresh()

    async def ListLabs(self, request: lab_pb2.ListLabsRequest, context: Context) -> lab_pb2.ListLabsResponse:
        records, token = page(self.labs.by_name.values(), request, lambda record: record.serial)
        messages = await asyncio.gather(*(record.refresh() for record in records))
        return lab_pb2.ListLabsResponse(labs=messages, next_page_token=token)

    async def DeleteLab(self, request: lab_pb2.DeleteLabRequest, context: Context) -> empty_pb2.Empty:
        await self.labs.delete(names.parts_of(request)[0])
        return empty_pb2.Empty()

    async def WatchLabs(
        self, request: lab_pb2.WatchLabsRequest, context: Context
    ) -> AsyncIterator[lab_pb2.WatchLabsResponse]:
        records = list(self.labs.by_name.values())
        if request.name:
            (name,) = names.LAB.parse(request.name, "name")
            records = [self.labs.get(name)]
        with self.labs.changes() as changes:
            for record in records:
                yield lab_pb2.WatchLabsResponse(lab=await record.refresh())
            yield lab_pb2.WatchLabsResponse(snapshot_done=True)
            while True:
                message, deleted = await changes.get()
                if request.name in ("", message.name):
                    yield lab_pb2.WatchLabsResponse(lab=message, deleted=deleted)

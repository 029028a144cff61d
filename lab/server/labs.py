"""The labs of a controller: made, adopted and ended here, everything else is done in their processes."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
from collections.abc import AsyncIterator, Coroutine, Iterator
from pathlib import Path
from typing import Any, Final

import grpc.aio
from google.protobuf import empty_pb2
from google.rpc import status_pb2

from lab.backends.catalogue import DOCKER, REAL, SIM, check_backend
from lab.server import journal, names
from lab.server.children import Child, Nursery, adopt
from lab.server.errors import CallFailed, LabFailed
from lab.server.journal import Owned
from lab.server.leftovers import bury, finish_run, remove_ended_containers
from lab.server.pages import page
from lab.server.requests import Requests
from lab.server.runs import Run, Runs
from lab.server.serving import Context
from lab.trace.bundle import Bundle
from nodes.base.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, TcplabError
from tcplab.v1 import lab_pb2, lab_pb2_grpc, run_pb2

#: A lab's process that says nothing for so long, wall seconds, is taken for one that never will: as when a user's
#: congestion control does not return.
_SILENT_AFTER: Final = 15.0
#: Each lab is a process; so many fit into the memory of a small machine.
MAX_LABS: Final = 500
#: A lab has so long to complete its files when the controller ends, wall seconds.
_END_WITHIN: Final = 8.0
#: A lab answers the controller that adopts it within this, wall seconds, or is taken for stuck.
_ANSWERS_WITHIN: Final = 30.0
#: What an ended process leaves is removed within this, wall milliseconds.
_GONE_WITHIN_MS: Final = 5000
#: Calls to a lab that has ended learn of it within this, wall seconds.
_CALLS_END_WITHIN: Final = 5.0
_CHANNEL_OPTIONS: Final = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),
)

log = logging.getLogger("tcplab")

Change = tuple[lab_pb2.Lab, bool]


class LabRecord:
    """A lab as the controller knows it. `message` is what was last heard of it; `child` None: it has FAILED already.
    `owned` is what the journal says of a real-time lab."""

    def __init__(
        self,
        serial: int,
        name: str,
        run: Run,
        child: Child | None,
        socket: Path,
        message: lab_pb2.Lab,
        owned: Owned | None = None,
    ) -> None:
        self.serial = serial
        self.name = name
        self.run = run
        self.child = child
        self.message = message
        self.owned = owned
        #: Whether its process said that it ends in order, and why it said that it cannot go on.
        self.ended_well = False
        self.why = ""
        #: Whether its process answered when it was last asked.
        self.answers = True
        self.channel = grpc.aio.insecure_channel(f"unix:{socket}", options=_CHANNEL_OPTIONS)
        self.calls: dict[str, Any] = {}  # of the router, by method
        self.socket = socket
        self.ending = False
        self.gone: asyncio.Task[None] | None = None

    @property
    def failure(self) -> str:
        """How its process ended, or why the lab cannot go on; "" while it can."""
        return self.message.failure

    def check(self) -> None:
        """Raises LabFailed when its process has ended."""
        if self.failure:
            raise LabFailed(f"labs/{self.name} has FAILED: {self.failure}")

    async def is_gone(self, within: float) -> bool:
        """Whether its process ends within so many wall seconds."""
        if self.gone is not None:
            await asyncio.wait([self.gone], timeout=within)
        return self.gone is None or self.gone.done()

    async def refresh(self) -> lab_pb2.Lab:
        """What it is now."""
        if not self.failure:
            request = lab_pb2.GetLabRequest(name=f"labs/{self.name}")
            stub = lab_pb2_grpc.LabServiceStub(self.channel)
            try:
                self.message = await stub.GetLab(request, timeout=_SILENT_AFTER)
                self.answers = True
            except grpc.aio.AioRpcError as error:  # it is ending; what was last heard stands
                self.answers = error.code() != grpc.StatusCode.DEADLINE_EXCEEDED
        return self.message


class Labs:
    """Labs by name, oldest first. `sockets` is the private directory where they serve; `state` has the journal of
    real-time labs, `controller` is the socket by which the journal names this controller, `keep` whether labs go on
    without it when nothing else is asked, `allow_code` whether they run Python code that clients send."""

    def __init__(
        self,
        nursery: Nursery,
        runs: Runs,
        sockets: Path,
        state: Path,
        controller: str,
        keep: bool = True,
        allow_code: bool = False,
    ) -> None:
        self.nursery = nursery
        self.runs = runs
        self.by_name: dict[str, LabRecord] = {}
        #: Real-time labs that are being made.
        self.creating: dict[str, lab_pb2.Lab] = {}
        self._sockets = sockets
        self._state = state
        self._controller = controller
        self._keep = keep
        self._allow_code = allow_code
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
        real = request.backend in REAL
        keep = _keeps(request, self._keep)
        name = self._reserve(request)
        try:
            run = self.runs.reserve(name, lab=name)
            run.message.backend = request.backend or SIM
            child: Child | None = None
            self._made += 1
            serial = self._made
            socket = self._sockets / str(serial)
            try:
                job = {
                    "what": "lab",
                    "request": base64.b64encode(request.SerializeToString()).decode(),
                    "lab": name,
                    "run": run.name,
                    "directory": str(run.directory),
                    "socket": str(socket),
                    "state": str(self._state),
                    "controller": self._controller,
                    "keep": keep,
                    "allow_code": self._allow_code,
                }
                child = await self.nursery.child(f"lab {name}", job, keep)
                while (answer := await child.heard()) is not None and "progress" in answer:
                    self._on_progress(name, request.backend, answer["progress"])
                owned = journal.owned_by(self._state, child.pid) if real else None
                if answer is None:
                    raise LabFailed(f"labs/{name} could not be made: {_with(await child.ended(), owned)}")
                if "error" in answer:
                    raise CallFailed(status_pb2.Status.FromString(base64.b64decode(answer["error"])))
            except BaseException:
                if child is not None:
                    child.kill()
                    await child.ended()
                    if real:
                        self._clean(child)
                    if request.backend == DOCKER:
                        await asyncio.to_thread(remove_ended_containers)
                self.runs.discard(run)
                if name in self.creating:
                    self._tell(self.creating[name], True)
                raise
        finally:
            self._reserved.discard(name)
            self.creating.pop(name, None)
        message = lab_pb2.Lab.FromString(base64.b64decode(answer["lab"]))
        run.message.seed = message.seed
        record = LabRecord(serial, name, run, child, owned.api if owned is not None else socket, message, owned)
        self._add(record)
        self._tell(message, False)
        return message

    def _add(self, record: LabRecord) -> None:
        self.by_name[record.name] = record
        if record.child is not None:
            record.gone = self._spawn(self._watch(record, record.child))

    def _reserve(self, request: lab_pb2.CreateLabRequest) -> str:
        check_backend(request.backend or SIM)
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

    def _on_progress(self, name: str, backend: str, progress: list[Any]) -> None:
        what, done, total = progress
        message = self.creating[name] = lab_pb2.Lab(
            name=f"labs/{name}",
            state=lab_pb2.Lab.STATE_CREATING,
            backend=backend,
            real_time=True,
            progress=lab_pb2.CreateProgress(what=what, done=done, total=total),
        )
        self._tell(message, False)

    async def _watch(self, record: LabRecord, child: Child) -> None:
        """Hear what the lab's process says until it has ended; by itself, that is a failure."""
        while (said := await child.heard()) is not None:
            if "lab" in said:
                record.message = lab_pb2.Lab.FromString(base64.b64decode(said["lab"]))
                self._tell(record.message, False)
            elif "failed" in said:
                record.why = said["failed"]
            elif "ended" in said:
                record.ended_well = True
                record.run.take(said["ended"])
        how = record.why or _with(await child.ended(), record.owned)
        await child.ended()
        record.socket.unlink(missing_ok=True)
        if record.owned is not None:
            bury(record.owned, how)
        if record.message.backend == DOCKER and not record.ended_well:
            await asyncio.to_thread(remove_ended_containers)
        if record.ending:
            return
        self._fail(record, how)

    def _fail(self, record: LabRecord, how: str) -> None:
        record.message.state = lab_pb2.Lab.STATE_FAILED
        record.message.failure = how
        record.message.advancing = False
        record.run.end(run_pb2.Run.STATE_ERROR, how)
        finish_run(record.run.directory, how)
        self._tell(record.message, False)

    # What an earlier controller made.

    async def adopt(self) -> None:
        """Take over the labs that the journal has for this controller's socket; those that are gone are FAILED, those
        that were still being made are removed."""
        found = [one for one in journal.owned_in(self._state) if not one.process.elsewhere]
        for owned in found:
            if not owned.controller and not owned.process.running:
                owned.remove()  # killed before it could say whose it is
        await asyncio.gather(*(self._adopt(one) for one in found if one.controller == self._controller))
        await asyncio.to_thread(remove_ended_containers)

    async def _adopt(self, owned: Owned) -> None:
        child, message = await self._ask(owned)
        if message is None:
            if child is not None:
                child.kill()
                await child.ended()
            else:
                owned.process.kill()
                await asyncio.to_thread(owned.process.wait, _GONE_WITHIN_MS)
            if not owned.control.exists():
                log.warning("labs/%s was still being made when its controller ended: removed", owned.lab)
                bury(owned, "")
                return
        run = self.runs.adopt(owned.run, Path(owned.directory), owned.lab, owned.started)
        self._made += 1
        how = _with("its process ended while there was no controller", owned)
        if message is None:
            message = _last_known(owned)
            child = None
        run.message.seed = message.seed
        run.message.backend = message.backend
        record = LabRecord(self._made, owned.lab, run, child, owned.api, message, owned)
        self._add(record)
        if child is None:
            bury(owned, how)
            self._fail(record, how)
        log.warning("labs/%s: %s", owned.lab, how if child is None else "adopted")

    async def _ask(self, owned: Owned) -> tuple[Child | None, lab_pb2.Lab | None]:
        """The line to the process, and what it says of its lab; None when it says nothing."""
        child = None
        try:
            async with asyncio.timeout(_ANSWERS_WITHIN):
                child = await adopt(f"lab {owned.lab}", owned.process, owned.control)
                answer = await child.heard()
        except (OSError, TimeoutError):
            return child, None
        if answer is None or "lab" not in answer:
            return child, None
        return child, lab_pb2.Lab.FromString(base64.b64decode(answer["lab"]))

    def _clean(self, child: Child) -> None:
        """Remove what a process left that was killed while it made a lab."""
        owned = journal.owned_by(self._state, child.pid)
        if owned is not None and not owned.process.running:
            bury(owned, "")

    async def delete(self, name: str) -> None:
        """End a lab and complete its run. It goes on when the caller leaves."""
        record = self.get(name)
        del self.by_name[name]
        await asyncio.shield(self._spawn(self._end(record, export=True)))

    async def _end(self, record: LabRecord, export: bool) -> None:
        message = record.message if record.failure else await record.refresh()
        record.ending = True
        child = record.child
        if child is not None:
            child.tell({"end": True, "export": export})
            if not record.answers:
                child.kill()
            assert record.gone is not None
            await record.gone
        self._spawn(record.channel.close(_CALLS_END_WITHIN))
        if not record.run.ended and child is not None:
            if record.ended_well and not record.why:
                record.run.end(run_pb2.Run.STATE_PASSED)
            else:
                record.run.message.time_ns = message.time_ns
                record.run.end(run_pb2.Run.STATE_ERROR, record.why or await child.ended())
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
                if record.child is not None:
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


def _keeps(request: lab_pb2.CreateLabRequest, default: bool) -> bool:
    """Whether the lab goes on without a controller. Raises InvalidArgument."""
    wanted = request.on_controller_loss
    if wanted not in lab_pb2.ControllerLoss.values():
        raise InvalidArgument(f"on_controller_loss: {wanted} is the number of none", "on_controller_loss")
    real = request.backend in REAL
    if wanted == lab_pb2.CONTROLLER_LOSS_KEEP and not real:
        raise InvalidArgument(
            f"on_controller_loss: KEEP is for real-time labs ({', '.join(REAL)}); a sim lab ends with its controller",
            "on_controller_loss",
        )
    return real and (wanted == lab_pb2.CONTROLLER_LOSS_KEEP or (not wanted and default))


def _with(how: str, owned: Owned | None) -> str:
    """How a process ended, with the last line of its log."""
    words = owned.last_words if owned is not None else ""
    return f"{how}: {words}" if words else how


def _last_known(owned: Owned) -> lab_pb2.Lab:
    """What is known of a lab whose process is gone."""
    message = lab_pb2.Lab(
        name=f"labs/{owned.lab}",
        real_time=True,
        run=f"runs/{owned.run}",
        directory=owned.directory,
        on_controller_loss=lab_pb2.CONTROLLER_LOSS_KEEP if owned.keep else lab_pb2.CONTROLLER_LOSS_REMOVE,
    )
    message.create_time.FromNanoseconds(round(owned.started * 1e9))
    with contextlib.suppress(TcplabError):
        manifest = Bundle.open(owned.directory).manifest
        message.seed, message.backend = manifest["seed"], manifest["backend"]
        message.capture, message.topology = manifest["capture"], manifest["topology"].get("name", "")
    return message


class LabsService:
    """LabService of the API but for Advance, which is the lab's own."""

    def __init__(self, labs: Labs) -> None:
        self.labs = labs
        self._requests: Requests[lab_pb2.Lab] = Requests()

    async def CreateLab(self, request: lab_pb2.CreateLabRequest, context: Context) -> lab_pb2.Lab:
        return await self._requests.once(request, lambda: self.labs.create(request))

    async def GetLab(self, request: lab_pb2.GetLabRequest, context: Context) -> lab_pb2.Lab:
        name = names.parts_of(request)[0]
        creating = self.labs.creating.get(name)
        return creating if creating is not None else await self.labs.get(name).refresh()

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
        creating = list(self.labs.creating.values())
        if request.name:
            (name,) = names.LAB.parse(request.name, "name")
            creating = [one for one in creating if one.name == request.name]
            records = [] if creating else [self.labs.get(name)]
        with self.labs.changes() as changes:
            for message in creating:
                yield lab_pb2.WatchLabsResponse(lab=message)
            for record in records:
                yield lab_pb2.WatchLabsResponse(lab=await record.refresh())
            yield lab_pb2.WatchLabsResponse(snapshot_done=True)
            while True:
                message, deleted = await changes.get()
                if request.name in ("", message.name):
                    yield lab_pb2.WatchLabsResponse(lab=message, deleted=deleted)

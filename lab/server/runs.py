"""The runs of a controller: those of labs, and experiments in processes of their own."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import shutil
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Final

from google.protobuf import empty_pb2
from google.rpc import status_pb2

from lab.backends.catalogue import check_backend
from lab.server import names
from lab.server.children import Child, Nursery
from lab.server.convert import fidelity, uploaded
from lab.server.errors import CallFailed, OutOfRange
from lab.server.live_capture import Wire
from lab.server.news import News
from lab.server.pages import page
from lab.server.requests import Requests
from lab.server.serving import Context
from lab.shipped import shipped_files
from lab.trace.bundle import Bundle
from nodes.base.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, TcplabError
from tcplab.v1 import run_pb2

_CHUNK: Final = 1 << 18
_RUNNING: Final = run_pb2.Run.STATE_RUNNING


class Run:
    """A run and its directory. `lab` is its lab's id while there is one; `ended`: nothing is added to its files."""

    def __init__(self, serial: int, name: str, directory: Path, lab: str = "") -> None:
        self.serial = serial
        self.name = name
        self.directory = directory
        self.lab = lab
        self.child: Child | None = None
        self.news = News()
        self.message = run_pb2.Run(name=f"runs/{name}", state=_RUNNING, directory=str(directory))
        self.message.create_time.GetCurrentTime()

    @property
    def ended(self) -> bool:
        return self.message.state != _RUNNING

    def end(self, state: run_pb2.Run.State.ValueType, error: str = "") -> None:
        """It has come to this."""
        self.message.state = state
        self.message.error = error
        self.lab = ""
        self.child = None
        self.news.tell()

    def take(self, facts: Mapping[str, Any]) -> None:
        """What the manifest says in the end that the API has fields for."""
        if (time_ns := facts.get("lab_time_ns")) is not None:
            self.message.time_ns = time_ns
        if (found := facts.get("fidelity")) is not None:
            self.message.fidelity.CopyFrom(fidelity(found))

    # As a trace (trace_service.Source); what is not flushed yet shows later.

    @property
    def spool(self) -> Path:
        return Bundle.open(self.directory).spool

    @property
    def has_frames(self) -> bool:
        return False

    @property
    def interfaces(self) -> tuple[str, ...]:
        return ()

    async def settle(self) -> None:
        return

    def flush(self) -> None:
        return

    def tap(self, interface: str) -> Wire:
        raise FailedPrecondition(f"runs/{self.name}: captures are made of labs")


class Runs:
    """Runs by name, oldest first. Their directories are in `directory`."""

    def __init__(self, directory: Path, nursery: Nursery) -> None:
        self.directory = directory
        self.nursery = nursery
        self.by_name: dict[str, Run] = {}
        self._made = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def get(self, name: str) -> Run:
        """Raises NotFound."""
        run = self.by_name.get(name)
        if run is None:
            raise NotFound(f"runs/{name}: there is no such run of this controller")
        return run

    def reserve(self, wanted: str, exact: bool = False, lab: str = "") -> Run:
        """A run of that name, or of `<wanted>-2` ... when it is taken. Raises AlreadyExists for an `exact` one."""
        name, number = wanted, 1
        while name in self.by_name or (self.directory / name).exists():
            if exact:
                raise AlreadyExists(f"runs/{wanted}: there is one already, in {self.directory / wanted}")
            number += 1
            name = f"{wanted}-{number}"
        self._made += 1
        run = self.by_name[name] = Run(self._made, name, self.directory / name, lab)
        return run

    def adopt(self, name: str, directory: Path, lab: str, started: float) -> Run:
        """The run of a lab of an earlier controller; `started` in wall seconds since 1970."""
        self._made += 1
        run = self.by_name[name] = Run(self._made, name, directory, lab)
        run.message.create_time.FromNanoseconds(round(started * 1e9))
        return run

    def discard(self, run: Run) -> None:
        """Forget a run and remove its files."""
        self.by_name.pop(run.name, None)
        shutil.rmtree(run.directory, ignore_errors=True)

    async def start(self, run: Run, job: dict[str, Any], name: str) -> None:
        """Start an experiment in a process of its own; returns when it has begun. Raises CallFailed."""
        try:
            child = run.child = await self.nursery.child(f"run {run.name}", job)
            answer = await child.heard()
            if answer is None:
                raise FailedPrecondition(f"runs/{run.name} could not be started: {await child.ended()}")
            if "error" in answer:
                raise CallFailed(status_pb2.Status.FromString(base64.b64decode(answer["error"])))
        except BaseException:
            if run.child is not None:
                run.child.kill()
                await run.child.ended()
            self.discard(run)
            raise
        run.message.experiment = answer["experiment"]
        run.message.seed = answer["seed"]
        run.message.backend = answer["backend"]
        task = asyncio.create_task(self._follow(run, child))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _follow(self, run: Run, child: Child) -> None:
        outcome = None
        while (said := await child.heard()) is not None:
            outcome = said.get("outcome", outcome)
            if "time_ns" in said:
                run.message.time_ns = said["time_ns"]
                run.news.tell()
        how = await child.ended()
        if outcome is None:
            run.end(run_pb2.Run.STATE_ERROR, how)
            with contextlib.suppress(TcplabError):
                Bundle.open(run.directory).finish(failure=how)
            return
        run.take(outcome)
        for one in outcome["expectations"]:
            events = f" (events {', '.join(map(str, one['events'][:20]))})" if one["events"] else ""
            run.message.results.add(expectation=one["expected"], passed=one["ok"], found=one["found"] + events)
        if outcome["problems"]:
            run.end(run_pb2.Run.STATE_ERROR, "; ".join(outcome["problems"]))
        else:
            run.end(run_pb2.Run.STATE_PASSED if outcome["ok"] else run_pb2.Run.STATE_FAILED)

    async def close(self) -> None:
        """Cancel those that go on."""
        for run in self.by_name.values():
            if run.child is not None:
                run.child.tell({"end": True})
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=5)
            for task in late:
                task.cancel()


class RunService:
    """RunService of the API."""

    def __init__(self, runs: Runs, allow_code: bool) -> None:
        self.runs = runs
        self._allow_code = allow_code
        self._requests: Requests[run_pb2.Run] = Requests()

    async def CreateRun(self, request: run_pb2.CreateRunRequest, context: Context) -> run_pb2.Run:
        return await self._requests.once(request, lambda: self._create(request))

    async def _create(self, request: run_pb2.CreateRunRequest) -> run_pb2.Run:
        if request.run_id:
            names.check_id(request.run_id, "run_id")
        source = request.WhichOneof("source")
        if source is None:
            raise InvalidArgument("experiment: is missing; give experiment, a name, or experiment_yaml", "experiment")
        if request.backend:
            check_backend(request.backend)
        seed = request.seed if request.HasField("seed") else None
        if seed is not None and seed < 0:
            raise InvalidArgument(f"seed: {seed} is not 0 to {(1 << 63) - 1}", "seed")
        text = request.experiment_yaml if source == "experiment_yaml" else shipped_text(request.experiment)
        run = self.runs.reserve(request.run_id or request.experiment or "experiment", exact=bool(request.run_id))
        job = {
            "what": "run",
            "backend": request.backend,
            "yaml": text,
            "overrides": [f"{path}={request.set[path]}" for path in sorted(request.set)],
            "seed": seed,
            "directory": str(run.directory),
            "field": source,
            "congestion_controls": uploaded(request.congestion_controls),
            "allow_code": self._allow_code,
        }
        await self.runs.start(run, job, run.name)
        return run.message

    def GetRun(self, request: run_pb2.GetRunRequest, context: Context) -> run_pb2.Run:
        return self._run(request).message

    def ListRuns(self, request: run_pb2.ListRunsRequest, context: Context) -> run_pb2.ListRunsResponse:
        runs, token = page(self.runs.by_name.values(), request, lambda run: run.serial)
        return run_pb2.ListRunsResponse(runs=[run.message for run in runs], next_page_token=token)

    async def WatchRun(self, request: run_pb2.WatchRunRequest, context: Context) -> AsyncIterator[run_pb2.Run]:
        run = self._run(request)
        while True:
            changed, ended = run.news.next, run.ended
            yield run.message
            if ended:
                return
            await changed.wait()

    async def DeleteRun(self, request: run_pb2.DeleteRunRequest, context: Context) -> empty_pb2.Empty:
        run = self._run(request)
        if run.lab:
            raise FailedPrecondition(f"runs/{run.name} is that of labs/{run.lab}, which goes on; delete the lab first")
        child = run.child
        if child is not None:
            child.kill()
            await child.ended()
            run.end(run_pb2.Run.STATE_CANCELLED)
        self.runs.by_name.pop(run.name, None)
        await asyncio.to_thread(self.runs.discard, run)
        return empty_pb2.Empty()

    def ListFiles(self, request: run_pb2.ListFilesRequest, context: Context) -> run_pb2.ListFilesResponse:
        run = self._run(request)
        return run_pb2.ListFilesResponse(
            files=[run_pb2.File(path=path, size=file.stat().st_size) for path, file in _files(run).items()]
        )

    async def ReadFile(
        self, request: run_pb2.ReadFileRequest, context: Context
    ) -> AsyncIterator[run_pb2.ReadFileResponse]:
        run = self._run(request)
        path = _files(run).get(request.path)
        if path is None:
            raise NotFound(f"runs/{run.name} has no file {request.path[:200]!r}; ListFiles names them")
        size = path.stat().st_size
        if not 0 <= request.offset <= size:
            raise OutOfRange(f"offset: {request.offset} is not in 0 to {size}, the size of {request.path}")
        with path.open("rb") as file:
            file.seek(request.offset)
            while data := file.read(_CHUNK):
                yield run_pb2.ReadFileResponse(data=data)

    def _run(self, request: Any) -> Run:
        return self.runs.get(names.parts_of(request)[0])


class ExperimentService:
    """ExperimentService of the API."""

    def __init__(self, nursery: Nursery, allow_code: bool) -> None:
        self.nursery = nursery
        self._allow_code = allow_code

    async def ListExperiments(
        self, request: run_pb2.ListExperimentsRequest, context: Context
    ) -> run_pb2.ListExperimentsResponse:
        return run_pb2.ListExperimentsResponse(
            experiments=[await self._read(shipped_text(name)) for name in shipped_files("experiments")]
        )

    async def ValidateExperiment(
        self, request: run_pb2.ValidateExperimentRequest, context: Context
    ) -> run_pb2.ValidateExperimentResponse:
        return run_pb2.ValidateExperimentResponse(
            experiment=await self._read(request.yaml, uploaded(request.congestion_controls))
        )

    async def _read(self, text: str, controls: Mapping[str, str] | None = None) -> run_pb2.Experiment:
        """In a process of its own: reading a large file takes a while."""
        job = {
            "what": "validate",
            "yaml": text,
            "field": "yaml",
            "congestion_controls": controls or {},
            "allow_code": self._allow_code,
        }
        child = await self.nursery.child("validation", job)
        answer = await child.heard()
        how = await child.ended()
        if answer is None:
            raise FailedPrecondition(f"the experiment could not be read: {how}")
        if "error" in answer:
            raise CallFailed(status_pb2.Status.FromString(base64.b64decode(answer["error"])))
        return run_pb2.Experiment(name=answer["experiment"], description=answer["description"], yaml=text)


def shipped_text(name: str) -> str:
    """The text of a shipped experiment. Raises NotFound."""
    shipped = shipped_files("experiments")
    if name not in shipped:
        raise NotFound(f"experiment: there is no {name[:80]!r}; there are {', '.join(shipped)}")
    return shipped[name].read_text("utf-8-sig")


def _files(run: Run) -> dict[str, Path]:
    """Its files by their paths inside the directory."""
    return {
        path.relative_to(run.directory).as_posix(): path
        for path in sorted(run.directory.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }

"""Controllers: where labs and runs are made."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from tcplab.client.address import ENVIRONMENT, default_socket
from tcplab.client.aio.labs import Lab
from tcplab.client.aio.operation import texts
from tcplab.client.aio.rpc import Rpc, start_private, stop_private
from tcplab.client.aio.runs import Run
from tcplab.client.channel import Target
from tcplab.client.errors import FailedPrecondition, Timeout, Unavailable
from tcplab.client.process import PrivateController
from tcplab.client.values import enum_value
from tcplab.v1 import backend_pb2, lab_pb2, run_pb2, trace_pb2

#: Wall seconds in which a controller that was found answers, or is taken for dead.
_ANSWER_WITHIN: Final = 5.0


class Controller:
    """The controller at `address` (`unix:/path`, `host:port`); use it as a context, or `open` and `close` it.

    Without an address: the one that TCPLAB_ADDRESS names, else the one that runs on this machine's default socket, else
    a private one, which is started and ends with this object (its runs go to the directory `runs`, or go with it).
    `private=True` always starts one. `ca` and `token` are for a remote one; `deadline` is
    the longest that one call may take, wall seconds (none); see Target.
    """

    def __init__(
        self,
        address: str = "",
        *,
        ca: Path | str | None = None,
        token: str = "",
        runs: Path | str | None = None,
        private: bool = False,
        deadline: float | None = None,
    ) -> None:
        self.address = "" if private else address or os.environ.get(ENVIRONMENT, "")
        self._look_around = not private
        self._ca = Path(ca) if ca is not None else None
        self._token = token
        self._deadline = deadline
        self._runs = str(runs) if runs is not None else None
        self._private: PrivateController | None = None
        self._open_rpc: Rpc | None = None

    async def open(self) -> Self:
        """Connect, and start a private controller if one is needed. Raises Unavailable."""
        if self._open_rpc is not None:
            return self
        if not self.address and self._look_around and await _answers(default_socket()):
            self.address = f"unix:{default_socket()}"
        if not self.address:
            self._private = await start_private(self._runs)
            self.address = self._private.address
        self._open_rpc = Rpc(Target(self.address, self._ca, self._token, self._deadline))
        return self

    async def close(self) -> None:
        """Disconnect; a private controller ends, and its labs with it. Idempotent."""
        rpc, self._open_rpc = self._open_rpc, None
        private, self._private = self._private, None
        if rpc is not None:
            await rpc.close()
        if private is not None:
            await stop_private(private)

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def pid(self) -> int | None:
        """Process id of the private controller; None when it is not ours."""
        return self._private.pid if self._private is not None else None

    @property
    def _rpc(self) -> Rpc:
        if self._open_rpc is None:
            raise FailedPrecondition("this Controller is not open: use it in a `with`, or call open()")
        return self._open_rpc

    async def create_lab(
        self,
        topology: str | Path | Mapping[str, Any],
        *,
        seed: int = 1,
        name: str = "",
        level: str = "segments",
        capture: bool = True,
        backend: str = "",
        on_controller_loss: str = "",
        request_id: str = "",
        congestion_controls: Iterable[str | Path] = (),
    ) -> Lab:
        """Make a lab from a shipped topology (`dumbbell`), a generator (`linear,3`), a YAML file here (a Path, or text
        that ends in .yaml or .yml), YAML text (several lines) or a mapping of the same content.

        `level` is how much the trace records: states, congestion, segments or all. `backend` is sim (default) or netns,
        in real time; `on_controller_loss`, keep or remove, says what becomes of a real-time lab when the controller is
        killed. `congestion_controls` are Python files here, each with a congestion control of your own; a server runs
        them only if it was started with --allow-code (PermissionDenied).
        """
        request = lab_pb2.CreateLabRequest(
            lab_id=name,
            request_id=request_id,
            seed=seed,
            capture=capture,
            backend=backend,
            on_controller_loss=lab_pb2.ControllerLoss.ValueType(_loss(on_controller_loss)),
            trace_level=trace_pb2.TraceLevel.ValueType(enum_value(trace_pb2.TraceLevel.DESCRIPTOR, level, "level")),
            congestion_controls=_sources(congestion_controls),
        )
        if isinstance(topology, Mapping):
            request.topology_yaml = json.dumps(topology)
        elif (text := _file_text(topology)) is not None:
            request.topology_yaml = text
        else:
            request.topology = str(topology)
        return Lab(self._rpc, await self._rpc.call(self._rpc.labs.CreateLab, request))

    async def lab(self, name: str) -> Lab:
        """A lab that exists."""
        return Lab(self._rpc, await self._rpc.call(self._rpc.labs.GetLab, lab_pb2.GetLabRequest(name=f"labs/{name}")))

    async def labs(self) -> list[Lab]:
        """All labs, oldest first."""
        pages = self._rpc.pages(self._rpc.labs.ListLabs, lab_pb2.ListLabsRequest())
        return [Lab(self._rpc, one) async for page in pages for one in page.labs]

    async def backends(self) -> list[backend_pb2.Backend]:
        """What labs can be built with here, and what each can do."""
        return list((await self._rpc.call(self._rpc.backends.ListBackends, backend_pb2.ListBackendsRequest())).backends)

    async def experiments(self) -> dict[str, str]:
        """Descriptions of the shipped experiments, by name."""
        answer = await self._rpc.call(self._rpc.experiments.ListExperiments, run_pb2.ListExperimentsRequest())
        return {one.name: one.description for one in answer.experiments}

    async def start_run(
        self,
        experiment: str | Path,
        *,
        seed: int | None = None,
        set: Mapping[str, Any] | None = None,
        name: str = "",
        backend: str = "",
        congestion_controls: Iterable[str | Path] = (),
    ) -> Run:
        """Start a run of a shipped experiment, a file here, or YAML text, on a backend; without waiting.

        `congestion_controls` are those of create_lab."""
        request = run_pb2.CreateRunRequest(
            run_id=name,
            seed=seed,
            set=texts(set),
            backend=backend,
            congestion_controls=_sources(congestion_controls),
        )
        if (text := _file_text(experiment)) is not None:
            request.experiment_yaml = text
        else:
            request.experiment = str(experiment)
        return Run(self._rpc, await self._rpc.call(self._rpc.runs.CreateRun, request))

    async def run(
        self,
        experiment: str | Path,
        *,
        seed: int | None = None,
        set: Mapping[str, Any] | None = None,
        name: str = "",
        backend: str = "",
        congestion_controls: Iterable[str | Path] = (),
    ) -> Run:
        """Run an experiment to its end: `controller.run("bulk-loss", set={"links.h1-h2.loss": "2%"}).passed`."""
        run = await self.start_run(
            experiment, seed=seed, set=set, name=name, backend=backend, congestion_controls=congestion_controls
        )
        await run.wait()
        return run

    async def runs(self) -> list[Run]:
        """All runs, oldest first."""
        pages = self._rpc.pages(self._rpc.runs.ListRuns, run_pb2.ListRunsRequest())
        return [Run(self._rpc, one) async for page in pages for one in page.runs]


class lab:
    """A lab for one block: `with tcplab.client.lab("dumbbell", seed=1) as lab:`.

    `topology` and the rest are those of Controller.create_lab; `address`, `ca`, `token`, `runs` those of Controller.
    With `save` the run's files are copied to that directory here when the block ends.
    """

    def __init__(
        self,
        topology: str | Path | Mapping[str, Any],
        *,
        seed: int = 1,
        name: str = "",
        level: str = "segments",
        capture: bool = True,
        backend: str = "",
        congestion_controls: Iterable[str | Path] = (),
        address: str = "",
        ca: Path | str | None = None,
        token: str = "",
        runs: Path | str | None = None,
        save: Path | str | None = None,
    ) -> None:
        self._controller = Controller(address, ca=ca, token=token, runs=runs)
        self._wanted: dict[str, Any] = {
            "topology": topology,
            "seed": seed,
            "name": name,
            "level": level,
            "capture": capture,
            "backend": backend,
            "congestion_controls": congestion_controls,
        }
        self._save = save
        self._lab: Lab | None = None

    async def __aenter__(self) -> Lab:
        await self._controller.open()
        try:
            self._lab = await self._controller.create_lab(**self._wanted)
        except BaseException:
            await self._controller.close()
            raise
        return self._lab

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._lab is not None
        try:
            await self._lab.delete()
            if self._save is not None:
                rpc = self._controller._rpc
                message = await rpc.call(rpc.runs.GetRun, run_pb2.GetRunRequest(name=self._lab.run))
                await Run(rpc, message).save(self._save)
        finally:
            await self._controller.close()


async def run(
    experiment: str | Path,
    *,
    seed: int | None = None,
    set: Mapping[str, Any] | None = None,
    backend: str = "",
    congestion_controls: Iterable[str | Path] = (),
    address: str = "",
    save: Path | str | None = None,
) -> Run:
    """Run an experiment to its end: `tcplab.client.run("bulk-loss", seed=7).passed`. See Controller.run.

    `save` is a directory here that its files are copied to; a private controller's are gone afterwards.
    """
    async with Controller(address) as controller:
        run = await controller.run(
            experiment, seed=seed, set=set, backend=backend, congestion_controls=congestion_controls
        )
        if save is not None:
            await run.save(save)
    return run


def _loss(word: str) -> int:
    return enum_value(lab_pb2.ControllerLoss.DESCRIPTOR, word, "on_controller_loss") if word else 0


def _file_text(what: str | Path) -> str | None:
    """The text of a file here, or `what` itself when it is text of several lines; None: a name."""
    if isinstance(what, Path) or what.endswith((".yaml", ".yml")):
        return Path(what).read_text("utf-8")
    return what if "\n" in what else None


def _sources(files: Iterable[str | Path]) -> list[lab_pb2.SourceFile]:
    """Python files here, to be sent."""
    return [lab_pb2.SourceFile(name=Path(file).name, text=Path(file).read_text("utf-8-sig")) for file in files]


async def _answers(socket: Path) -> bool:
    """Whether a controller serves on a unix socket; what a crash left behind does not."""
    if not _is_socket(socket):
        return False
    rpc = Rpc(Target(f"unix:{socket}"))
    try:
        await rpc.call(rpc.labs.ListLabs, lab_pb2.ListLabsRequest(page_size=1), _ANSWER_WITHIN)
    except (Unavailable, Timeout):
        return False
    finally:
        await rpc.close()
    return True


def _is_socket(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(path.stat().st_mode)
    except OSError:
        return False

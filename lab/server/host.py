"""The one lab of a lab process, as its services see it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from google.protobuf import timestamp_pb2

from lab.backends.base import WAIT_NS, Advance, Lab
from lab.backends.until import Stopped, Until
from lab.server.live_capture import Wire
from lab.server.news import News
from lab.trace.bundle import Bundle
from nodes.base.clock import NEVER, SECOND
from nodes.base.errors import Cancelled, FailedPrecondition, TcplabError, Unsupported
from nodes.base.tasks import Task
from tcplab.v1 import lab_pb2, trace_pb2

#: Virtual time runs for so long, in wall time, before other calls get their turn.
SLICE_NS: Final = 2_000_000
#: A paced clock is moved at least so often, wall seconds.
PACE_TICK: Final = 0.005


#: What happened in a real-time lab is in its file after so long, wall seconds: nothing else would see to that.
FLUSH_AFTER: Final = 0.2


class LabHost:
    """`name` is the lab's id; `news` tells of anything that may have changed. `keep`: it goes on without a controller.

    Of a real-time lab `on_change` is called when it, or a node, has FAILED.
    """

    def __init__(self, name: str, run: str, lab: Lab, bundle: Bundle, keep: bool = False) -> None:
        self.name = name
        self.run = run
        self.lab = lab
        self.bundle = bundle
        self.news = News()
        self.keep = keep
        self.ended = False
        self.on_change: Callable[[], None] = lambda: None
        self._failure = ""
        self._holder = ""
        self._waiting = 0
        self._pumping = False
        self._timer: asyncio.TimerHandle | None = None
        self._flushing: asyncio.TimerHandle | None = None
        self._created = timestamp_pb2.Timestamp()
        self._created.FromDatetime(datetime.fromisoformat(bundle.manifest["started"]))

    @property
    def spool(self) -> Path:
        """Where the events are."""
        return self.bundle.spool

    @property
    def has_frames(self) -> bool:
        """Whether captures can be made."""
        return self.lab.sink.capture

    @property
    def interfaces(self) -> tuple[str, ...]:
        """Every interface, such as h1:eth0."""
        return tuple(str(one) for node in self.lab.topology.nodes.values() for one in node.interfaces)

    def message(self) -> lab_pb2.Lab:
        """The lab as it is now."""
        lab = self.lab
        next_time = NEVER if lab.real_time else lab.next_time()
        keep = lab_pb2.CONTROLLER_LOSS_KEEP if self.keep else lab_pb2.CONTROLLER_LOSS_REMOVE
        return lab_pb2.Lab(
            name=f"labs/{self.name}",
            state=lab_pb2.Lab.STATE_FAILED if self.failure else lab_pb2.Lab.STATE_READY,
            failure=self.failure,
            backend=lab.backend,
            topology=lab.topology.name,
            seed=lab.seed,
            trace_level=trace_pb2.TraceLevel.ValueType(lab.sink.level),
            capture=lab.sink.capture,
            time_ns=lab.now(),
            next_time_ns=next_time if next_time != NEVER else None,
            advancing=bool(self._holder or self._waiting),
            run=f"runs/{self.run}",
            directory=str(self.bundle.path),
            create_time=self._created,
            real_time=lab.real_time,
            failed_nodes={node: why for node in lab.nodes if (why := lab.node_failure(node))},
            on_controller_loss=keep,
        )

    @property
    def failure(self) -> str:
        """Why it cannot go on; "" while it can."""
        return self._failure or self.lab.failure

    # A real-time lab does its work in this loop, between calls.

    def start_pumping(self) -> None:
        """From now on what happens in a real-time lab is handled in the running loop. Nothing to do for others."""
        if self.lab.real_time:
            self.lab.on_change = self._on_lab
            self.lab.on_earlier = self._arm
            asyncio.get_running_loop().add_reader(self.lab.fileno(), self._pump)
            self._pump()

    def stop_pumping(self) -> None:
        """Handle nothing any more. Idempotent."""
        if self.lab.real_time and not self.ended:
            asyncio.get_running_loop().remove_reader(self.lab.fileno())
        for timer in (self._timer, self._flushing):
            if timer is not None:
                timer.cancel()

    def future(self, task: Task) -> asyncio.Future[Any]:
        """What a task of the lab comes to; being cancelled cancels it."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def on_done(task: Task) -> None:
            if future.done():
                return
            if task.error is not None:
                future.set_exception(task.error)
            else:
                future.set_result(task.result)

        def on_future(future: asyncio.Future[Any]) -> None:
            if future.cancelled():
                task.cancel()

        task.on_done(on_done)
        future.add_done_callback(on_future)
        return future

    def tap(self, interface: str) -> Wire:
        """What passes an interface from now on. Raises Unsupported in virtual time."""
        node, _, name = interface.partition(":")
        with self.lab.inside(node):
            return Wire(name, interface, self.lab.epoch_ns)

    def _on_lab(self) -> None:
        self.news.tell()
        self.on_change()

    def _pump(self) -> None:
        if self.ended:
            return
        self._pumping = True
        try:
            with self._failing():
                self.lab.pump()
        finally:
            self._pumping = False
        self.news.tell()
        self._arm()
        if self._flushing is None:
            self._flushing = asyncio.get_running_loop().call_later(FLUSH_AFTER, self._on_flush)

    def _on_flush(self) -> None:
        self._flushing = None
        with self._failing():
            self.flush()

    def _arm(self) -> None:
        if self.ended or self._pumping:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        next_time = self.lab.next_time()
        if next_time != NEVER:
            delay = max(0, next_time - self.lab.now()) / SECOND
            self._timer = asyncio.get_running_loop().call_later(delay, self._pump)

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        """An error in here, as of a disk that is full, is the end of the lab."""
        try:
            yield
        except TcplabError as error:
            self._failure = self._failure or str(error)
            self.on_change()

    async def advance(self, until: Until, pace: float, holder: str) -> Stopped:
        """Move the clock, in slices, other calls in between; one at a time. Being cancelled leaves it where it is.

        In real time, where it moves by itself, any number can wait.
        """
        if self.lab.real_time:
            return await self._wait(until, pace)
        if self._holder:
            raise FailedPrecondition(
                f"the clock of labs/{self.name} is held by {self._holder}, at {self.lab.now()} ns; one can at a time"
            )
        advance = self.lab.start_advance(until)
        self._holder = holder
        try:
            if pace:
                return await self._paced(advance, pace)
            return await self._fast(advance)
        finally:
            self._holder = ""
            advance.close()
            self.news.tell()

    async def _wait(self, until: Until, pace: float) -> Stopped:
        if pace not in (0, 1):
            raise Unsupported(
                f"pace: {pace:g}; the time of labs/{self.name} is real, it passes by itself; backend sim has another"
            )
        advance = self.lab.start_advance(until)
        self._waiting += 1
        try:
            while True:
                changed = self.news.next
                stopped = advance.step(1)
                if stopped is not None:
                    return stopped
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(WAIT_NS / SECOND):
                        await changed.wait()
                self._check()
        finally:
            self._waiting -= 1
            advance.close()

    async def _fast(self, advance: Advance) -> Stopped:
        calls = 64
        while True:
            started = time.perf_counter_ns()
            stopped = advance.step(calls)
            if stopped is not None:
                return stopped
            took = time.perf_counter_ns() - started
            calls = max(16, min(calls * SLICE_NS // max(took, 1), calls * 4, 1 << 20))
            self.news.tell()
            await asyncio.sleep(0)
            self._check()

    async def _paced(self, advance: Advance, pace: float) -> Stopped:
        """`pace` lab seconds for each wall second, never faster; late when there is too much to do."""
        lab = self.lab
        origin_ns, origin = lab.now(), time.perf_counter()
        while True:
            due = origin_ns + int((time.perf_counter() - origin) * pace * SECOND)
            stopped = advance.step(1000, max(lab.now(), min(due, NEVER)))
            if stopped is not None:
                return stopped
            self.news.tell()
            ahead = 0.0
            if lab.next_time() > due:
                ahead = min((lab.next_time() - due) / SECOND / pace, PACE_TICK)
            await asyncio.sleep(ahead)
            self._check()

    def _check(self) -> None:
        if self.ended:
            raise Cancelled(f"labs/{self.name} is being deleted; its clock stopped at {self.lab.now()} ns")

    def end(self, why: str = "") -> None:
        """Close the lab and complete the manifest of its run; followers of the trace come to its end. Idempotent."""
        if self.ended:
            return
        self.stop_pumping()
        self.ended = True
        try:
            self.lab.close_lab()
        except TcplabError as error:  # the disk is full, say
            why = why or str(error)
        facts = {"failure": why} if why else {}
        try:
            self.bundle.finish(lab_time_ns=self.lab.now(), events=self.lab.sink.sequence, **self.lab.facts(), **facts)
        except TcplabError as error:
            why = why or str(error)
        self._failure = self._failure or why
        self.news.tell()

    async def settle(self) -> None:
        """Flush when all that has happened by now is recorded: in real time other processes say it a little later."""
        task = None if self.ended or self.failure else self.lab.settle()
        if task is not None:
            with contextlib.suppress(TcplabError):  # the lab ends meanwhile
                await self.future(task)
            self._pump()
        self.flush()

    def flush(self) -> None:
        """Let readers of the spool see everything up to now."""
        if not self.ended:
            self.lab.sink.flush()

"""A small trampoline for coroutines in lab time: apps, scripts and blocking user calls.

asyncio is not used here: its order of equal timers differs between Python versions, and lab time is not its time.
At each instant the tasks that became ready run in (order, wake-up number): `order` is the node's position in the
topology, so a run repeats to the byte whatever woke them. Only `Waiter`s (and what is built of them) can be awaited.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

from nodes.base.clock import NEVER, Scheduler, Timer
from nodes.base.errors import Cancelled
from nodes.base.heap import Heap

T = TypeVar("T")


class Waiter(Generic[T]):
    """Something that happens once: a value or an error. One task at most waits on it.

    `what` says in words what is awaited ("accept on 10.0.0.1:80"); it is shown when a lab has nothing left to do.
    """

    __slots__ = ("_error", "_on_done", "_value", "done", "what")

    def __init__(self, what: str) -> None:
        self.what = what
        self.done = False
        self._value: T | None = None
        self._error: BaseException | None = None
        self._on_done: Callable[[], None] | None = None

    def succeed(self, value: T) -> None:
        """Give the value. Ignored when already done."""
        if not self.done:
            self.done = True
            self._value = value
            self._wake()

    def fail(self, error: BaseException) -> None:
        """Give the error that `await` will raise. Ignored when already done."""
        if not self.done:
            self.done = True
            self._error = error
            self._wake()

    def _wake(self) -> None:
        on_done = self._on_done
        self._on_done = None
        if on_done is not None:
            on_done()

    def __await__(self) -> Generator[Waiter[T], None, T]:
        if not self.done:
            yield self
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]


class Task:
    """A running coroutine. `done`, then either `error` is set or `result` holds its value."""

    __slots__ = ("_cancel", "_coro", "_on_done", "_runner", "done", "error", "name", "order", "result", "waiting")

    def __init__(self, runner: TaskRunner, order: int, name: str, coro: Coroutine[Any, None, Any]) -> None:
        self._runner = runner
        self._coro = coro
        self._on_done: list[Callable[[Task], None]] = []
        self._cancel = False
        self.order = order
        self.name = name
        self.done = False
        self.result: Any = None
        self.error: BaseException | None = None
        self.waiting: Waiter[Any] | None = None

    def on_done(self, fn: Callable[[Task], None]) -> None:
        """Call `fn(task)` when the task ends; at once when it has."""
        if self.done:
            fn(self)
        else:
            self._on_done.append(fn)

    def cancel(self) -> None:
        """Raise `Cancelled` inside the coroutine at its next turn."""
        if not self.done:
            self._cancel = True
            if self.waiting is not None:
                self.waiting._on_done = None
            self._runner._ready(self)

    def _step(self) -> None:
        if self.done:
            return
        self.waiting = None
        try:
            if self._cancel:
                self._cancel = False
                waiter = self._coro.throw(Cancelled(f"{self.name} was cancelled"))
            else:
                waiter = self._coro.send(None)
        except StopIteration as stop:
            self._finish(stop.value, None)
            return
        except Exception as error:
            self._finish(None, error)
            return
        if not isinstance(waiter, Waiter):
            self._coro.close()
            self._finish(None, TypeError(f"task {self.name} awaited {waiter!r}; only lab awaitables can be awaited"))
            return
        self.waiting = waiter
        if waiter.done:
            self._runner._ready(self)
        else:
            waiter._on_done = self._wake

    def _wake(self) -> None:
        self._runner._ready(self)

    def _finish(self, result: Any, error: BaseException | None) -> None:
        self.done = True
        self.result = result
        self.error = error
        callbacks = self._on_done
        self._on_done = []
        for fn in callbacks:
            fn(self)


class TaskRunner:
    """Runs tasks on a Scheduler."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        #: Tasks that are ready, by order and wake-up number.
        self._queue = Heap()
        self._count = 0
        self._drain_scheduled = False
        self._drains = scheduler.sequence(self.drain)

    def spawn(self, order: int, name: str, coro: Coroutine[Any, None, Any]) -> Task:
        """Start a coroutine; its first step is taken at the current instant, not inside this call."""
        task = Task(self, order, name, coro)
        self._ready(task)
        return task

    def sleep(self, duration_ns: int) -> Waiter[None]:
        """Await this to sleep for a number of ns of lab time."""
        return self.sleep_until(self.scheduler.now() + duration_ns)

    def sleep_until(self, time_ns: int) -> Waiter[None]:
        waiter: Waiter[None] = Waiter(f"time {time_ns} ns")
        self.scheduler.post(time_ns, waiter.succeed, None)
        return waiter

    async def within(self, waiter: Waiter[T], deadline_ns: int) -> T:
        """Await `waiter`, but raise TimeoutError at `deadline_ns` (NEVER: no limit)."""
        timer: Timer | None = None
        if deadline_ns != NEVER:
            error = TimeoutError(f"no {waiter.what} by {deadline_ns} ns of lab time")
            timer = self.scheduler.call_at(deadline_ns, waiter.fail, error)
        try:
            return await waiter
        finally:
            if timer is not None:
                timer.cancel()

    def drain(self, _: Any = None) -> None:
        """Run every ready task, and those they make ready, until none is."""
        self._drain_scheduled = False
        queue = self._queue
        while len(queue):
            task: Task = queue.pop().arg
            task._step()

    def _ready(self, task: Task) -> None:
        self._count += 1
        self._queue.push(Timer(task.order, self._count, None, task))
        if not self._drain_scheduled:
            self._drain_scheduled = True
            self._drains.post(self.scheduler.now(), None)

"""Where coroutines wait for something to become ready: each is woken at every change and looks again."""

from __future__ import annotations

from collections.abc import Callable

from nodes.base.clock import NEVER
from nodes.base.tasks import TaskRunner, Waiter


class Gate:
    """Any number of tasks may wait; `notify` wakes all of them, in the order they came."""

    def __init__(self, runner: TaskRunner) -> None:
        self._runner = runner
        self._waiters: list[Waiter[None]] = []
        #: Called at every change too.
        self.on_change: Callable[[], None] | None = None

    def notify(self) -> None:
        """Something may have changed."""
        if self._waiters:
            waiters = self._waiters
            self._waiters = []
            for waiter in waiters:
                waiter.succeed(None)
        if self.on_change is not None:
            self.on_change()

    def next(self, what: str) -> Waiter[None]:
        """Await this for the next `notify`, however long it takes: what most do, without a coroutine in between."""
        waiter: Waiter[None] = Waiter(what)
        self._waiters.append(waiter)
        return waiter

    async def wait(self, what: str, deadline_ns: int) -> None:
        """Wait for the next `notify`. Raises TimeoutError at `deadline_ns` of lab time (NEVER: no limit)."""
        waiter: Waiter[None] = Waiter(what)
        self._waiters.append(waiter)
        try:
            if deadline_ns == NEVER:
                await waiter
            else:
                await self._runner.within(waiter, deadline_ns)
        except BaseException:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
            raise

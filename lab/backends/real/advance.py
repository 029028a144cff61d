"""Waiting for a condition while real time passes by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from lab.backends.advance import UntilAdvance
from lab.backends.until import IDLE, TIME, Stopped, Until
from lab.operations import Operation
from lab.trace.spool import SpoolWriter
from nodes.base.clock import MILLISECOND, NEVER
from nodes.base.real import RealScheduler
from nodes.base.tasks import Task

#: How often the members are asked whether anything is left to happen, when that is waited for.
_ASK_EVERY_NS: Final = 200 * MILLISECOND


class RealAdvance(UntilAdvance):
    """`handled_when_idle()` asks the members how much they have handled, None while something is still to happen; when
    it was the same twice in a row, nothing is under way as far as can be known. Any number can wait at once."""

    def __init__(
        self,
        scheduler: RealScheduler,
        until: Until,
        operations: list[Operation],
        apps: list[Task],
        sink: SpoolWriter,
        handled_when_idle: Callable[[], int | None],
    ) -> None:
        self._scheduler = scheduler
        self._handled_when_idle = handled_when_idle
        # No instant is refused for being past: time went by while the caller spoke.
        super().__init__(0, until, operations, apps, sink, _release_nothing)
        self._ask_at = scheduler.real_now() + _ASK_EVERY_NS if until.idle else NEVER
        self._handled: int | None = None
        if self._time_ns != NEVER:
            scheduler.post(self._time_ns, _wake, None)

    def step(self, max_calls: int, not_after_ns: int = NEVER) -> Stopped | None:
        self._check()
        try:
            now = self._scheduler.real_now()
            if self._reason:
                return self._stopped(self._reason, now)
            if now >= self._time_ns:
                return self._stopped(TIME, now)
            if now >= self._ask_at:
                self._ask_at = now + _ASK_EVERY_NS
                before, self._handled = self._handled, self._handled_when_idle()
                if self._handled is not None and self._handled == before:
                    return self._stopped(IDLE, now)
            return None
        except BaseException:
            self.close()
            raise

    def wait(self, max_ns: int) -> None:
        left = min(self._time_ns, self._ask_at) - self._scheduler.real_now()
        if left > 0:
            self._scheduler.run_once(min(left, max_ns))


def _release_nothing() -> None:
    """Nobody holds real time."""


def _wake(_: Any) -> None:
    """The loop wakes, and whoever waits looks at the clock."""

"""One movement of a lab's clock towards a condition; `SimAdvance` moves virtual time, in slices."""

from __future__ import annotations

from collections.abc import Callable

from lab.backends.base import Advance
from lab.backends.until import APPS, EVENT, IDLE, OPERATIONS, TIME, Stopped, Until
from lab.operations import Operation
from lab.trace.event import Event
from lab.trace.spool import SpoolWriter
from nodes.base.clock import NEVER, SimScheduler
from nodes.base.errors import FailedPrecondition, InvalidArgument
from nodes.base.events import LEVEL_NAMES
from nodes.base.tasks import Task


class UntilAdvance(Advance):
    """Watches for the condition. `operations` and `apps` are those waited for; `released` is called once, when the
    clock is given back. A subclass makes time pass."""

    def __init__(
        self,
        now: int,
        until: Until,
        operations: list[Operation],
        apps: list[Task],
        sink: SpoolWriter,
        released: Callable[[], None],
    ) -> None:
        if until.time_ns is not None and until.time_ns < now:
            raise InvalidArgument(f"{until.time_ns} ns is past: it is {now} ns", "until.time")
        if until.event is not None:
            level = min(kind.level for kind in until.event.kinds)
            if level > sink.level:
                raise InvalidArgument(
                    f"{' and '.join(until.event.names)} events are recorded from trace level {LEVEL_NAMES[level]} on; "
                    f"this lab has {LEVEL_NAMES[sink.level]}",
                    "until.event",
                )
        self._until = until
        self._sink = sink
        self._released: Callable[[], None] | None = released
        self._reason = ""
        self._event: Event | None = None
        self._events_left = until.nth
        self._time_ns = NEVER if until.time_ns is None else until.time_ns
        self._unsubscribe: Callable[[], None] | None = None
        if until.event is not None:
            self._unsubscribe = sink.subscribe(until.event.numbers, self._on_event)
        self._operations_left = len(operations) if until.operations else -1
        self._apps_left = len(apps) if until.apps else -1
        for operation in operations:
            operation.on_done(self._on_operation)
        for app in apps:
            app.on_done(self._on_app)

    def close(self) -> None:
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None
        released = self._released
        self._released = None
        if released is not None:
            released()

    def _check(self) -> None:
        if self._released is None:
            raise FailedPrecondition("this advance has ended")

    def _stopped(self, reason: str, now: int) -> Stopped:
        self.close()
        event = self._event
        return Stopped(reason, now, event.seq if event is not None else 0, event)

    def _halt(self, reason: str) -> None:
        """The condition holds: go no further than the call in progress."""
        self._reason = self._reason or reason
        self._on_halt()

    def _on_halt(self) -> None:
        """Stop time."""

    def _on_operation(self, _: Operation) -> None:
        self._operations_left -= 1
        if self._operations_left == 0:
            self._halt(OPERATIONS)

    def _on_app(self, _: Task) -> None:
        self._apps_left -= 1
        if self._apps_left == 0:
            self._halt(APPS)

    def _on_event(
        self,
        seq: int,
        kind: int,
        time_ns: int,
        node: int,
        connection: int,
        cause: int,
        values: tuple[int, ...],
        tail: bytes,
    ) -> None:
        if self._reason or self._until.event is None:
            return
        event = Event(seq, kind, time_ns, node, connection, cause, values, tail, self._sink.names)
        if self._until.event.matches(event):
            self._events_left -= 1
            if self._events_left == 0:
                self._event = event
                self._halt(EVENT)


class SimAdvance(UntilAdvance):
    """Moves virtual time; `waiting()` tells who waits for what, for the error when nothing can happen any more."""

    def __init__(
        self,
        scheduler: SimScheduler,
        until: Until,
        operations: list[Operation],
        apps: list[Task],
        sink: SpoolWriter,
        waiting: Callable[[], list[str]],
        released: Callable[[], None],
    ) -> None:
        self._scheduler = scheduler
        self._waiting = waiting
        super().__init__(scheduler.now(), until, operations, apps, sink, released)

    def step(self, max_calls: int, not_after_ns: int = NEVER) -> Stopped | None:
        self._check()
        scheduler = self._scheduler
        limit = min(self._time_ns, not_after_ns)
        try:
            made = 0 if self._reason else scheduler.run(limit, max_calls)
            if self._reason:
                return self._stopped(self._reason, scheduler.now())
            if made == max_calls:
                return None
            if scheduler.next_time() == NEVER and (self._until.idle or self._time_ns == NEVER):
                return self._nothing_left()
            if limit > scheduler.now():
                scheduler.jump_to(limit)
            return self._stopped(TIME, scheduler.now()) if limit == self._time_ns else None
        except BaseException:
            self.close()
            raise

    def wait(self, max_ns: int) -> None:
        """Virtual time never has to be waited for."""

    def _nothing_left(self) -> Stopped:
        now = self._scheduler.now()
        if self._until.idle:
            return self._stopped(IDLE, now)
        event = self._until.event
        wanted = [f"no {event.words()} event came"] if event is not None else []
        words = "; ".join(wanted + self._waiting()) or "nobody waits for anything"
        raise FailedPrecondition(f"nothing can happen any more, at {now} ns of lab time: {words}")

    def _on_halt(self) -> None:
        self._scheduler.stop()

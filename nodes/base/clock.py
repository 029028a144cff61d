"""Time as the whole project sees it: an int of nanoseconds, and a Scheduler that is passed in.

Links, queues, attacks and apps hold a `Scheduler` and nothing else; whether time is virtual (here) or real
(the netns backend) is decided once, by whoever builds the lab.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from mypy_extensions import i64, mypyc_attr

from nodes.base.fifo import Fifo
from nodes.base.heap import Heap
from nodes.base.heap import Timer as Timer

NANOSECOND: Final = 1
MICROSECOND: Final = 1_000
MILLISECOND: Final = 1_000_000
SECOND: Final = 1_000_000_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE

#: Later than any instant a lab can reach (146 years); "no deadline". Compiled code compares ints of 63 bits at once.
NEVER: Final = (1 << 62) - 1


@mypyc_attr(allow_interpreted_subclasses=True)
class Scheduler:
    """What code that needs time is given. Times are absolute nanoseconds of lab time, which starts at 0."""

    def now(self) -> int:
        """The current instant, ns."""
        raise NotImplementedError

    def call_at(self, time_ns: int, fn: Callable[[Any], None], arg: Any) -> Timer:
        """Call `fn(arg)` at `time_ns`. An instant already past means: as soon as possible, after what is due."""
        raise NotImplementedError

    def post(self, time_ns: int, fn: Callable[[Any], None], arg: Any) -> None:
        """`call_at` for a call that nobody will cancel: most are such, and cost less."""
        self.call_at(time_ns, fn, arg)

    def sequence(self, fn: Callable[[Any], None]) -> Sequence:
        """A way to have `fn` called many times, at instants that never go back. Costs less than `post`."""
        return Sequence(self, fn)


class Sequence:
    """Calls of one function, in the order they were asked for, such as arrivals at the end of a wire."""

    __slots__ = ("_scheduler", "fn")

    def __init__(self, scheduler: Scheduler, fn: Callable[[Any], None]) -> None:
        self._scheduler = scheduler
        self.fn = fn

    def post(self, time_ns: int, arg: Any) -> None:
        """Call `fn(arg)` at `time_ns`, which is not before that of the last `post`."""
        self._scheduler.post(time_ns, self.fn, arg)


@mypyc_attr(acyclic=True)
class _Call:
    """A call of a sequence that comes after others: when, its place among the calls of that instant, and with what."""

    __slots__ = ("arg", "number", "time_ns")

    def __init__(self, time_ns: i64, number: i64, arg: Any) -> None:
        self.time_ns: i64 = time_ns
        self.number: i64 = number
        self.arg = arg


class SimSequence(Sequence):
    """A Sequence of a SimScheduler. Its calls keep their places among all others, but only the next one is in the
    heap: so the heap holds as many entries as there are wires, not as many as there are frames on them. What is passed
    on must not lead back to the sequence: no collector of garbage sees the calls that wait."""

    __slots__ = ("_busy", "_next", "_sim", "_waiting")

    def __init__(self, scheduler: SimScheduler, fn: Callable[[Any], None]) -> None:
        super().__init__(scheduler, fn)
        self._sim = scheduler
        #: The next call, in the heap while `_busy`, and those after it.
        self._next = Timer(0, 0, self, None)
        self._busy = False
        self._waiting = Fifo()

    def post(self, time_ns: int, arg: Any) -> None:
        sim = self._sim
        sim._count = count = sim._count + 1
        if time_ns < sim._now:
            time_ns = sim._now
        if self._busy:
            self._waiting.append(_Call(time_ns, count, arg))
            return
        self._busy = True
        first = self._next
        first.time_ns = time_ns
        first.number = count
        first.arg = arg
        sim._heap.push(first)

    def shift(self) -> None:
        """The first call is being made: the one after it takes its place in the heap."""
        waiting = self._waiting
        first = self._next
        if len(waiting):
            call: _Call = waiting.popleft()
            first.time_ns = call.time_ns
            first.number = call.number
            first.arg = call.arg
            self._sim._heap.replace(first)
        else:
            self._busy = False
            first.arg = None
            self._sim._heap.pop()


class SimScheduler(Scheduler):
    """Virtual time: a heap of (time, insertion number), so equal times run in the order they were asked for.

    Nothing here reads a clock. `calls` counts the calls made: a place in a run, however it was sliced.
    """

    def __init__(self) -> None:
        self.calls = 0
        self._now = 0
        self._count = 0
        self._stopped = False
        #: Calls; of those of a sequence the next one, whose `fn` is the sequence.
        self._heap = Heap()

    def now(self) -> int:
        return self._now

    def call_at(self, time_ns: int, fn: Callable[[Any], None], arg: Any) -> Timer:
        self._count = count = self._count + 1
        timer = Timer(time_ns if time_ns > self._now else self._now, count, fn, arg)
        self._heap.push(timer)
        return timer

    def post(self, time_ns: int, fn: Callable[[Any], None], arg: Any) -> None:
        self.call_at(time_ns, fn, arg)

    def sequence(self, fn: Callable[[Any], None]) -> Sequence:
        return SimSequence(self, fn)

    def next_time(self) -> int:
        """Instant of the next call, or NEVER when nothing is scheduled."""
        heap = self._heap
        while len(heap) and heap.first().fn is None:
            heap.pop()
        return heap.first().time_ns if len(heap) else NEVER

    def run_next(self) -> bool:
        """Make the next call. False when there is none."""
        return self.run(NEVER, 1) == 1

    def run(self, limit_ns: int, max_calls: int) -> int:
        """Make up to `max_calls` calls, none later than `limit_ns`; one that calls `stop()` is the last.

        Returns how many were made. `now()` stays at the last call's instant.
        """
        heap = self._heap
        calls = before = self.calls
        last = before + max_calls
        self._stopped = False
        while len(heap) and calls < last:
            timer = heap.first()
            time_ns: int = timer.time_ns
            if time_ns > limit_ns:
                break
            fn = timer.fn
            arg = timer.arg
            if isinstance(fn, SimSequence):
                fn.shift()
                fn = fn.fn
            else:
                heap.pop()
                if fn is None:
                    continue
            self._now = time_ns
            self.calls = calls = calls + 1
            fn(arg)
            if self._stopped:
                break
        return calls - before

    def stop(self) -> None:
        """End the `run` in progress after the current call."""
        self._stopped = True

    def jump_to(self, time_ns: int) -> None:
        """Move the clock forward to `time_ns` with nothing happening on the way.

        Raises ValueError when that would go back or skip a scheduled call.
        """
        if time_ns < self._now or time_ns > self.next_time():
            raise ValueError(f"cannot jump from {self._now} to {time_ns}: next call is at {self.next_time()}")
        self._now = time_ns

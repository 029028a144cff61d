"""Time as the whole project sees it: an int of nanoseconds, and a Scheduler that is passed in.

Links, queues, attacks and apps hold a `Scheduler` and nothing else; whether time is virtual (here) or real
(the netns backend) is decided once, by whoever builds the lab.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from mypy_extensions import mypyc_attr

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


class SimSequence(Sequence):
    """A Sequence of a SimScheduler. Its calls keep their places among all others, but only the next one is in the
    heap: so the heap holds as many entries as there are wires, not as many as there are frames on them."""

    __slots__ = ("_sim", "_waiting")

    def __init__(self, scheduler: SimScheduler, fn: Callable[[Any], None]) -> None:
        super().__init__(scheduler, fn)
        self._sim = scheduler
        #: Timers, the first of which is in the heap.
        self._waiting = Fifo()

    def post(self, time_ns: int, arg: Any) -> None:
        sim = self._sim
        sim._count = count = sim._count + 1
        timer = Timer(time_ns if time_ns > sim._now else sim._now, count, self, arg)
        waiting = self._waiting
        if not len(waiting):
            sim._heap.push(timer)
        waiting.append(timer)

    def shift(self) -> None:
        """The first call is being made: the one after it takes its place in the heap."""
        waiting = self._waiting
        waiting.popleft()
        if len(waiting):
            self._sim._heap.replace(waiting.first())
        else:
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

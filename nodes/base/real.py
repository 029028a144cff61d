"""Real time: a Scheduler on the machine's clock, with a loop of its own.

Whoever holds it sees the same thing as in virtual time: `now()` is the instant of what is being handled, a timer's or,
for a frame, the kernel's time stamp; and what is due is handled in the order of instants. So a link computes exactly
what it would compute in virtual time, however late Python comes to it; only what leaves the process is late, and by
how much is counted (`lateness`). `real_now()` is the clock.

The clock is CLOCK_MONOTONIC less an epoch, which all processes of a lab share: lab time.
"""

from __future__ import annotations

import ctypes
import os
import select
from bisect import bisect_right
from collections.abc import Callable
from time import monotonic_ns
from typing import Any, Final

from mypy_extensions import mypyc_attr

from nodes.base import garbage
from nodes.base.clock import NEVER, SECOND, Scheduler, Timer
from nodes.base.heap import Heap
from nodes.base.histogram import Histogram
from nodes.base.sleep import Sleep

#: Frames taken from one source at a time, before others have their turn.
BUDGET: Final = 64
#: The longest wait without a look at the clock.
_LONGEST_NS: Final = 3600 * SECOND
_PR_SET_TIMERSLACK: Final = 29

Stamped = tuple[int, bytes]


@mypyc_attr(allow_interpreted_subclasses=True)
class Source:
    """Where frames come from. `fileno()` becomes readable when there are some."""

    def fileno(self) -> int:
        raise NotImplementedError

    def receive(self, budget: int) -> list[Stamped]:
        """Up to `budget` frames, in order, each with the instant at which it came, ns of lab time."""
        raise NotImplementedError

    def on_frame(self, frame: bytes) -> None:
        """Handle one; `now()` is its instant."""
        raise NotImplementedError


@mypyc_attr(allow_interpreted_subclasses=True)
class RealScheduler(Scheduler):
    """`epoch_ns` is the reading of CLOCK_MONOTONIC at lab time 0. `spin_ns`: the last stretch before a timer is waited
    for by looking at the clock, which costs a core and gains 50 to 100 us."""

    def __init__(self, epoch_ns: int, spin_ns: int = 0) -> None:
        self.epoch_ns = epoch_ns
        #: How late the clock was when a call took `now()` on, ns. What is called at once, after others, does not count.
        self.lateness = Histogram()
        #: Grows with everything that is handled.
        self.handled = 0
        self._spin_ns = spin_ns
        self._now = self.real_now()
        self._count = 0
        self._stopped = False
        self._heap = Heap()
        self._epoll = select.epoll()
        self._sleep = Sleep(self._epoll.fileno())
        self._readers: dict[int, Callable[[], None]] = {}
        self._writers: dict[int, Callable[[], None]] = {}
        self._sources: dict[int, Source] = {}
        #: Frames received that must wait for earlier ones that a full batch has left behind, in order.
        self._early: list[tuple[int, Source, bytes]] = []

    def now(self) -> int:
        return self._now

    def real_now(self) -> int:
        """The clock, ns of lab time."""
        return monotonic_ns() - self.epoch_ns

    def call_at(self, time_ns: int, fn: Callable[[Any], None], arg: Any) -> Timer:
        self._count = count = self._count + 1
        timer = Timer(time_ns if time_ns > self._now else self._now, count, fn, arg)
        self._heap.push(timer)
        return timer

    def next_time(self) -> int:
        """Instant of the next call, or NEVER when none is scheduled."""
        heap = self._heap
        while heap and heap.first().fn is None:
            heap.pop()
        return heap.first().time_ns if heap else NEVER

    # Descriptors.

    def fileno(self) -> int:
        """Readable when a source or reader is; timers do not show: see `next_time`."""
        return self._epoll.fileno()

    def add_reader(self, descriptor: int, fn: Callable[[], None]) -> None:
        """Call `fn()` whenever the descriptor is readable or hung up."""
        self._watch(descriptor, fn, self._writers.get(descriptor))

    def add_writer(self, descriptor: int, fn: Callable[[], None]) -> None:
        """Call `fn()` whenever the descriptor is writable or hung up."""
        self._watch(descriptor, self._readers.get(descriptor), fn)

    def remove_reader(self, descriptor: int) -> None:
        """Nothing happens when it has none."""
        self._watch(descriptor, None, self._writers.get(descriptor))

    def remove_writer(self, descriptor: int) -> None:
        """Nothing happens when it has none."""
        self._watch(descriptor, self._readers.get(descriptor), None)

    def _watch(self, descriptor: int, reader: Callable[[], None] | None, writer: Callable[[], None] | None) -> None:
        known = descriptor in self._readers or descriptor in self._writers
        for watched, fn in ((self._readers, reader), (self._writers, writer)):
            if fn is None:
                watched.pop(descriptor, None)
            else:
                watched[descriptor] = fn
        mask = (select.EPOLLIN if reader else 0) | (select.EPOLLOUT if writer else 0)
        if mask and known:
            self._epoll.modify(descriptor, mask)
        elif mask:
            self._epoll.register(descriptor, mask)
        elif known:
            self._epoll.unregister(descriptor)

    def add_source(self, source: Source) -> None:
        """Handle the frames of a source from now on."""
        descriptor = source.fileno()
        self._epoll.register(descriptor, select.EPOLLIN)
        self._sources[descriptor] = source

    def remove_source(self, source: Source) -> None:
        """Nothing more of it is handled but what has been begun. Nothing happens when it is not there."""
        if self._sources.pop(source.fileno(), None) is not None:
            self._epoll.unregister(source.fileno())
            self._early = [entry for entry in self._early if entry[1] is not source]

    # The loop.

    def run(self) -> None:
        """Handle what comes until `stop()`."""
        self._stopped = False
        while not self._stopped:
            self.run_once(_LONGEST_NS)

    def stop(self) -> None:
        """End `run` after what is being handled."""
        self._stopped = True

    def run_once(self, max_wait_ns: int) -> None:
        """Wait for something to do, but not longer than `max_wait_ns`, and do all that is due."""
        poll = self._epoll.poll
        limit = self.real_now()
        until = limit if self._early else min(self.next_time(), limit + max_wait_ns)
        if until - limit > self._spin_ns:
            self._sleep(until - limit - self._spin_ns)
        # The clock first, then what has come: so nothing that came before `limit` is missed.
        limit = self.real_now()
        ready = poll(0)
        if self._spin_ns:
            while not ready and until - self._spin_ns <= limit < until:
                limit = self.real_now()
                ready = poll(0)
        self._handle(ready, limit)

    def _handle(self, ready: list[tuple[int, int]], limit: int) -> None:
        frames = self._early
        waiting = {one: stamp for stamp, one, _ in frames}  # the last of each, for they are in order
        if waiting:
            limit = min(limit, *waiting.values())
        for descriptor, _ in ready:
            source = self._sources.get(descriptor)
            if source is not None and source not in waiting:
                batch = source.receive(BUDGET)
                if len(batch) >= BUDGET and batch[-1][0] < limit:
                    limit = batch[-1][0]  # there may be more, later than these: what is later must wait
                for stamp, frame in batch:
                    frames.append((stamp, source, frame))
        if len(frames) > 1:
            frames.sort(key=_stamp)
            until = bisect_right(frames, limit, key=_stamp)
            self._early = frames[until:]
            del frames[until:]
        else:
            self._early = []
        self.handled += len(frames)
        heap = self._heap
        for stamp, source, frame in frames:
            if heap and heap.first().time_ns <= stamp:
                self._run_timers(stamp)
            if stamp > self._now:
                self._now = stamp
            source.on_frame(frame)
        self._run_timers(limit)
        if self._readers or self._writers:
            for descriptor, events in ready:
                if events & ~select.EPOLLOUT:
                    self._call(self._readers.get(descriptor))
                if events & ~select.EPOLLIN:
                    self._call(self._writers.get(descriptor))
            self._run_timers(self._now)

    def _call(self, fn: Callable[[], None] | None) -> None:
        if fn is not None:
            self._now = max(self._now, self.real_now())
            fn()

    def _run_timers(self, limit_ns: int) -> None:
        """Make the calls due up to `limit_ns`, which is not in the future."""
        heap = self._heap
        while heap and heap.first().time_ns <= limit_ns:
            timer = heap.pop()
            time_ns: int = timer.time_ns
            fn = timer.fn
            if fn is None:
                continue
            arg = timer.arg
            if time_ns > self._now:
                self._now = time_ns
                self.lateness.add(monotonic_ns() - self.epoch_ns - time_ns)
            self.handled += 1
            fn(arg)

    def close(self) -> None:
        """Let go of the epoll descriptor."""
        self._epoll.close()


def _stamp(entry: tuple[int, Source, bytes]) -> int:
    return entry[0]


def be_punctual() -> None:
    """What a process does before it lives in `run`: the kernel is to wake this thread within 1 us of a timer, not 50
    (prctl PR_SET_TIMERSLACK), and the garbage collector is to leave what exists so far alone."""
    garbage.settle()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_TIMERSLACK, 1000, 0, 0, 0):  # pragma: no cover - every Linux has it
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

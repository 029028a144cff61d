"""The calls that a Scheduler will make, in order.

Pure, this is heapq with tuples. Compiled, calls are compared here by their two numbers, which is several times faster
than having Python make and compare tuples.
"""

from __future__ import annotations

from heapq import heappop, heappush, heapreplace
from typing import Any, Final

from mypy_extensions import i64


class Timer:
    """`fn(arg)`, to be called at `time_ns`; of those at one instant, the lower `number` first. `cancel()` is idempotent
    and costs nothing but the flag."""

    __slots__ = ("arg", "fn", "number", "time_ns")

    def __init__(self, time_ns: i64, number: i64, fn: Any, arg: Any) -> None:
        self.time_ns: i64 = time_ns
        self.number: i64 = number
        self.fn = fn
        self.arg = arg

    def cancel(self) -> None:
        self.fn = None
        self.arg = None


def _before(a: Timer, b: Timer) -> bool:
    return a.number < b.number if a.time_ns == b.time_ns else a.time_ns < b.time_ns


#: Whether this is compiled: then functions are not those of Python.
_COMPILED: Final = type(_before).__name__ != "function"


class Heap:
    """Timers; true when there are some."""

    __slots__ = ("_pure", "_timers")

    def __init__(self) -> None:
        self._timers: list[Timer] = []
        self._pure: list[tuple[int, int, Timer]] = []

    def __len__(self) -> int:
        return len(self._timers) if _COMPILED else len(self._pure)

    def first(self) -> Timer:
        """The first of all. Raises IndexError when there is none."""
        return self._timers[0] if _COMPILED else self._pure[0][2]

    def push(self, timer: Timer) -> None:
        """Add one."""
        if not _COMPILED:
            heappush(self._pure, (timer.time_ns, timer.number, timer))
            return
        heap = self._timers
        at: i64 = len(heap)
        heap.append(timer)
        while at > 0:
            parent = (at - 1) >> 1
            above = heap[parent]
            if not _before(timer, above):
                break
            heap[at] = above
            at = parent
        heap[at] = timer

    def pop(self) -> Timer:
        """Take the first. Raises IndexError when there is none."""
        if not _COMPILED:
            return heappop(self._pure)[2]
        last = self._timers.pop()
        return self.replace(last) if self._timers else last

    def replace(self, timer: Timer) -> Timer:
        """Take the first and add another. Raises IndexError when there is none."""
        if not _COMPILED:
            return heapreplace(self._pure, (timer.time_ns, timer.number, timer))[2]
        heap = self._timers
        first = heap[0]
        size: i64 = len(heap)
        at: i64 = 0
        while True:
            child = 2 * at + 1
            if child >= size:
                break
            below = heap[child]
            if child + 1 < size:
                right = heap[child + 1]
                if _before(right, below):
                    below = right
                    child += 1
            if not _before(below, timer):
                break
            heap[at] = below
            at = child
        heap[at] = timer
        return first

"""The timers of one host: a heap of wake-ups with lazy deadlines.

A connection's deadlines are plain attributes. Moving one to a later instant, as every ACK does to the retransmission
timer, is an assignment: the wake-up already in the heap finds it later and waits again. Only an earlier one is pushed.
"""

from __future__ import annotations

from heapq import heappop, heappush

from nodes.base.clock import NEVER
from nodes.base.events import LEVEL_ALL, TIMER_CANCELLED, TIMER_SET
from nodes.tcp.tcb import Tcb


class TimerHeap:
    """Wake-ups in order of (instant, connection number)."""

    __slots__ = ("_heap",)

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Tcb]] = []

    def wake(self, c: Tcb, deadline: int) -> None:
        """Look at `c` at `deadline`, if not before."""
        if deadline < c.wake_at:
            c.wake_at = deadline
            heappush(self._heap, (deadline, c.number, c))

    def next_wake(self) -> int:
        """When the host must be called next, or NEVER. It may find that a deadline has moved on."""
        heap = self._heap
        while heap:
            deadline, _, c = heap[0]
            if deadline == c.wake_at:
                if c.rto_at != NEVER or c.delack_at != NEVER or c.next_deadline() != NEVER:
                    return deadline
                c.wake_at = NEVER
            heappop(heap)
        return NEVER

    def pop_due(self, now: int) -> Tcb | None:
        """The next connection with a deadline at or before `now`, or None. Call `wake` for it when it is served."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            deadline, _, c = heappop(heap)
            if deadline != c.wake_at:
                continue
            c.wake_at = NEVER
            due = c.next_deadline()
            if due <= now:
                return c
            if due != NEVER:
                self.wake(c, due)
        return None


def trace_set(c: Tcb, now: int, timer: int, deadline: int, backoff: int) -> None:
    """Record that a timer was set and see that the host wakes for it."""
    tcp = c.tcp
    if deadline < c.wake_at:
        tcp.timers.wake(c, deadline)
    if tcp.sink.level >= LEVEL_ALL:
        tcp.sink.timer(now, tcp.node, c.number, timer, TIMER_SET, deadline, backoff)


def trace_cancelled(c: Tcb, now: int, timer: int) -> None:
    """Record that a running timer was cancelled."""
    tcp = c.tcp
    if tcp.sink.level >= LEVEL_ALL:
        tcp.sink.timer(now, tcp.node, c.number, timer, TIMER_CANCELLED, NEVER, 0)

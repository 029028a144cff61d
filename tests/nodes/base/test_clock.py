"""The scheduler of virtual time: calls of sequences and single ones keep their places among each other."""

from __future__ import annotations

import gc
import weakref

from hypothesis import given
from hypothesis import strategies as st

from nodes.base.clock import NEVER, SimScheduler

#: Which sequence (0 and 1; 2: a single call), and how much later than the last call asked for there.
CALLS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), max_size=60)


@given(CALLS, CALLS)
def test_calls_are_made_by_instant_and_then_in_the_order_they_were_asked_for(
    before: list[tuple[int, int]], inside: list[tuple[int, int]]
) -> None:
    scheduler = SimScheduler()
    asked: list[tuple[int, int]] = []
    made: list[tuple[int, int]] = []
    later = list(inside)
    last = [0, 0, 0]

    def call(which: int, wait: int) -> None:
        last[which] = max(last[which] + wait, scheduler.now())
        entry = (last[which], len(asked))
        asked.append(entry)
        if which == 2:
            scheduler.post(entry[0], run, entry)
        else:
            sequences[which].post(entry[0], entry)

    def run(entry: tuple[int, int]) -> None:
        assert scheduler.now() == entry[0]
        made.append(entry)
        if later:
            call(*later.pop())

    sequences = [scheduler.sequence(run), scheduler.sequence(run)]
    for which, wait in before:
        call(which, wait)
    scheduler.run(NEVER, 1000)
    assert made == sorted(asked)
    assert scheduler.next_time() == NEVER


def test_an_instant_that_is_past_means_now() -> None:
    scheduler = SimScheduler()
    made: list[tuple[int, str]] = []
    sequence = scheduler.sequence(lambda what: made.append((scheduler.now(), what)))
    scheduler.post(5, lambda what: sequence.post(3, what), "late")
    scheduler.run(NEVER, 10)
    assert made == [(5, "late")]


class _Wire:
    def deliver(self, frame: bytes) -> None:
        pass


def test_a_scheduler_that_is_let_go_with_calls_waiting_is_freed() -> None:
    wire = _Wire()
    held = weakref.ref(wire)
    scheduler = SimScheduler()
    sequence = scheduler.sequence(wire.deliver)
    for instant in range(5):
        sequence.post(instant, b"a frame")
    del wire
    gc.collect()
    assert held() is not None
    del scheduler, sequence
    gc.collect()
    assert held() is None

"""What comes out of the heap, pure and compiled, is what sorting says."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nodes.base.heap import Heap, Timer

#: To add, to take, to take and add; with an instant.
STEPS = st.lists(st.tuples(st.sampled_from(("push", "pop", "replace")), st.integers(0, 9)), max_size=200)


@given(STEPS)
def test_the_first_by_instant_and_then_by_number_comes_first(steps: list[tuple[str, int]]) -> None:
    heap = Heap()
    expected: list[Timer] = []
    for number, (step, instant) in enumerate(steps):
        timer = Timer(instant, number, None, None)
        if step == "push" or not expected:
            heap.push(timer)
            expected.append(timer)
            continue
        first = min(expected, key=lambda each: (each.time_ns, each.number))
        expected.remove(first)
        if step == "pop":
            assert heap.pop() is first
        else:
            assert heap.replace(timer) is first
            expected.append(timer)
    while heap:
        first = min(expected, key=lambda each: (each.time_ns, each.number))
        expected.remove(first)
        assert heap.pop() is first
    assert not expected

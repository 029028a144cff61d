"""What comes out of the heap, pure and compiled, is what sorting says."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nodes.base import heap as heaps
from nodes.base.heap import Entry

#: To add, to take, to take and add; with an instant.
STEPS = st.lists(st.tuples(st.sampled_from(("push", "pop", "replace")), st.integers(0, 9)), max_size=200)


@given(STEPS)
def test_the_first_by_instant_and_then_by_number_comes_first(steps: list[tuple[str, int]]) -> None:
    heap: list[Entry] = []
    expected: list[Entry] = []
    for number, (step, instant) in enumerate(steps):
        entry = (instant, number, object())
        if step == "push" or not expected:
            heaps.push(heap, entry)
            expected.append(entry)
            continue
        first = min(expected, key=lambda each: (each[0], each[1]))
        expected.remove(first)
        if step == "pop":
            assert heaps.pop(heap) is first
        else:
            assert heaps.replace(heap, entry) is first
            expected.append(entry)
    while heap:
        first = min(expected, key=lambda each: (each[0], each[1]))
        expected.remove(first)
        assert heaps.pop(heap) is first
    assert not expected

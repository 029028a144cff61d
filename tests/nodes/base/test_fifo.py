"""First in, first out, however long it gets."""

from __future__ import annotations

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from nodes.base.fifo import Fifo

#: So many to put in, or, less than 0, to take out.
STEPS = st.lists(st.integers(-150, 150), max_size=20)


@given(STEPS)
def test_what_came_first_leaves_first(steps: list[int]) -> None:
    queue = Fifo()
    expected: deque[int] = deque()
    number = 0
    for step in steps:
        for _ in range(step):
            number += 1
            queue.append(number)
            expected.append(number)
        for _ in range(min(-step, len(expected))):
            assert queue.first() == expected[0]
            assert queue.popleft() == expected.popleft()
        assert len(queue) == len(expected)

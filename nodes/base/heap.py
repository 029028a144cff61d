"""A heap (as heapq's) of tuples that begin with two ints, of which no two are alike: an instant and a number, say.

Pure, it is heapq. Compiled, comparing the ints here is several times faster than having Python compare the tuples.
"""

from __future__ import annotations

import heapq
from typing import Any, Final

from mypy_extensions import i64

#: Not tuple[int, ...]: compiled, those are taken apart and made anew.
Entry = tuple[Any, ...]


def _before(a: Entry, b: Entry) -> bool:
    first: i64 = a[0]
    second: i64 = b[0]
    if first != second:
        return first < second
    first = a[1]
    second = b[1]
    return first < second


#: Whether this is compiled: then functions are not those of Python.
_COMPILED: Final = type(_before).__name__ != "function"


def push(heap: list[Entry], entry: Entry) -> None:
    """Add an entry."""
    if not _COMPILED:
        heapq.heappush(heap, entry)
        return
    at = len(heap)
    heap.append(entry)
    while at > 0:
        parent = (at - 1) >> 1
        above = heap[parent]
        if not _before(entry, above):
            break
        heap[at] = above
        at = parent
    heap[at] = entry


def pop(heap: list[Entry]) -> Entry:
    """Take the first entry. Raises IndexError when there is none."""
    if not _COMPILED:
        return heapq.heappop(heap)
    last = heap.pop()
    if not heap:
        return last
    return _put_first(heap, last)


def replace(heap: list[Entry], entry: Entry) -> Entry:
    """Take the first entry and add another. Raises IndexError when there is none."""
    return _put_first(heap, entry) if _COMPILED else heapq.heapreplace(heap, entry)


def _put_first(heap: list[Entry], entry: Entry) -> Entry:
    """Take the first entry and let another sink from there to its place."""
    first = heap[0]
    size = len(heap)
    at = 0
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
        if not _before(below, entry):
            break
        heap[at] = below
        at = child
    heap[at] = entry
    return first

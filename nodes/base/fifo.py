"""First in, first out. A list, because compiled code calls the methods of a deque by name, and an empty one takes 700
bytes."""

from __future__ import annotations

from typing import Any, Final

#: So many places of what has left are kept at the front of the list before they are cut off.
_SLACK: Final = 64


class Fifo:
    """A queue; true when something is in it."""

    __slots__ = ("_first", "_items")

    def __init__(self) -> None:
        #: From `_first` on; empty when nothing is in the queue.
        self._items: list[Any] = []
        self._first = 0

    def __len__(self) -> int:
        return len(self._items) - self._first

    def append(self, item: Any) -> None:
        """Put it last."""
        self._items.append(item)

    def first(self) -> Any:
        """What `popleft` would take. Raises IndexError when there is nothing."""
        return self._items[self._first]

    def popleft(self) -> Any:
        """Take the first. Raises IndexError when there is nothing."""
        items = self._items
        first = self._first
        item = items[first]
        items[first] = None
        first += 1
        if first == len(items):
            items.clear()
            first = 0
        elif first >= _SLACK and first * 2 >= len(items):
            del items[:first]
            first = 0
        self._first = first
        return item

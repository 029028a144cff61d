"""Bytes the user has given to SEND and that have not been sent once. Sent bytes live in the `Sent` records."""

from __future__ import annotations

from typing import Final

#: Used up writes that are kept at the front of the list before they are cut off.
_SLACK: Final = 64
#: A write that has become so long by being continued is continued by another, so that none is copied again and again.
_LARGEST: Final = 65_536


class SendQueue:
    """A queue of writes. Every byte is copied once, when it is cut into a segment.

    `length` is the bytes queued; after `take`, `at_write_end` says whether it stopped where a write ended, which is
    where PSH belongs (RFC 9293 section 3.9.1.2). `ends` are where records end (MSG_EOR) in all that was ever queued: no
    segment reaches beyond the first of them, `to_end` bytes away.
    """

    __slots__ = ("_first", "_more", "_offset", "_taken", "_writes", "at_write_end", "ends", "length")

    def __init__(self) -> None:
        #: From `_first` on; a list, because an empty deque takes 700 bytes. Empty when nothing is queued.
        self._writes: list[bytes] = []
        self._first = 0
        self._offset = 0
        self._more = False
        self.length = 0
        self.at_write_end = False
        self._taken = 0
        self.ends: list[int] = []

    def to_end(self) -> int:
        """How far away the first of `ends` is."""
        return self.ends[0] - self._taken

    def append(self, data: bytes, more: bool = False, end: bool = False) -> None:
        """Queue one write, not empty. After one with `more` the next continues it; with `end` it ends a record."""
        writes = self._writes
        if not self._more or not writes or len(writes[-1]) >= _LARGEST:
            writes.append(data)
        elif self._offset and self._first == len(writes) - 1:
            writes[-1] = writes[-1][self._offset :] + data
            self._offset = 0
        else:
            writes[-1] += data
        self._more = more
        self.length += len(data)
        if end:
            self.ends.append(self._taken + self.length)

    def push(self) -> None:
        """What is queued waits no longer for a write that continues it."""
        self._more = False

    def take(self, size: int) -> bytes:
        """Remove and return the first `size` bytes, 0 < size <= length."""
        self.length -= size
        self._taken += size
        if self.ends and self.ends[0] <= self._taken:
            del self.ends[0]
        first = self._writes[self._first]
        start = self._offset
        end = start + size
        if end < len(first):
            self._offset = end
            self.at_write_end = False
            return first[start:end]
        parts = []
        while True:
            self._pop()
            self._offset = 0
            part = first[start:] if start else first
            parts.append(part)
            size -= len(part)
            if size == 0:
                self.at_write_end = not self._more or len(self._writes) > 0
                break
            first = self._writes[self._first]
            start = 0
            if size < len(first):
                self._offset = size
                self.at_write_end = False
                parts.append(first[:size])
                break
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _pop(self) -> None:
        """The first write is used up."""
        writes = self._writes
        writes[self._first] = b""
        self._first += 1
        if self._first == len(writes):
            writes.clear()
            self._first = 0
        elif self._first >= _SLACK and self._first * 2 >= len(writes):
            del writes[: self._first]
            self._first = 0

    def clear(self) -> None:
        """Forget everything."""
        self._writes.clear()
        self._first = 0
        self._offset = 0
        self.length = 0
        self.ends.clear()

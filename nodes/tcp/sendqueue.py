"""Bytes the user has given to SEND and that have not been sent once. Sent bytes live in the `Sent` records."""

from __future__ import annotations

from collections import deque


class SendQueue:
    """A queue of writes. Every byte is copied once, when it is cut into a segment.

    `length` is the bytes queued; after `take`, `at_write_end` says whether it stopped where a write ended, which is
    where PSH belongs (RFC 9293 section 3.9.1.2).
    """

    __slots__ = ("_more", "_offset", "_writes", "at_write_end", "length")

    def __init__(self) -> None:
        self._writes: deque[bytes] = deque()
        self._offset = 0
        self._more = False
        self.length = 0
        self.at_write_end = False

    def append(self, data: bytes, more: bool = False) -> None:
        """Queue one write, not empty. After one with `more` the next continues it."""
        if self._more and self._writes:
            self._writes[-1] += data
        else:
            self._writes.append(data)
        self._more = more
        self.length += len(data)

    def take(self, size: int) -> bytes:
        """Remove and return the first `size` bytes, 0 < size <= length."""
        self.length -= size
        first = self._writes[0]
        start = self._offset
        end = start + size
        if end < len(first):
            self._offset = end
            self.at_write_end = False
            return first[start:end]
        parts = []
        while True:
            self._writes.popleft()
            self._offset = 0
            part = first[start:] if start else first
            parts.append(part)
            size -= len(part)
            if size == 0:
                self.at_write_end = not self._more or len(self._writes) > 0
                break
            first = self._writes[0]
            start = 0
            if size < len(first):
                self._offset = size
                self.at_write_end = False
                parts.append(first[:size])
                break
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def clear(self) -> None:
        """Forget everything."""
        self._writes.clear()
        self._offset = 0
        self.length = 0

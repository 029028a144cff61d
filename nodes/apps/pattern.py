"""Bytes that need not be kept: a pattern repeated up to a length, made piece by piece, and its digest."""

from __future__ import annotations

import hashlib
from typing import Final

from nodes.base.errors import InvalidArgument

#: What applications send when no pattern is given: printable, and its length is prime, so no two segments are alike.
DEFAULT_PATTERN: Final = bytes(33 + (i * 7 + i // 94) % 94 for i in range(997))
_BLOCK: Final = 65536


class Pattern:
    """`length` bytes of `pattern`, over and over."""

    __slots__ = ("_block", "length", "pattern")

    def __init__(self, length: int, pattern: bytes = DEFAULT_PATTERN) -> None:
        if not pattern:
            raise InvalidArgument("a pattern needs at least one byte", "pattern")
        if length < 0:
            raise InvalidArgument(f"a length is 0 or more bytes, not {length}", "length")
        self.pattern = pattern
        self.length = length
        self._block = pattern * (_BLOCK // len(pattern) + 2)

    def part(self, offset: int, size: int) -> bytes:
        """The bytes from `offset` on: `size` of them, fewer at the end."""
        size = min(size, self.length - offset)
        if size <= 0:
            return b""
        start = offset % len(self.pattern)
        block = self._block
        if start + size > len(block):
            block = self.pattern * ((start + size) // len(self.pattern) + 1)
        return block[start : start + size]

    def sha256(self) -> str:
        """Digest of all of it, hex."""
        digest = hashlib.sha256()
        for offset in range(0, self.length, _BLOCK):
            digest.update(self.part(offset, _BLOCK))
        return digest.hexdigest()

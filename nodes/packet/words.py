"""Numbers in a packet, in network order. Compiled, they cost next to nothing."""

from __future__ import annotations

from mypy_extensions import i64


def u16(data: bytes, at: i64) -> i64:
    """The 16-bit number at `at`. Raises IndexError beyond the end."""
    high: i64 = data[at]
    low: i64 = data[at + 1]
    return high << 8 | low


def u32(data: bytes, at: i64) -> i64:
    """The 32-bit number at `at`. Raises IndexError beyond the end."""
    return u16(data, at) << 16 | u16(data, at + 2)

"""Numbers in a packet, in network order. Compiled, they cost next to nothing."""

from __future__ import annotations

from librt.strings import read_i16_be, read_i32_be, read_i64_be
from mypy_extensions import i64


def u16(data: bytes, at: i64) -> i64:
    """The 16-bit number at `at`. Raises IndexError beyond the end."""
    return i64(read_i16_be(data, at)) & 0xFFFF


def u48(data: bytes, at: i64) -> i64:
    """The 48-bit number at `at`, which two more bytes must follow. Raises IndexError beyond the end."""
    return read_i64_be(data, at) >> 16 & 0xFFFF_FFFF_FFFF


def u32(data: bytes, at: i64) -> i64:
    """The 32-bit number at `at`. Raises IndexError beyond the end."""
    return i64(read_i32_be(data, at)) & 0xFFFF_FFFF

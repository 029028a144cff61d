"""The Internet checksum (RFC 1071).

One's complement addition of 16-bit words is addition modulo 65535, and 2**16 = 1 modulo 65535, so the whole packet
read as one big number, modulo 65535, is that sum: two C calls whatever the length. Compiled (setup.py), a loop over its
64-bit numbers is many times faster still. Sums below are therefore plain ints that are congruent to the sum; ports,
addresses and sequence numbers can be added as they are.
"""

from __future__ import annotations

from typing import Final

from librt.strings import read_i64_be
from mypy_extensions import i64

from nodes.packet.words import u16

# Adding the upper part of a big number to the lower keeps the sum and is cheaper than dividing all of it. Bits, by the
# size of a full segment; multiples of 16.
_HALF: Final = 5760
_HALF_MASK: Final = (1 << _HALF) - 1
_QUARTER: Final = 2880
_QUARTER_MASK: Final = (1 << _QUARTER) - 1


def _loop(data: bytes, at: i64, end: i64) -> int:
    total: i64 = 0
    while at + 8 <= end:
        word: i64 = read_i64_be(data, at)
        total += (word >> 32 & 0xFFFF_FFFF) + (word & 0xFFFF_FFFF)
        at += 8
    while at + 2 <= end:
        total += u16(data, at)
        at += 2
    if at < end:
        last: i64 = data[at]
        total += last << 8
    return total % 65535


#: Whether this is compiled: then functions are not those of Python.
COMPILED: Final = type(_loop).__name__ != "function"


def sum16(data: bytes) -> int:
    """The sum of the 16-bit words of `data` modulo 65535; an odd last byte is padded with 0."""
    if COMPILED:
        return _loop(data, 0, len(data))
    number = int.from_bytes(data, "big")
    size = len(data)
    if size & 1:
        number <<= 8
    if size > 1000:
        number = (number >> _HALF) + (number & _HALF_MASK)
        number = (number >> _QUARTER) + (number & _QUARTER_MASK)
    return number % 65535


def sum16_part(data: bytes, start: int, end: int) -> int:
    """The sum of `data[start:end]`, 0 <= start <= end <= len(data)."""
    return _loop(data, start, end) if COMPILED else sum16(data[start:end])


def checksum(data: bytes) -> int:
    """The checksum of `data` whose own checksum field is zero: 0 to 0xffff, 0xffff only when all of it is zero."""
    total = sum16(data)
    if total:
        return 65535 - total
    return 0 if any(data) else 0xFFFF


def pseudo_sum(src: bytes, dst: bytes, protocol: int, length: int) -> int:
    """The sum of the pseudo-header of TCP, UDP (RFC 9293 section 3.1) and ICMPv6 (RFC 8200 section 8.1)."""
    return int.from_bytes(src + dst, "big") + protocol + length


def transport_checksum_ok(src: bytes, dst: bytes, protocol: int, data: bytes) -> bool:
    """Whether the TCP or UDP packet `data`, its checksum field included, sums to zero."""
    return (int.from_bytes(src + dst, "big") + protocol + len(data) + sum16(data)) % 65535 == 0

"""Sequence numbers (RFC 9293 section 3.4): 32 bits on the wire, plain growing ints inside.

A connection keeps SND.UNA, SND.NXT, RCV.NXT ... unwrapped: they start as the 32-bit initial sequence number and
then only grow, so inside the stack `<` means what it says. `unwrap` takes a number off the wire, `& MASK` puts one
on it.
"""

from __future__ import annotations

from typing import Final

MASK: Final = 0xFFFF_FFFF
HALF: Final = 0x8000_0000


def unwrap(raw: int, near: int) -> int:
    """The int closest to `near` that is `raw` modulo 2**32."""
    distance = (raw - near) & MASK
    return near + distance if distance < HALF else near + distance - 0x1_0000_0000


def before(a: int, b: int) -> bool:
    """Whether the 32-bit number `a` comes before `b`, modulo 2**32 (sequence numbers, RFC 7323 timestamps)."""
    return (a - b) & MASK >= HALF

"""Randomness that is passed in: one independent, named stream per consumer.

A stream is derived from (seed, stable name) by SHA-256, so changing one consumer's use of randomness shifts no
other's draws. Only `getrandbits` of the Mersenne Twister is used, which is the same on every machine and Python
version; decisions are made on integers, never on floats.
"""

from __future__ import annotations

import hashlib
import random
from typing import Final

#: Chances are ints out of this: 1 % is 10_000_000.
CHANCE_ONE: Final = 1_000_000_000


class RandomStream:
    """A stream of integer draws. `name` is stable and readable: `link/h1-r1/h1->r1/loss`."""

    __slots__ = ("_bits", "name")

    def __init__(self, seed: int, name: str) -> None:
        digest = hashlib.sha256(f"{seed}\x00{name}".encode()).digest()
        self.name = name
        self._bits = random.Random(int.from_bytes(digest, "big")).getrandbits

    def bits(self, count: int) -> int:
        """An int of `count` uniformly random bits, 1 <= count."""
        return self._bits(count)

    def below(self, bound: int) -> int:
        """A uniform int in [0, bound). One draw of 64 bits; bias under bound / 2**64."""
        return (self._bits(64) * bound) >> 64

    def chance(self, chance: int) -> bool:
        """True with probability chance / CHANCE_ONE. Always takes exactly one draw, also for 0 and CHANCE_ONE."""
        return (self._bits(64) * CHANCE_ONE) >> 64 < chance

    def spread(self, half_width: int) -> int:
        """A uniform int in [-half_width, +half_width]; one draw."""
        return ((self._bits(64) * (2 * half_width + 1)) >> 64) - half_width


class Randomness:
    """The lab's seed; hands out streams by name."""

    __slots__ = ("seed",)

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def stream(self, name: str) -> RandomStream:
        return RandomStream(self.seed, name)

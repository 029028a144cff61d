"""Counts of durations in buckets of a twelfth of their size at most: percentiles of millions of values in a few kB."""

from __future__ import annotations

from typing import Final

#: Buckets of one power of two; a value is known to 1/16 of itself.
_PARTS: Final = 16
_PART_BITS: Final = 4


class Histogram:
    """Durations of 0 ns and more; what is negative counts as 0. `count` and `max_ns` are exact."""

    __slots__ = ("_buckets", "count", "max_ns")

    def __init__(self) -> None:
        self.count = 0
        self.max_ns = 0
        self._buckets = [0] * (64 * _PARTS)

    def add(self, value_ns: int) -> None:
        """Count a duration."""
        if value_ns < 0:
            value_ns = 0
        elif value_ns > self.max_ns:
            self.max_ns = value_ns
        self.count += 1
        shift = value_ns.bit_length() - _PART_BITS - 1
        if shift > 0:
            value_ns = (shift << _PART_BITS) + (value_ns >> shift)
        self._buckets[value_ns] += 1

    def merge(self, other: Histogram) -> None:
        """Count what another has counted, too."""
        self.count += other.count
        self.max_ns = max(self.max_ns, other.max_ns)
        self._buckets = [one + more for one, more in zip(self._buckets, other._buckets, strict=True)]

    def summary(self) -> dict[str, int]:
        """The median, the 99th percentile and the maximum."""
        return {"p50": self.percentile(50), "p99": self.percentile(99), "max": self.max_ns}

    def percentile(self, percent: int) -> int:
        """The duration, ns, that `percent` of those counted do not exceed; 0 when there is none."""
        wanted = -(-self.count * percent // 100)
        seen = 0
        for index, count in enumerate(self._buckets):
            seen += count
            if seen >= wanted and count:
                return min(_upper(index), self.max_ns)
        return 0


def _upper(index: int) -> int:
    """The largest value of a bucket."""
    shift = (index >> _PART_BITS) - 1
    if shift <= 0:
        return index
    return ((index - (shift << _PART_BITS) + 1) << shift) - 1

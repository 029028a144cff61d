"""How much of something is expected: `3`, `>= 1`, `<= 5`, `1..5`; with units where the quantity has them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lab import spec, units
from lab.yamltext import shown
from nodes.base.clock import NEVER


@dataclass(frozen=True)
class Bounds:
    """`low` <= value <= `high`."""

    low: int
    high: int

    def holds(self, value: int) -> bool:
        return self.low <= value <= self.high


class BoundsKind(spec.Kind):
    """A field of a spec that holds Bounds. `read` and `write` are of lab/units.py, or int and str for plain counts."""

    def __init__(self, read: Callable[[Any], int], write: Callable[[int], str], what: str) -> None:
        self.read = read
        self.write = write
        self.what = what

    def parse(self, value: spec.Value, path: str) -> Bounds:
        if isinstance(value.data, (bool, dict, list)) or value.data is None:
            raise self._error(value, path)
        text = str(value.data).strip()
        try:
            if match := re.fullmatch(r"(>=|<=)\s*(.+)", text):
                number = self.read(match[2])
                return Bounds(number, NEVER) if match[1] == ">=" else Bounds(0, number)
            if match := re.fullmatch(r"(.+?)\s*\.\.\s*(.+)", text):
                low, high = self.read(match[1]), self.read(match[2])
                if low > high:
                    raise ValueError
                return Bounds(low, high)
            exact = self.read(text)
            return Bounds(exact, exact)
        except ValueError:
            raise self._error(value, path) from None

    def words(self, bounds: Bounds) -> str:
        """For people: `exactly 3`, `at least 1`, `1 to 5`."""
        if bounds.low == bounds.high:
            return f"exactly {self.write(bounds.low)}"
        if bounds.high == NEVER:
            return f"at least {self.write(bounds.low)}"
        if bounds.low == 0:
            return f"at most {self.write(bounds.high)}"
        return f"{self.write(bounds.low)} to {self.write(bounds.high)}"

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        return {"type": ["string", "number"]}

    def plain(self, data: Any) -> Any:
        if data.low == data.high:
            return self.write(data.low)
        low = self.write(data.low)
        return f">= {low}" if data.high == NEVER else f"{low}..{self.write(data.high)}"

    def _error(self, value: spec.Value, path: str) -> Exception:
        return value.error(path, f"{shown(value)} is not {self.what}: X, '>= X', '<= X' or X..Y")


def _count(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,19}", text):
        raise ValueError
    return int(text)


COUNT = BoundsKind(_count, str, "a count")
DURATION = BoundsKind(units.parse_duration, units.format_duration, "a length of time (with units)")
SIZE = BoundsKind(units.parse_size, units.format_size, "an amount of data")

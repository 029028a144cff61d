"""The arguments of a script's system calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from lab.packetdrill.problem import NotExpressible
from lab.packetdrill.script import Array, Expression, Flags, Name, Struct

_NO_BITS: Final[Mapping[str, int]] = {}


class CallFailed(Exception):
    """A system call returns -1 with this errno."""

    def __init__(self, errno: str) -> None:
        super().__init__(errno)
        self.errno = errno


class Arguments:
    """The arguments of one call, read as what the call needs; anything else is NotExpressible."""

    def __init__(self, line: int, name: str, values: tuple[Expression, ...]) -> None:
        self.line = line
        self.name = name
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    def refuse(self, what: str) -> NotExpressible:
        """The error that says what of this call cannot be done."""
        return NotExpressible(self.line, f"{self.name}: {what}")

    def at(self, index: int) -> Expression:
        """The argument at `index`."""
        if index >= len(self.values):
            raise self.refuse(f"{len(self.values)} arguments")
        return self.values[index]

    def number(self, index: int) -> int:
        """A plain number."""
        return self.number_of(self.at(index))

    def number_of(self, value: Expression) -> int:
        """`value`, if it is a plain number."""
        if not isinstance(value, int):
            raise self.refuse(_text(value))
        return value

    def name_at(self, index: int) -> str:
        """A symbol."""
        value = self.at(index)
        if not isinstance(value, Name):
            raise self.refuse(_text(value))
        return value.text

    def names(self, index: int, bits: Mapping[str, int] = _NO_BITS) -> frozenset[str]:
        """The symbols of `A|B|C`; a number stands for those whose `bits` it has."""
        return self.names_of(self.at(index), bits)

    def names_of(self, value: Expression, bits: Mapping[str, int] = _NO_BITS) -> frozenset[str]:
        """The symbols in `value`."""
        if isinstance(value, int):
            found = frozenset(name for name, bit in bits.items() if value & bit)
            if sum(bits[name] for name in found) == value:
                return found
        if isinstance(value, Name):
            return frozenset((value.text,))
        if isinstance(value, Flags):
            return frozenset[str]().union(*(self.names_of(part, bits) for part in value.parts))
        raise self.refuse(_text(value))

    def one_number(self, index: int) -> int | None:
        """The number in `[n]`; None when something else is there."""
        value = self.at(index)
        if isinstance(value, Array) and len(value.items) == 1 and isinstance(value.items[0], int):
            return value.items[0]
        return None

    def struct(self, index: int) -> Struct:
        """A structure."""
        value = self.at(index)
        if not isinstance(value, Struct):
            raise self.refuse(_text(value))
        return value

    def null(self, index: int) -> bool:
        """Whether a pointer is NULL."""
        return self.at(index) == _NULL


_NULL: Final = Name("NULL")


def _text(value: Expression) -> str:
    return value.text if isinstance(value, Name) else str(value)

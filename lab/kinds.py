"""Kinds of spec fields: how each is read from a Value, described as JSON schema, and written back. See lab/spec.py."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from lab import units
from lab.yamltext import Value, shown
from nodes.base.clock import NEVER

NAME_PATTERN: Final = r"[A-Za-z][A-Za-z0-9_.-]{0,62}"
NAME_WORDS: Final = "a name: a letter, then letters, digits, _ . - (63 at most)"


class Kind:
    """How a field is read, described and written."""

    def parse(self, value: Value, path: str) -> Any:
        """The checked value; raises InvalidArgument naming the place."""
        raise NotImplementedError

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        """Its JSON schema; shared classes go into `defs`."""
        return {}

    def plain(self, data: Any) -> Any:
        """The value as a file would have it."""
        return data


class Anything(Kind):
    """Any plain data, unchecked here."""

    def parse(self, value: Value, path: str) -> Any:
        return value.plain()


class Text(Kind):
    """Text, optionally matching a pattern (`what` says it in words) or being one of `choices`.

    A number is taken as it is written.
    """

    def __init__(self, pattern: str = "", what: str = "text", choices: tuple[str, ...] = ()) -> None:
        self.pattern = pattern
        self.what = what
        self.choices = choices

    def parse(self, value: Value, path: str) -> str:
        data = value.data
        if isinstance(data, (int, Decimal)) and not isinstance(data, bool):
            data = str(data)
        if self.choices:
            if data not in self.choices:
                near = nearest(data, self.choices)
                raise value.error(path, f"{shown(value)} is not one of {', '.join(self.choices)}{near}")
        elif not isinstance(data, str) or (self.pattern and not re.fullmatch(self.pattern, data)):
            raise value.error(path, f"{shown(value)} is not {self.what}")
        return str(data)

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        if self.choices:
            return {"enum": list(self.choices)}
        return {"type": "string", "pattern": f"^({self.pattern})$"} if self.pattern else {"type": ["string", "number"]}


class Boolean(Kind):
    """true or false."""

    def parse(self, value: Value, path: str) -> bool:
        if not isinstance(value.data, bool):
            raise value.error(path, f"{shown(value)} is not true or false")
        return value.data

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        return {"type": "boolean"}


class Integer(Kind):
    """A whole number in a range."""

    def __init__(self, minimum: int = 0, maximum: int = NEVER) -> None:
        self.minimum = minimum
        self.maximum = maximum

    def parse(self, value: Value, path: str) -> int:
        data = value.data
        if isinstance(data, bool) or not isinstance(data, int) or not self.minimum <= data <= self.maximum:
            top = f"{self.minimum} to {self.maximum}" if self.maximum != NEVER else f"{self.minimum} or more"
            raise value.error(path, f"{shown(value)} is not a whole number in {top}")
        return data

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        bounds = {} if self.maximum == NEVER else {"maximum": self.maximum}
        return {"type": "integer", "minimum": self.minimum, **bounds}


class Quantity(Kind):
    """A duration, rate, size or chance in units of lab/units.py."""

    def __init__(
        self, read: Callable[[units.Raw], int], write: Callable[[int], str], pattern: str, minimum: int, maximum: int
    ) -> None:
        self.read = read
        self.write = write
        self.pattern = pattern
        self.minimum = minimum
        self.maximum = maximum

    def parse(self, value: Value, path: str) -> int:
        data = value.data
        if isinstance(data, bool) or not isinstance(data, (str, int, Decimal)):
            data = ""
        try:
            amount = self.read(data)
        except ValueError as error:
            raise value.error(path, f"{shown(value)} {error}") from None
        if not self.minimum <= amount <= self.maximum:
            low, high = self.write(self.minimum), self.write(self.maximum)
            raise value.error(path, f"{shown(value)} is not in {low} to {high}")
        return amount

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        return {"type": ["string", "number"], "pattern": self.pattern, "minimum": 0}

    def plain(self, data: Any) -> Any:
        return self.write(data)


class Items(Kind):
    """A list; becomes a tuple. With `bare` one element may stand without the list."""

    def __init__(self, element: Kind, minimum: int = 0, maximum: int = NEVER, bare: bool = False) -> None:
        self.element = element
        self.minimum = minimum
        self.maximum = maximum
        self.bare = bare

    def parse(self, value: Value, path: str) -> tuple[Any, ...]:
        data = [value] if self.bare and not isinstance(value.data, list) and value.data is not None else value.data
        if data is None and self.minimum == 0:
            data = []
        if not isinstance(data, list):
            raise value.error(path, f"{shown(value)} is not a list")
        if not self.minimum <= len(data) <= self.maximum:
            top = "or more" if self.maximum == NEVER else f"to {self.maximum}"
            raise value.error(path, f"a list of {len(data)}; {self.minimum} {top} are needed")
        return tuple(self.element.parse(item, f"{path}[{index}]") for index, item in enumerate(data))

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        element = self.element.schema(defs)
        listed: dict[str, Any] = {"type": ["array", "null"] if self.minimum == 0 else "array", "items": element}
        if self.minimum:
            listed["minItems"] = self.minimum
        if self.maximum != NEVER:
            listed["maxItems"] = self.maximum
        return {"anyOf": [element, listed]} if self.bare else listed

    def plain(self, data: Any) -> Any:
        return [self.element.plain(item) for item in data]


class Map(Kind):
    """A mapping from names to values of one kind, in the file's order."""

    def __init__(self, element: Kind, key: str = NAME_PATTERN, what: str = NAME_WORDS) -> None:
        self.element = element
        self.key = key
        self.what = what

    def parse(self, value: Value, path: str) -> dict[str, Any]:
        result = {}
        for key, item in mapping_of(value, path).items():
            if not re.fullmatch(self.key, key):
                raise value.error(path, f"{shown(key)} is not {self.what}", value.key_lines.get(key, 0))
            result[key] = self.element.parse(item, f"{path}.{key}" if path else key)
        return result

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        return {
            "type": ["object", "null"],
            "additionalProperties": False,
            "patternProperties": {f"^({self.key})$": self.element.schema(defs)},
        }

    def plain(self, data: Any) -> Any:
        return {key: self.element.plain(item) for key, item in data.items()}


class Optional(Kind):
    """Nothing (None), or another kind."""

    def __init__(self, inner: Kind) -> None:
        self.inner = inner

    def parse(self, value: Value, path: str) -> Any:
        return None if value.data is None else self.inner.parse(value, path)

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        return {"anyOf": [self.inner.schema(defs), {"type": "null"}]}

    def plain(self, data: Any) -> Any:
        return None if data is None else self.inner.plain(data)


def mapping_of(value: Value, path: str) -> dict[str, Value]:
    if value.data is None:
        return {}
    if not isinstance(value.data, dict):
        raise value.error(path, f"{shown(value)} is not a mapping of fields")
    return value.data


def nearest(word: Any, known: Any) -> str:
    near = difflib.get_close_matches(word, list(known), 1) if isinstance(word, str) else []
    return f"; did you mean {near[0]}?" if near else ""

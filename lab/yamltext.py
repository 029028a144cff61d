"""YAML text -> a tree of `Value`s that know their line. Bounded: size, depth, aliases.

The subset is what people write in topology files: mappings with plain text keys, lists, scalars by the YAML 1.2 core
rules (so `on`, `no` and `00:11:22` are text), anchors and aliases. Tags, several documents and duplicate keys are
errors. Numbers with a point keep their exact decimal value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import yaml

from nodes.base.errors import InvalidArgument, NotFound

MAX_BYTES: Final = 1 << 20
MAX_DEPTH: Final = 32
#: Values in one file, an alias counting as all that it stands for.
MAX_VALUES: Final = 100_000

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INT: Final = re.compile(r"[-+]?[0-9]{1,19}")
_DECIMAL: Final = re.compile(r"[-+]?(?:[0-9]{1,18}\.[0-9]{0,18}|\.[0-9]{1,18})")
_NULLS: Final = ("", "~", "null", "Null", "NULL")
_BOOLS: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}


class Value:
    """One value of the text.

    `data` is None, bool, int, Decimal, str, list[Value] or dict[str, Value]; `line` counts from 1 (0: unknown);
    `key_lines` has the line of each key of a mapping. `values` and `depth` measure the tree below.
    """

    __slots__ = ("data", "depth", "key_lines", "line", "source", "values")

    def __init__(self, data: Any, source: str = "", line: int = 0) -> None:
        self.data = data
        self.source = source
        self.line = line
        self.key_lines: dict[str, int] = {}
        self.values = 1
        self.depth = 0

    def error(self, path: str, message: str, line: int = 0) -> InvalidArgument:
        """An InvalidArgument whose message starts with `file:line: path:`; `line` if not the value's own."""
        line = line or self.line
        where = f"{self.source or 'line'}:{line}: " if line else f"{self.source}: " if self.source else ""
        return InvalidArgument(f"{where}{path + ': ' if path else ''}{message}", path, line)

    def plain(self) -> Any:
        """The same as plain dicts, lists and scalars (a Decimal as str, so that nothing is rounded)."""
        if isinstance(self.data, dict):
            return {key: item.plain() for key, item in self.data.items()}
        if isinstance(self.data, list):
            return [item.plain() for item in self.data]
        return str(self.data) if isinstance(self.data, Decimal) else self.data


def shown(data: Any) -> str:
    """A value as an error message shows it."""
    if isinstance(data, Value):
        data = data.data
    if data is None:
        return "nothing"
    if isinstance(data, bool):
        return "true" if data else "false"
    if isinstance(data, dict):
        return "a mapping"
    if isinstance(data, list):
        return "a list"
    text = str(data)
    return text if 0 < len(text) <= 60 and text.isprintable() else repr(text if len(text) <= 60 else text[:57] + "...")


def wrap(data: Any, source: str = "", depth: int = 0) -> Value:
    """Plain mappings, lists and scalars as Values without lines. A float is taken as its shortest decimal."""
    if isinstance(data, Value):
        return data
    if depth > MAX_DEPTH:
        raise InvalidArgument(f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(data, Mapping):
        for key in data:
            if not isinstance(key, str):
                raise InvalidArgument(f"key {shown(key)} is not text")
        return Value({key: wrap(item, source, depth + 1) for key, item in data.items()}, source)
    if isinstance(data, float):
        exact = Decimal(repr(data))
        return Value(exact if exact.is_finite() else str(data), source)
    if data is None or isinstance(data, (bool, int, Decimal, str)):
        return Value(data, source)
    if isinstance(data, Sequence) and not isinstance(data, (bytes, bytearray)):
        return Value([wrap(item, source, depth + 1) for item in data], source)
    raise InvalidArgument(f"{type(data).__name__} is not a mapping, list, text, number, true or false")


def read_file(path: str | Path) -> Value:
    """Read a YAML file. Raises NotFound when there is none, InvalidArgument when it is too big or not YAML."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise NotFound(f"{path}: no such file") from None
    except OSError as error:
        raise InvalidArgument(f"{path}: cannot be read: {error.strerror}") from None
    if len(raw) > MAX_BYTES:
        raise InvalidArgument(f"{path}: larger than {MAX_BYTES} bytes, which no such file needs")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise InvalidArgument(f"{path}:{line}: not UTF-8 text", "", line) from None
    return read_text(text, str(path))


def read_text(text: str, source: str = "") -> Value:
    """Read YAML text. `source` is the file name that errors show."""
    if len(text) > MAX_BYTES:
        raise InvalidArgument(f"{source or 'text'}: larger than {MAX_BYTES} bytes, which no such file needs")
    try:
        return _Builder(source).build(yaml.parse(text, Loader=_Loader))
    except yaml.MarkedYAMLError as error:
        mark: Any = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 0
        words = error.problem or error.context or "not YAML"
        raise Value(None, source, line).error("", f"not YAML: {words}") from None
    except yaml.YAMLError as error:
        raise InvalidArgument(f"{source or 'text'}: not YAML: {str(error).splitlines()[0]}") from None


class _Builder:
    """Builds Values from parser events without recursion, so nesting is limited by MAX_DEPTH and not by the stack."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.root: Value | None = None
        self.stack: list[tuple[Value, list[str], str]] = []  # open collection, pending key, anchor
        self.anchors: dict[str, Value] = {}
        self.total = 0

    def build(self, events: Iterator[Any]) -> Value:
        documents = 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self.fail(event, "a second document; a file holds one")
            elif isinstance(event, yaml.ScalarEvent):
                self.check(event)
                self.place(event, self.scalar(event), event.anchor or "")
            elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
                self.check(event)
                if len(self.stack) >= MAX_DEPTH:
                    raise self.fail(event, f"nested deeper than {MAX_DEPTH} levels")
                empty: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
                value = Value(empty, self.source, self.line(event))
                value.depth = 1
                self.place(event, value, "", opening=True)
                self.stack.append((value, [], event.anchor or ""))
            elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
                value, _, anchor = self.stack.pop()
                if self.stack:
                    self.grow(value)
                if anchor:
                    self.anchors[anchor] = value
            elif isinstance(event, yaml.AliasEvent):
                target = self.anchors.get(event.anchor or "")
                if target is None:
                    raise self.fail(event, f"alias *{event.anchor} has no anchor before it")
                if len(self.stack) + target.depth > MAX_DEPTH:
                    raise self.fail(event, f"nested deeper than {MAX_DEPTH} levels")
                self.place(event, target, "")
        return self.root if self.root is not None else Value(None, self.source, 1)

    def line(self, event: Any) -> int:
        return int(event.start_mark.line) + 1

    def fail(self, event: Any, message: str) -> InvalidArgument:
        return Value(None, self.source, self.line(event)).error("", message)

    def grow(self, value: Value) -> None:
        """The innermost open collection now contains `value`."""
        parent = self.stack[-1][0]
        parent.values += value.values
        parent.depth = max(parent.depth, value.depth + 1)

    def check(self, event: Any) -> None:
        if event.tag is not None and event.tag != "!":
            raise self.fail(event, f"tag {event.tag} is not allowed: plain mappings, lists, text and numbers only")

    def scalar(self, event: Any) -> Value:
        text: str = event.value
        data: Any = text
        if event.style is None or event.style == "":
            if text in _NULLS:
                data = None
            elif text in _BOOLS:
                data = _BOOLS[text]
            elif _INT.fullmatch(text):
                data = int(text)
            elif _DECIMAL.fullmatch(text):
                data = Decimal(text)
        return Value(data, self.source, self.line(event))

    def place(self, event: Any, value: Value, anchor: str, opening: bool = False) -> None:
        """Put a value where the text has it: at the root, in a list, as a key, or under the pending key."""
        self.total += value.values
        if self.total > MAX_VALUES:
            raise self.fail(event, f"more than {MAX_VALUES} values, counting what aliases stand for")
        if anchor:
            self.anchors[anchor] = value
        if not self.stack:
            self.root = value
            return
        parent, key, _ = self.stack[-1]
        if not opening:
            self.grow(value)
        if isinstance(parent.data, list):
            parent.data.append(value)
        elif key:
            parent.data[key.pop()] = value
        elif isinstance(event, yaml.ScalarEvent):
            if event.value in parent.key_lines:
                first = parent.key_lines[event.value]
                raise self.fail(event, f"{shown(event.value)}: given twice, first on line {first}")
            key.append(event.value)
            parent.key_lines[event.value] = self.line(event)
        else:
            raise self.fail(event, "a key must be plain text")

"""Mappings (YAML, JSON, plain dicts) -> frozen dataclasses; errors name file, line, field, value and what is allowed.

A spec is a frozen dataclass. Each field has a `Kind`: the one given in its metadata by a helper below, or the one that
its type hint implies (str, int, bool, a dataclass, tuple[X, ...], dict[str, X], X | None).

    @dataclass(frozen=True)
    class Link:
        endpoints: tuple[str, ...]
        delay_ns: int = duration(default=0)        # the file's key is `delay`: units and a trailing `_` are left out
        loss: int = chance(default=0)

    load_file(Link, "link.yaml")        load(Link, text)        from_mapping(Link, {...})
    partial(Impairments)                a field that holds only what was named of another class, for partial updates
    plain(spec)                         back to a mapping with tc strings
    schema(Link)                        JSON schema
A class may name a field in `short: ClassVar[str]`: a scalar or list then stands for a mapping with only that field.
A `__post_init__` may raise ValueError or InvalidArgument; the place is added.
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from lab import units
from lab.kinds import (
    NAME_PATTERN,
    NAME_WORDS,
    Anything,
    Boolean,
    Integer,
    Items,
    Kind,
    Map,
    Optional,
    Quantity,
    Text,
    mapping_of,
    nearest,
)
from lab.yamltext import Value, read_file, read_text, shown, wrap
from nodes.base.clock import NEVER
from nodes.base.errors import InvalidArgument
from nodes.base.random import CHANCE_ONE

__all__ = [
    "NAME_PATTERN",
    "NAME_WORDS",
    "Anything",
    "Boolean",
    "Integer",
    "Items",
    "Kind",
    "Map",
    "Nested",
    "OneOf",
    "Optional",
    "Partial",
    "Quantity",
    "Text",
    "Value",
    "chance",
    "choice",
    "duration",
    "from_mapping",
    "key_of",
    "load",
    "load_file",
    "number",
    "of",
    "one_of",
    "parse",
    "partial",
    "plain",
    "rate",
    "read_fields",
    "read_file",
    "read_text",
    "schema",
    "size",
    "text",
    "wrap",
]

T = TypeVar("T")
_SUFFIXES: Final = ("_ns", "_bps", "_bytes")


class OneOf(Kind):
    """A tagged union: a mapping with one key, which selects the class, or that key alone when it needs no more."""

    def __init__(self, what: str, classes: Mapping[str, type]) -> None:
        self.what = what
        self.classes = dict(classes)

    def parse(self, value: Value, path: str) -> Any:
        if isinstance(value.data, str):
            return self.select(value, value.data, Value({}, value.source, value.line), path)
        data = mapping_of(value, path)
        if len(data) != 1:
            raise value.error(path, f"{len(data)} keys; exactly one {self.what} is needed: {', '.join(self.classes)}")
        ((key, item),) = data.items()
        return self.select(value, key, item, path)

    def select(self, value: Value, key: str, item: Value, path: str) -> Any:
        """Parse `item` as the class that `key` stands for."""
        cls = self.classes.get(key)
        if cls is None:
            near = nearest(key, self.classes)
            message = f"{shown(key)} is not one of {', '.join(self.classes)}{near}"
            raise value.error(path, message, value.key_lines.get(key, 0))
        return parse(cls, item, f"{path}.{key}" if path else key)

    def tag(self, data: Any) -> str:
        """The key that stands for the class of `data`."""
        return next(key for key, cls in self.classes.items() if type(data) is cls)

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        choices: list[Any] = [
            {
                "type": "object",
                "properties": {key: _class_schema(cls, defs)},
                "required": [key],
                "additionalProperties": False,
            }
            for key, cls in self.classes.items()
        ]
        bare = [key for key, cls in self.classes.items() if not any(map(_required, dataclasses.fields(cls)))]
        return {"oneOf": [*choices, {"enum": bare}] if bare else choices}

    def plain(self, data: Any) -> Any:
        return {self.tag(data): plain(data)}


class Nested(Kind):
    """Another spec class."""

    def __init__(self, cls: type) -> None:
        self.cls = cls

    def parse(self, value: Value, path: str) -> Any:
        return parse(self.cls, value, path)

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        return _class_schema(self.cls, defs)

    def plain(self, data: Any) -> Any:
        return plain(data)


class Partial(Kind):
    """Any of the fields of a spec class; becomes a dict of those that were named, by their Python names."""

    def __init__(self, cls: type) -> None:
        self.cls = cls

    def parse(self, value: Value, path: str) -> dict[str, Any]:
        return read_fields(self.cls, value, path)

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        return _class_schema(self.cls, defs)

    def plain(self, data: Any) -> Any:
        kinds = _kinds(self.cls)
        return {
            key_of(field): kinds[field.name].plain(data[field.name])
            for field in dataclasses.fields(self.cls)
            if field.name in data
        }


# Helpers for fields. Without `default` the field is required; `key` is the file's word for it when not the field's own.


def of(kind: Kind, default: Any = dataclasses.MISSING, key: str = "", doc: str = "") -> Any:
    """A field of any kind. A mutable default is copied for each instance. `doc` is the schema's description."""
    metadata = {"kind": kind, "key": key, "doc": doc}
    if isinstance(default, (dict, list)):
        return dataclasses.field(default_factory=functools.partial(type(default), default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def duration(
    default: Any = dataclasses.MISSING, minimum: int = 0, maximum: int = NEVER, key: str = "", doc: str = ""
) -> Any:
    """ns, from `10ms`. A default of None makes it optional; so for the other quantities."""
    kind = Quantity(units.parse_duration, units.format_duration, units.DURATION_PATTERN, minimum, maximum)
    return of(_maybe(kind, default), default, key, doc)


def rate(
    default: Any = dataclasses.MISSING, minimum: int = 0, maximum: int = NEVER, key: str = "", doc: str = ""
) -> Any:
    """bit/s, from `5mbit`."""
    kind = Quantity(units.parse_rate, units.format_rate, units.RATE_PATTERN, minimum, maximum)
    return of(_maybe(kind, default), default, key, doc)


def size(
    default: Any = dataclasses.MISSING, minimum: int = 0, maximum: int = NEVER, key: str = "", doc: str = ""
) -> Any:
    """Bytes, from `64kb`."""
    kind = Quantity(units.parse_size, units.format_size, units.SIZE_PATTERN, minimum, maximum)
    return of(_maybe(kind, default), default, key, doc)


def chance(default: Any = dataclasses.MISSING, key: str = "", doc: str = "") -> Any:
    """Out of CHANCE_ONE, from `1%` or a fraction."""
    kind = Quantity(units.parse_chance, units.format_chance, units.CHANCE_PATTERN, 0, CHANCE_ONE)
    return of(_maybe(kind, default), default, key, doc)


def number(
    default: Any = dataclasses.MISSING, minimum: int = 0, maximum: int = NEVER, key: str = "", doc: str = ""
) -> Any:
    """A whole number in a range."""
    return of(_maybe(Integer(minimum, maximum), default), default, key, doc)


def text(
    default: Any = dataclasses.MISSING, pattern: str = "", what: str = "text", key: str = "", doc: str = ""
) -> Any:
    """Text that matches a pattern, said in words by `what`."""
    return of(_maybe(Text(pattern, what), default), default, key, doc)


def choice(choices: tuple[str, ...], default: Any = dataclasses.MISSING, key: str = "", doc: str = "") -> Any:
    """One of some words."""
    return of(_maybe(Text(choices=choices), default), default, key, doc)


def one_of(
    what: str, classes: Mapping[str, type], default: Any = dataclasses.MISSING, flat: bool = False, doc: str = ""
) -> Any:
    """A tagged union. `flat`: its key stands beside the mapping's other fields, not under this field's key."""
    return dataclasses.field(
        default=default, metadata={"kind": _maybe(OneOf(what, classes), default), "key": "", "doc": doc, "flat": flat}
    )


def partial(cls: type, flat: bool = False, key: str = "", doc: str = "") -> Any:
    """Any of the fields of a class, as a dict. `flat`: they stand beside the mapping's other fields."""
    return dataclasses.field(
        default_factory=dict, metadata={"kind": Partial(cls), "key": key, "doc": doc, "flat": flat}
    )


def _maybe(kind: Kind, default: Any) -> Kind:
    return Optional(kind) if default is None else kind


# Reading.


def load_file(cls: type[T], path: str | Path) -> T:
    """Read a YAML file as `cls`."""
    return parse(cls, read_file(path))


def load(cls: type[T], text: str, source: str = "") -> T:
    """Read YAML text as `cls`; `source` is the file name that errors show."""
    return parse(cls, read_text(text, source))


def from_mapping(cls: type[T], data: Any, source: str = "") -> T:
    """Read plain data as `cls`."""
    return parse(cls, wrap(data, source))


def parse(cls: type[T], value: Value, path: str = "") -> T:
    """Read a Value as `cls`. Raises InvalidArgument at the first thing wrong."""
    named = read_fields(cls, value, path)
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        if field.name not in named and _required(field):
            kind = _kinds(cls)[field.name]  # type: ignore[arg-type]
            if _flat(field) and isinstance(kind, OneOf):
                raise value.error(path, f"one {kind.what} is needed: {', '.join(kind.classes)}")
            raise value.error(_join(path, key_of(field)), "is missing")
    try:
        return cls(**named)
    except InvalidArgument as error:
        if error.line or not value.line:
            raise
        raise value.error(_join(path, error.field), str(error)) from None
    except ValueError as error:
        raise value.error(path, str(error)) from None


def read_fields(cls: type, value: Value, path: str = "") -> dict[str, Any]:
    """The fields of `cls` that the mapping names, checked, by their Python names: what a partial update says."""
    short = getattr(cls, "short", "")
    if short and value.data is not None and not isinstance(value.data, dict):
        return {short: _kinds(cls)[short].parse(value, path)}
    kinds = _kinds(cls)
    by_key: dict[str, str] = {}
    tags: dict[str, str] = {}
    parts: dict[str, str] = {}
    for field in dataclasses.fields(cls):
        kind = kinds[field.name]
        if not _flat(field):
            by_key[key_of(field)] = field.name
        elif isinstance(kind, Partial):
            parts.update({key_of(part): field.name for part in dataclasses.fields(kind.cls)})
        else:
            tags.update(dict.fromkeys(_union(kind).classes, field.name))
    result: dict[str, Any] = {}
    for key, item in mapping_of(value, path).items():
        line = value.key_lines.get(key, 0)
        if key in by_key:
            result[by_key[key]] = kinds[by_key[key]].parse(item, _join(path, key))
        elif key in tags:
            name = tags[key]
            if name in result:
                raise value.error(path, f"{key} beside another {_union(kinds[name]).what}; one is allowed", line)
            result[name] = _union(kinds[name]).select(value, key, item, path)
        elif key in parts:
            named = kinds[parts[key]].parse(Value({key: item}, value.source, value.line), path)
            result.setdefault(parts[key], {}).update(named)
        else:
            known = [*by_key, *tags, *parts]
            near = nearest(key, known)
            raise value.error(_join(path, key), f"unknown field{near or '; known are ' + ', '.join(known)}", line)
    return result


# Writing.


def plain(spec: Any) -> dict[str, Any]:
    """A spec as a mapping in the file's words; fields that have their default are left out."""
    result: dict[str, Any] = {}
    kinds = _kinds(type(spec))  # type: ignore[arg-type]
    for field in dataclasses.fields(spec):
        data = getattr(spec, field.name)
        if field.default_factory is not dataclasses.MISSING:
            if data == field.default_factory():
                continue
        elif data == field.default:
            continue
        if _flat(field):
            result.update(kinds[field.name].plain(data))
        else:
            result[key_of(field)] = kinds[field.name].plain(data)
    return result


def schema(cls: type, title: str = "") -> dict[str, Any]:
    """The JSON schema (2020-12) of a spec class."""
    defs: dict[str, Any] = {}
    root = _class_schema(cls, defs)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title or cls.__name__,
        **root,
        "$defs": defs,
    }


def _class_schema(cls: type, defs: dict[str, Any]) -> dict[str, Any]:
    name = cls.__name__
    if name not in defs:
        defs[name] = {}
        kinds = _kinds(cls)
        properties: dict[str, Any] = {}
        required = []
        groups = []
        for field in dataclasses.fields(cls):
            if _flat(field):
                kind = kinds[field.name]
                if isinstance(kind, Partial):
                    part_kinds = _kinds(kind.cls)
                    for part in dataclasses.fields(kind.cls):
                        properties[key_of(part)] = _described(part, part_kinds[part.name], defs)
                    continue
                union = _union(kind)
                properties.update({tag: _class_schema(tag_cls, defs) for tag, tag_cls in union.classes.items()})
                if _required(field):
                    groups.append({"oneOf": [{"required": [tag]} for tag in union.classes]})
                continue
            properties[key_of(field)] = _described(field, kinds[field.name], defs)
            if _required(field):
                required.append(key_of(field))
        first = (cls.__doc__ or "").strip().split("\n")[0]
        types: Any = "object" if required or groups else ["object", "null"]  # nothing stands for no fields
        defs[name] = {"description": first, "type": types, "properties": properties, "additionalProperties": False}
        if required:
            defs[name]["required"] = required
        if groups:
            defs[name]["allOf"] = groups
        short = getattr(cls, "short", "")
        if short:
            defs[name] = {"anyOf": [kinds[short].schema(defs), defs[name]]}
    return {"$ref": f"#/$defs/{name}"}


def _described(field: dataclasses.Field[Any], kind: Kind, defs: dict[str, Any]) -> dict[str, Any]:
    doc = field.metadata.get("doc", "")
    return {**kind.schema(defs), **({"description": doc} if doc else {})}


# Classes and their kinds.


def key_of(field: dataclasses.Field[Any]) -> str:
    """The file's word for a field: what was given as `key`, or its name without the unit of a quantity."""
    if field.metadata.get("key"):
        return str(field.metadata["key"])
    kind = field.metadata.get("kind")
    inner = kind.inner if isinstance(kind, Optional) else kind
    if isinstance(inner, Quantity) or (kind is None and field.type in (int, "int")):
        for suffix in _SUFFIXES:
            if field.name.endswith(suffix):
                return field.name.removesuffix(suffix)
    return field.name.removesuffix("_")


@functools.cache
def _kinds(cls: Any) -> dict[str, Kind]:
    """The Kind of each field of a class, by its Python name."""
    hints = typing.get_type_hints(cls)
    return {
        field.name: field.metadata.get("kind")
        or _kind_of_unit(field.name, hints[field.name])
        or _kind_of_hint(hints[field.name])
        for field in dataclasses.fields(cls)
    }


def _kind_of_unit(name: str, hint: Any) -> Kind | None:
    """An int whose name ends in a unit is written with it: `interval_ns: int` from `interval: 10ms`."""
    if hint is int and name.endswith("_ns"):
        return Quantity(units.parse_duration, units.format_duration, units.DURATION_PATTERN, 0, NEVER)
    if hint is int and name.endswith("_bps"):
        return Quantity(units.parse_rate, units.format_rate, units.RATE_PATTERN, 0, NEVER)
    if hint is int and (name.endswith("_bytes") or name == "bytes_"):
        return Quantity(units.parse_size, units.format_size, units.SIZE_PATTERN, 0, NEVER)
    return None


def _kind_of_hint(hint: Any) -> Kind:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union) and len(arguments) == 2 and arguments[1] is type(None):
        return Optional(_kind_of_hint(arguments[0]))
    if origin is tuple:
        return Items(_kind_of_hint(arguments[0]))
    if origin is dict:
        return Map(_kind_of_hint(arguments[1]))
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return Nested(hint)
    simple: dict[Any, Kind] = {str: Text(), int: Integer(), bool: Boolean(), Any: Anything()}
    if hint in simple:
        return simple[hint]
    raise TypeError(f"no kind for a field of type {hint!r}; give one with of(...)")


def _required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _flat(field: dataclasses.Field[Any]) -> bool:
    return bool(field.metadata.get("flat"))


def _union(kind: Kind) -> OneOf:
    inner = kind.inner if isinstance(kind, Optional) else kind
    assert isinstance(inner, OneOf)
    return inner


def _join(path: str, key: str) -> str:
    if not key:
        return path
    return f"{path}.{key}" if path and not key.startswith("[") else path + key

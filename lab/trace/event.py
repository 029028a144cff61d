"""One event of a trace as readers see it, and how its fields are decoded.

The schema is `nodes.base.events.KINDS`; nothing here repeats it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from nodes.base import events
from nodes.base.causes import CAUSES, NONE, CauseInfo
from nodes.base.events import KIND_BY_NUMBER, UNKNOWN, Kind
from nodes.tcp.states import STATE_NAMES

#: The words of each enum type named in the schema, indexed by number.
ENUMS: Final[dict[str, tuple[str, ...]]] = {
    "state": STATE_NAMES,
    "ORIGINS": events.ORIGINS,
    "DIRECTIONS": events.DIRECTIONS,
    "TIMERS": events.TIMERS,
    "TIMER_ACTIONS": events.TIMER_ACTIONS,
    "WINDOW_SIDES": events.WINDOW_SIDES,
    "ALGORITHMS": events.ALGORITHMS,
    "CALLS": events.CALLS,
    "VERDICTS": events.VERDICTS,
    "ATTACK_ACTIONS": events.ATTACK_ACTIONS,
}
#: Tails that are bytes; every other tail is UTF-8 text.
BINARY_TAILS: Final = ("data",)


def cause_info(cause: int) -> CauseInfo:
    """Name, section and words of a cause number; a number of a later schema is shown as itself."""
    info = CAUSES.get(cause)
    return info if info is not None else CauseInfo(f"CAUSE_{cause}", "", f"cause {cause}")


def decode(kind: Kind, values: Sequence[int], names: Sequence[str]) -> dict[str, Any]:
    """Field values by name: enums and states as their words, names resolved, UNKNOWN as None."""
    fields: dict[str, Any] = {}
    for field, value in zip(kind.fields, values, strict=True):
        type_ = field.type
        if type_ == "int":
            fields[field.name] = None if value == UNKNOWN else value
        elif type_ == "bool":
            fields[field.name] = bool(value)
        elif type_ == "name":
            fields[field.name] = names[value] if value < len(names) else f"?{value}"
        else:
            words = ENUMS[type_]
            fields[field.name] = words[value] if value < len(words) else f"?{value}"
    return fields


class Event:
    """One record. `kind` is its number, `values` the raw ints in the schema's order, `node` a name ("" if none).

    `event["field"]` and `event.fields` give values with names resolved, enums as words and UNKNOWN as None.
    `seq` is the record's ordinal in the spool, from 1; `time_ns` is lab time; `source` who saw it (events.SOURCES).
    """

    __slots__ = (
        "_fields",
        "_names",
        "cause",
        "connection",
        "kind",
        "node",
        "seq",
        "source",
        "tail",
        "time_ns",
        "values",
    )

    def __init__(
        self,
        seq: int,
        kind: int,
        time_ns: int,
        node: int,
        connection: int,
        cause: int,
        values: tuple[int, ...],
        tail: bytes,
        names: Sequence[str],
        source: int = events.SOURCE_STACK,
    ) -> None:
        self.seq = seq
        self.kind = kind
        self.time_ns = time_ns
        self.node = names[node] if node < len(names) else f"?{node}"
        self.connection = connection
        self.cause = cause
        self.source = source
        self.values = values
        self.tail = tail
        self._names = names
        self._fields: dict[str, Any] | None = None

    @property
    def name(self) -> str:
        """The kind's name in the schema: `state`, `segment` ..."""
        return KIND_BY_NUMBER[self.kind].name

    @property
    def fields(self) -> dict[str, Any]:
        if self._fields is None:
            self._fields = decode(KIND_BY_NUMBER[self.kind], self.values, self._names)
        return self._fields

    def __getitem__(self, field: str) -> Any:
        return self.fields[field]

    def text_of(self, name: int) -> str:
        """The text of an interned name, such as a raw value of a name field."""
        return self._names[name] if name < len(self._names) else f"?{name}"

    @property
    def why(self) -> CauseInfo:
        """The cause: name, RFC section, words (all empty but the name when there is none)."""
        return cause_info(self.cause)

    @property
    def text(self) -> str:
        """The tail as text; "" for kinds whose tail is bytes."""
        tail_name = KIND_BY_NUMBER[self.kind].tail
        return "" if tail_name in BINARY_TAILS else self.tail.decode("utf-8", "replace")

    def __repr__(self) -> str:
        who = f" {self.node}#{self.connection}" if self.connection else f" {self.node}" if self.node else ""
        why = f" cause={self.why.name}" if self.cause != NONE else ""
        what = " ".join(f"{name}={value}" for name, value in self.fields.items())
        return f"<{self.seq} {self.time_ns} ns{who} {self.name} {what}{why}>"

"""When an advance of the clock stops, and why it stopped."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from lab.trace.event import ENUMS, Event
from nodes.base.causes import CAUSES
from nodes.base.errors import InvalidArgument
from nodes.base.events import KINDS, NAME, Kind

KIND_BY_NAME: Final[dict[str, Kind]] = {kind.name: kind for kind in KINDS if kind.number != NAME}
_CAUSE_NAMES: Final = tuple(info.name for info in CAUSES.values())
_COMPARISON: Final = re.compile(r"(==|!=|<=|>=|<|>|) *(-?[0-9]{1,19})")


@dataclass(frozen=True)
class EventFilter:
    """Which events are meant: all that is given must hold.

    `kind` is a kind's name (`state`, `segment`, `reset` ...), or several; empty: any. `node`, `connection`, `cause`
    (name without prefix) when not empty. `where` maps fields of the one kind to the value they must have, as the trace
    shows it or as text (`new: ESTABLISHED`, `resent: true`, `flags: 18`), or to a comparison of a number
    (`cwnd: ">= 20000"`). Raises InvalidArgument for what no event has.
    """

    kind: str | tuple[str, ...] = ""
    node: str = ""
    connection: int = 0
    cause: str = ""
    where: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in self.names:
            if name not in KIND_BY_NAME:
                known = ", ".join(KIND_BY_NAME)
                raise InvalidArgument(f"{name}: no such kind of event; there are {known}", "kind")
        if self.cause and self.cause not in _CAUSE_NAMES:
            raise InvalidArgument(f"{self.cause}: no such cause", "cause")
        if self.where and len(self.names) != 1:
            raise InvalidArgument("fields can be asked for when exactly one kind is", "where")
        for name, value in self.where.items():
            _check_field(KIND_BY_NAME[self.names[0]], name, value)

    @property
    def names(self) -> tuple[str, ...]:
        """The kinds' names; () for any."""
        return ((self.kind,) if self.kind else ()) if isinstance(self.kind, str) else self.kind

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds; all for any."""
        return tuple(KIND_BY_NAME[name] for name in self.names or KIND_BY_NAME)

    @property
    def numbers(self) -> tuple[int, ...]:
        """Numbers of `kinds`."""
        return tuple(kind.number for kind in self.kinds)

    def matches(self, event: Event) -> bool:
        if (self.kind and event.name not in self.names) or (self.node and event.node != self.node):
            return False
        if (self.connection and event.connection != self.connection) or (self.cause and event.why.name != self.cause):
            return False
        return all(_equal(event[name], wanted) for name, wanted in self.where.items())

    def words(self) -> str:
        """For people: `state on h1 with new=ESTABLISHED`."""
        where = [f"{name}={value}" for name, value in self.where.items()]
        where += [f"cause={self.cause}"] if self.cause else []
        connection = f"#{self.connection}" if self.connection else ""
        place = f" on {self.node}{connection}" if self.node else ""
        return f"{' or '.join(self.names)}{place}" + (f" with {' '.join(where)}" if where else "")


def _check_field(kind: Kind, name: str, value: Any) -> None:
    """That events of the kind have the field, and that it can have the value."""
    found = next((one for one in kind.fields if one.name == name), None)
    if found is None:
        known = ", ".join(one.name for one in kind.fields) or "none"
        raise InvalidArgument(f"{name}: {kind.name} events have no such field; they have {known}", "where")
    words = ENUMS.get(found.type)
    if words is not None and value not in words:
        known = ", ".join(word for word in words if word)
        raise InvalidArgument(f"{name}: {value} is not one of {known}", "where")
    if found.type == "bool" and str(value).lower() not in ("true", "false"):
        raise InvalidArgument(f"{name}: {value} is not true or false", "where")
    if found.type == "int" and _COMPARISON.fullmatch(str(value).strip()) is None:
        raise InvalidArgument(f"{name}: {value} is not a number, nor a comparison such as '>= 20000'", "where")


def _equal(found: Any, wanted: Any) -> bool:
    if isinstance(found, bool):
        return found is (str(wanted).lower() == "true")
    if not isinstance(found, int):
        return bool(found == str(wanted)) and found is not None
    match = _COMPARISON.fullmatch(str(wanted).strip())
    assert match is not None  # see _check_field
    operator, number = match[1] or "==", int(match[2])
    return (
        (operator == "==" and found == number)
        or (operator == "!=" and found != number)
        or (operator == "<=" and found <= number)
        or (operator == ">=" and found >= number)
        or (operator == "<" and found < number)
        or (operator == ">" and found > number)
    )


@dataclass(frozen=True)
class Until:
    """Stop at the first of what is given; at least one must be. `timeout_ns` is a virtual timeout for the others.

    `time_ns`: an instant of lab time. `operations`: all these are done. `apps`: all these have ended.
    `event`, `nth`: the nth event from now on that matches. `idle`: nothing is left to do.
    """

    time_ns: int | None = None
    operations: tuple[str, ...] = ()
    apps: tuple[str, ...] = ()
    event: EventFilter | None = None
    nth: int = 1
    idle: bool = False

    def __post_init__(self) -> None:
        if self.time_ns is None and not self.operations and not self.apps and self.event is None and not self.idle:
            raise InvalidArgument("nothing to wait for: give a time, operations, apps, an event or idle", "until")
        if self.nth < 1:
            raise InvalidArgument(f"{self.nth} is not which event is meant: 1 or more", "nth")


#: Why an advance stopped.
TIME: Final = "time"
OPERATIONS: Final = "operations"
APPS: Final = "apps"
EVENT: Final = "event"
IDLE: Final = "idle"


@dataclass(frozen=True)
class Stopped:
    """Why and where an advance stopped. `event`: the matching one, `event_seq` its number (reason `event`)."""

    reason: str
    time_ns: int
    event_seq: int = 0
    event: Event | None = None

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
_COMPARISON: Final = re.compile(r"(==|!=|<=|>=|<|>) *(-?[0-9]{1,19})")


@dataclass(frozen=True)
class EventFilter:
    """Which events are meant: all that is given must hold.

    `kind` is a kind's name (`state`, `segment`, `reset` ...); `node`, `connection`, `cause` (name without prefix) when
    not empty; `where` maps fields of the kind to the value they must have, as the trace shows it (`new: ESTABLISHED`,
    `resent: true`), or to a comparison of a number (`cwnd: ">= 20000"`). Raises InvalidArgument for what no event has.
    """

    kind: str
    node: str = ""
    connection: int = 0
    cause: str = ""
    where: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        kind = KIND_BY_NAME.get(self.kind)
        if kind is None:
            raise InvalidArgument(f"{self.kind}: no such kind of event; there are {', '.join(KIND_BY_NAME)}", "kind")
        if self.cause and self.cause not in _CAUSE_NAMES:
            raise InvalidArgument(f"{self.cause}: no such cause", "cause")
        fields = {one.name: one for one in kind.fields}
        for name, value in self.where.items():
            if name not in fields:
                known = ", ".join(fields) or "none"
                raise InvalidArgument(f"{name}: {self.kind} events have no such field; they have {known}", "where")
            words = ENUMS.get(fields[name].type)
            if words is not None and value not in words:
                known = ", ".join(word for word in words if word)
                raise InvalidArgument(f"{name}: {value} is not one of {known}", "where")

    @property
    def number(self) -> int:
        """The kind's number."""
        return KIND_BY_NAME[self.kind].number

    def matches(self, event: Event) -> bool:
        if event.kind != self.number or (self.node and event.node != self.node):
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
        return f"{self.kind}{place}" + (f" with {' '.join(where)}" if where else "")


def _equal(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, str) and isinstance(found, int) and not isinstance(found, bool):
        match = _COMPARISON.fullmatch(wanted.strip())
        if match is not None:
            operator, number = match[1], int(match[2])
            return bool(
                (operator == "==" and found == number) or (operator == "!=" and found != number)
                or (operator == "<=" and found <= number) or (operator == ">=" and found >= number)
                or (operator == "<" and found < number) or (operator == ">" and found > number)
            )
    return bool(found == wanted)


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
    """Why and where an advance stopped. `event_seq`: the matching event's sequence number (reason `event`)."""

    reason: str
    time_ns: int
    event_seq: int = 0

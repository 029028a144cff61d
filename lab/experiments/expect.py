"""What an experiment expects of its trace, as the file says it. `expectations.py` checks it.

`of` names one end of a connection: a label of the timeline, an app with one connection, `h1#2` (the second connection
of h1), or `h1` when it has only one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from lab import spec
from lab.backends.until import KIND_BY_NAME, EventFilter
from lab.experiments.actions import STATES
from lab.experiments.bounds import COUNT, DURATION, SIZE, Bounds
from nodes.base.causes import CAUSES
from nodes.base.errors import InvalidArgument
from nodes.base.events import LEVEL_CONGESTION, LEVEL_STATES

REASONS: Final = tuple(info.name for info in CAUSES.values() if info.name.startswith("RETRANSMIT_"))
CAUSE_NAMES: Final = tuple(info.name for info in CAUSES.values() if info.name)
_ANY: Final = Bounds(1, (1 << 63) - 1)


#: Bounds that may be left out.
_MAYBE_COUNT: Final = spec.Optional(COUNT)
_MAYBE_SIZE: Final = spec.Optional(SIZE)


@dataclass(frozen=True, kw_only=True)
class States:
    """The states one end goes through: all of them (`exactly`), or these in this order, others between (`through`)."""

    of: str
    exactly: tuple[str, ...] = spec.of(spec.Items(spec.Text(choices=STATES)), default=())
    through: tuple[str, ...] = spec.of(spec.Items(spec.Text(choices=STATES)), default=())
    never: tuple[str, ...] = spec.of(spec.Items(spec.Text(choices=STATES)), default=())

    def __post_init__(self) -> None:
        if not self.exactly and not self.through and not self.never:
            raise InvalidArgument("give exactly, through or never: a list of states")


@dataclass(frozen=True, kw_only=True)
class Resets:
    """RSTs that a node, or one end of a connection, sent, accepted or ignored."""

    node: str = spec.text(default="", doc="All nodes when neither node nor of is given.")
    of: str = spec.text(default="")
    sent: Bounds | None = spec.of(_MAYBE_COUNT, default=None)
    accepted: Bounds | None = spec.of(_MAYBE_COUNT, default=None)
    ignored: Bounds | None = spec.of(_MAYBE_COUNT, default=None)
    cause: str = spec.choice(CAUSE_NAMES, default="", doc="Count only those with this cause.")

    def __post_init__(self) -> None:
        if self.sent is None and self.accepted is None and self.ignored is None:
            raise InvalidArgument("give sent, accepted or ignored: how many")


@dataclass(frozen=True, kw_only=True)
class Retransmissions:
    """Segments that one end sent again."""

    of: str
    count: Bounds = spec.of(COUNT, default=_ANY)
    reason: str = spec.choice(REASONS, default="", doc="Count only those sent for this reason.")


@dataclass(frozen=True, kw_only=True)
class Delivered:
    """What one end's user received: how much, and that it is what the other end's user sent."""

    of: str
    bytes_: Bounds | None = spec.of(_MAYBE_SIZE, default=None, key="bytes")
    intact: bool = spec.of(spec.Boolean(), default=False, doc="It has the digest of what the other end sent.")

    def __post_init__(self) -> None:
        if self.bytes_ is None and not self.intact:
            raise InvalidArgument("give bytes or intact: true")


@dataclass(frozen=True, kw_only=True)
class Lifetime:
    """How long one end existed, from its OPEN or SYN to CLOSED."""

    of: str
    length: Bounds = spec.of(DURATION)


@dataclass(frozen=True, kw_only=True)
class TimeIn:
    """How long one end was in a state, the first time."""

    of: str
    state: str = spec.choice(STATES)
    length: Bounds = spec.of(DURATION)


@dataclass(frozen=True, kw_only=True)
class Counter:
    """A counter of a node at the end, by its nstat name."""

    node: str
    name: str
    value: Bounds = spec.of(COUNT)


@dataclass(frozen=True, kw_only=True)
class Failure:
    """The error that an app or an operation ended with; `none`: it ended well."""

    of: str = spec.text(doc="Name of an app, or label of an operation or connection.")
    error: str = spec.text(doc="errno name such as ECONNRESET, or none.")


@dataclass(frozen=True, kw_only=True)
class EventFields:
    """Which events of the trace are meant."""

    kind: str = spec.choice(tuple(KIND_BY_NAME))
    of: str = spec.text(default="", doc="Only those of this end of a connection.")
    node: str = spec.text(default="")
    cause: str = spec.choice(CAUSE_NAMES, default="")
    where: dict[str, Any] = spec.of(spec.Map(spec.Anything()), default={}, doc="Its fields: new: ESTABLISHED.")
    nth: int = spec.number(default=1, minimum=1, doc="Which of them, where one is meant.")

    def __post_init__(self) -> None:
        EventFilter(self.kind, cause=self.cause, where=self.where)  # finds what no event has


@dataclass(frozen=True, kw_only=True)
class Events(EventFields):
    """How many events of a sort there are."""

    count: Bounds = spec.of(COUNT, default=_ANY)


@dataclass(frozen=True, kw_only=True)
class Interval:
    """The time between two events."""

    from_: EventFields = spec.of(spec.Nested(EventFields), key="from")
    to: EventFields = spec.of(spec.Nested(EventFields), doc="The first such event after `from`, or its nth.")
    length: Bounds = spec.of(DURATION)


EXPECTATIONS: Final[dict[str, type]] = {
    "states": States,
    "resets": Resets,
    "retransmissions": Retransmissions,
    "delivered": Delivered,
    "lifetime": Lifetime,
    "time_in": TimeIn,
    "counter": Counter,
    "failure": Failure,
    "events": Events,
    "interval": Interval,
}
Expected = States | Resets | Retransmissions | Delivered | Lifetime | TimeIn | Counter | Failure | Events | Interval


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """One expectation; `why` is for people, best with the RFC section it follows from."""

    why: str = spec.text(default="")
    live: dict[str, Any] = spec.of(
        spec.Map(spec.Anything()), default={}, doc="Fields of the expectation as they are in real time."
    )
    what: Expected = spec.one_of("expectation", EXPECTATIONS, flat=True)

    @property
    def level(self) -> int:
        """The trace level from which on all that it looks at is recorded."""
        what = self.what
        if isinstance(what, Interval):
            return max(KIND_BY_NAME[what.from_.kind].level, KIND_BY_NAME[what.to.kind].level)
        if isinstance(what, Events):
            return KIND_BY_NAME[what.kind].level
        return LEVEL_CONGESTION if isinstance(what, Retransmissions) else LEVEL_STATES

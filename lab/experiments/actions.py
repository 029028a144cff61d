"""The actions of a timeline. Each is one class, selected by its key (`ACTIONS`); the runner does them on a Lab.

Connections, listeners and apps are meant by labels: `as: client` gives one, `on: client` uses it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar, Final

from lab import spec
from lab.attacks.base import AttackSpec
from lab.attacks.catalogue import ATTACKS
from lab.backends.until import KIND_BY_NAME, EventFilter
from lab.links.impairments import Impairments
from lab.links.rules import RuleSpec
from nodes.agent.payload import Payload
from nodes.apps.catalogue import APPS
from nodes.apps.pattern import DEFAULT_PATTERN
from nodes.base.clock import NEVER
from nodes.base.errors import InvalidArgument
from nodes.tcp.states import STATE_NAMES

STATES: Final = tuple(name for name in STATE_NAMES if name)
_PORT: Final = spec.Integer(1, 65535)
_ANY_PORT: Final = spec.Integer(0, 65535)
_OPTIONS: Final = spec.Map(spec.Anything())


def _label(key: str, doc: str, default: Any = "") -> Any:
    return spec.text(default=default, pattern=spec.NAME_PATTERN, what=spec.NAME_WORDS, key=key, doc=doc)


@dataclass(frozen=True)
class Listen:
    """Passive OPEN: a listener."""

    node: str
    port: int = spec.of(_PORT)
    backlog: int = spec.number(default=128, maximum=1 << 20, doc="Connections that may wait to be accepted.")
    options: dict[str, Any] = spec.of(_OPTIONS, default={}, doc="Socket options such as TCP_NODELAY: 1.")
    as_: str = _label("as", "Label of the listener.")


@dataclass(frozen=True)
class Accept:
    """Take the next established connection of a listener, when there is one."""

    on: str
    as_: str = _label("as", "Label of the connection.")
    timeout_ns: int = spec.duration(default=NEVER, doc="Fail after this much lab time.")


@dataclass(frozen=True)
class Open:
    """Active OPEN: a connection. The next step does not wait until it is established."""

    node: str
    to: str = spec.text(doc="A node or an address.")
    port: int = spec.of(_PORT)
    local_port: int = spec.of(_ANY_PORT, default=0, doc="0: the node chooses.")
    options: dict[str, Any] = spec.of(_OPTIONS, default={}, doc="Socket options such as TCP_NODELAY: 1.")
    as_: str = _label("as", "Label of the connection.")
    timeout_ns: int = spec.duration(default=NEVER, doc="Fail after this much lab time.")


@dataclass(frozen=True)
class Send:
    """SEND some text, or a number of bytes of a repeating pattern."""

    on: str
    text: str = spec.text(default="")
    bytes_: int = spec.size(default=0, maximum=1 << 40, key="bytes")
    as_: str = _label("as", "Label of the operation, done when all is in the send buffer.")

    def __post_init__(self) -> None:
        if bool(self.text) == bool(self.bytes_):
            raise InvalidArgument("give either text or bytes")

    @property
    def payload(self) -> Payload:
        return Payload.of(self.text.encode()) if self.text else Payload(DEFAULT_PATTERN, self.bytes_)


@dataclass(frozen=True)
class Receive:
    """RECEIVE a number of bytes, or everything up to the FIN."""

    on: str
    bytes_: int = spec.size(default=0, key="bytes", doc="0: everything up to the FIN.")
    as_: str = _label("as", "Label of the operation, done when they have arrived.")
    timeout_ns: int = spec.duration(default=NEVER, doc="Fail after this much lab time.")


@dataclass(frozen=True)
class Shutdown:
    """Half-close: no more sending."""

    short: ClassVar[str] = "on"
    on: str


@dataclass(frozen=True)
class Close:
    """CLOSE a connection, or stop listening."""

    short: ClassVar[str] = "on"
    on: str


@dataclass(frozen=True)
class Abort:
    """ABORT a connection: RST."""

    short: ClassVar[str] = "on"
    on: str


@dataclass(frozen=True)
class SetOptions:
    """Set socket options of a connection."""

    on: str
    set_: dict[str, Any] = spec.of(_OPTIONS, key="set")


@dataclass(frozen=True)
class Cancel:
    """Cancel an operation by its label."""

    short: ClassVar[str] = "on"
    on: str


@dataclass(frozen=True)
class SetParameters:
    """Change a node's parameters."""

    node: str
    set_: dict[str, Any] = spec.of(_OPTIONS, key="set")


@dataclass(frozen=True)
class Impair:
    """Change the named impairments of a link, and no others."""

    link: str
    direction: str = spec.text(default="", doc="Such as h1->r1; both when not given.")
    changes: dict[str, Any] = spec.partial(Impairments, flat=True)


@dataclass(frozen=True)
class LinkDown:
    """Take a link down."""

    short: ClassVar[str] = "link"
    link: str


@dataclass(frozen=True)
class LinkUp:
    """Take a link up."""

    short: ClassVar[str] = "link"
    link: str


@dataclass(frozen=True, kw_only=True)
class AddRule(RuleSpec):
    """Add a packet rule to a link."""

    link: str

    @property
    def rule(self) -> RuleSpec:
        return RuleSpec(**{field.name: getattr(self, field.name) for field in fields(RuleSpec)})


@dataclass(frozen=True)
class RemoveRule:
    """Remove a packet rule from a link."""

    link: str
    name: str


@dataclass(frozen=True)
class StopAttack:
    """Stop an attack."""

    short: ClassVar[str] = "name"
    name: str


@dataclass(frozen=True)
class StopApp:
    """Stop an application."""

    short: ClassVar[str] = "name"
    name: str


@dataclass(frozen=True)
class When:
    """A condition: a state reached, an operation done, or an event of the trace.

    A state holds at once when the connection is in it. An event counts from the step before on.
    """

    state: str = spec.choice(STATES, default="", doc="Of the connection `of`.")
    done: str = spec.text(default="", doc="Label of an operation, or name of an app.")
    event: str = spec.choice(tuple(KIND_BY_NAME), default="", doc="Kind of event.")
    of: str = spec.text(default="", doc="Label of a connection, or node#number.")
    node: str = spec.text(default="", doc="Node of the event.")
    cause: str = spec.text(default="", doc="Cause of the event, such as RTO_EXPIRED.")
    where: dict[str, Any] = spec.of(_OPTIONS, default={}, doc="Its fields: new: ESTABLISHED, cwnd: '>= 20000'.")
    nth: int = spec.number(default=1, minimum=1, doc="Which of the matching events.")

    def __post_init__(self) -> None:
        if sum(map(bool, (self.state, self.done, self.event))) != 1:
            raise InvalidArgument("give exactly one of state, done and event")
        if self.state and not self.of:
            raise InvalidArgument("whose state? give the label of a connection", "of")
        if self.event:
            EventFilter(self.event, cause=self.cause, where=self.where)  # finds what no event has


@dataclass(frozen=True, kw_only=True)
class StartAttack:
    """Start an attack."""

    name: str = _label("name", "attack-1 ... when not given.")
    attack: AttackSpec = spec.one_of("attack", ATTACKS, flat=True)


@dataclass(frozen=True, kw_only=True)
class App:
    """A program on a node, by its kind and settings."""

    node: str
    name: str = _label("name", "node-kind-1 ... when not given.")
    app: Any = spec.one_of("app", {kind: app.Settings for kind, app in APPS.items()}, flat=True)

    @property
    def kind(self) -> str:
        return next(kind for kind, app in APPS.items() if app.Settings is type(self.app))


ACTIONS: Final[dict[str, type]] = {
    "listen": Listen,
    "accept": Accept,
    "open": Open,
    "send": Send,
    "receive": Receive,
    "shutdown": Shutdown,
    "close": Close,
    "abort": Abort,
    "options": SetOptions,
    "cancel": Cancel,
    "parameters": SetParameters,
    "impair": Impair,
    "link_down": LinkDown,
    "link_up": LinkUp,
    "rule": AddRule,
    "remove_rule": RemoveRule,
    "attack": StartAttack,
    "stop_attack": StopAttack,
    "app": App,
    "stop_app": StopApp,
}
Action = (
    Listen
    | Accept
    | Open
    | Send
    | Receive
    | Shutdown
    | Close
    | Abort
    | SetOptions
    | Cancel
    | SetParameters
    | Impair
    | LinkDown
    | LinkUp
    | AddRule
    | RemoveRule
    | StartAttack
    | StopAttack
    | App
    | StopApp
)

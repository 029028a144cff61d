"""What a packetdrill script says: its options, and its events in order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

# How an event's time is to be read.
ABSOLUTE: Final = "absolute"
RELATIVE: Final = "relative"
ANY: Final = "any"


@dataclass(frozen=True, slots=True)
class When:
    """The time of an event, ns: at `start`, or (`end` >= 0) between the two; RELATIVE to the event before."""

    kind: str
    start: int = 0
    end: int = -1


# Expressions: arguments and results of system calls.


@dataclass(frozen=True, slots=True)
class Unnamed:
    """`...`: whatever fits."""


@dataclass(frozen=True, slots=True)
class Name:
    """A symbol, such as SOL_SOCKET."""

    text: str


@dataclass(frozen=True, slots=True)
class Flags:
    """Alternatives joined by `|`."""

    parts: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Array:
    """`[a, b]`."""

    items: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Struct:
    """`{name=value, name(n)=value, value}`; an unnamed member has the name ""."""

    members: tuple[tuple[str, Expression], ...]

    def get(self, name: str) -> Expression | None:
        """The member called `name`, or None."""
        return next((value for key, value in self.members if key == name), None)


@dataclass(frozen=True, slots=True)
class Apply:
    """`htons(8080)`, `inet_addr("192.0.2.1")`."""

    function: str
    argument: Expression


Expression = int | str | Unnamed | Name | Flags | Array | Struct | Apply


# Events.


@dataclass(frozen=True, slots=True)
class TcpOption:
    """One option as written: its kind, the bytes after its length, and (`text`) the words of the script."""

    kind: int
    data: bytes
    text: str


@dataclass(frozen=True, slots=True)
class Packet:
    """A TCP packet, `inbound` (towards our stack) or expected from it.

    `options` None: whatever they are. `window` -1: whatever it is. `ecn`: "" whatever, or the word in brackets.
    """

    inbound: bool
    flags: int
    seq: int
    size: int
    ack: int
    window: int
    urgent: int
    options: tuple[TcpOption, ...] | None
    ecn: str
    src_port: int
    dst_port: int


@dataclass(frozen=True, slots=True)
class IcmpPacket:
    """An ICMP error that quotes a segment of ours with script number `seq` and `size` bytes."""

    inbound: bool
    type_name: str
    code_name: str
    mtu: int
    seq: int
    size: int


@dataclass(frozen=True, slots=True)
class Call:
    """A system call; `ends` None: it must not block. `errno` "": the result alone counts."""

    name: str
    arguments: tuple[Expression, ...]
    ends: When | None
    result: Expression
    errno: str


@dataclass(frozen=True, slots=True)
class Command:
    """A line of shell, in backquotes."""

    text: str


@dataclass(frozen=True, slots=True)
class Code:
    """Python between `%{` and `}%`, which sees the connection's TCP_INFO as `tcpi_...`."""

    text: str


Action = Packet | IcmpPacket | Call | Command | Code


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happens, or has to, at a time."""

    line: int
    when: When
    action: Action


@dataclass(slots=True)
class Script:
    """One script. `options` are its `--name=value` lines; `setup` and `cleanup` the commands around the events."""

    options: list[tuple[str, str, int]] = field(default_factory=list)
    setup: Event | None = None
    events: list[Event] = field(default_factory=list)
    cleanup: Event | None = None

"""What a trace says of each connection: both ends, their state paths, resets, retransmissions, bytes.

Ends are matched by their addresses and ports and by living at the same time. Everything is read from the spool alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lab.trace.event import Event
from lab.trace.spool_reader import SpoolReader
from nodes.base.causes import CauseInfo
from nodes.base.clock import NEVER
from nodes.base.events import (
    CALL,
    CALL_RECEIVE,
    CALL_SEND,
    CHALLENGE_ACK,
    CONNECTION,
    DISCARD,
    ERROR,
    ILLEGAL,
    RESET,
    RETRANSMIT,
    SEGMENT,
    SENT,
    STATE,
)

_KINDS: Final = (CONNECTION, STATE, SEGMENT, RETRANSMIT, CHALLENGE_ACK, RESET, DISCARD, ILLEGAL, CALL, ERROR)

#: address and port of an end
Name = tuple[str, int]


@dataclass(frozen=True, slots=True)
class StateChange:
    """A transition at `time_ns`; `event` is its sequence number in the spool."""

    event: int
    time_ns: int
    old: str
    new: str
    cause: CauseInfo


@dataclass(frozen=True, slots=True)
class Reset:
    """A RST that a node sent, or received and accepted or ignored. `connection` is 0 when it belonged to none."""

    event: int
    time_ns: int
    node: str
    connection: int
    sent: bool
    accepted: bool
    sequence: int
    cause: CauseInfo


@dataclass(frozen=True, slots=True)
class Retransmission:
    """`length` bytes from raw sequence number `sequence` sent again for the `count`-th time."""

    event: int
    time_ns: int
    node: str
    connection: int
    sequence: int
    length: int
    count: int
    cause: CauseInfo


@dataclass(slots=True)
class End:
    """One end of a connection: a TCB of a node.

    Byte and segment counts are None when the trace level recorded no segments. `bytes_sent` and `bytes_received` are
    what the user's SEND and RECEIVE moved; `payload_bytes_sent` is what went on the wire, repeats included.
    `closed_ns` is None while the connection exists.
    """

    node: str
    number: int
    origin: str
    local: Name
    remote: Name
    opened_ns: int
    closed_ns: int | None = None
    states: list[StateChange] = field(default_factory=list)
    resets: list[Reset] = field(default_factory=list)
    retransmissions: list[Retransmission] = field(default_factory=list)
    challenge_acks: int = 0
    discarded: int = 0
    illegal_calls: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    segments_sent: int | None = None
    segments_received: int | None = None
    payload_bytes_sent: int | None = None
    bytes_sent: int | None = None
    bytes_received: int | None = None

    @property
    def path(self) -> list[str]:
        """The states it was in, in order."""
        return [self.states[0].old, *(change.new for change in self.states)] if self.states else []

    @property
    def state(self) -> str:
        """The state it is in now."""
        return self.states[-1].new if self.states else ""

    @property
    def id(self) -> str:
        """`h1#1`."""
        return f"{self.node}#{self.number}"

    def _alive_with(self, other: End) -> bool:
        return self.opened_ns <= _or_never(other.closed_ns) and other.opened_ns <= _or_never(self.closed_ns)


@dataclass(slots=True)
class Conversation:
    """A connection: its first end (who opened it, as far as the trace shows) and the other, None if none was seen.

    `until_ns` is when the next connection of the same addresses and ports opened, NEVER if none did.
    """

    number: int
    first: End
    second: End | None
    until_ns: int = NEVER

    @property
    def ends(self) -> tuple[End, ...]:
        return (self.first,) if self.second is None else (self.first, self.second)

    @property
    def opened_ns(self) -> int:
        return self.first.opened_ns

    @property
    def closed_ns(self) -> int | None:
        """When the last end went to CLOSED; None while one has not."""
        times = [end.closed_ns for end in self.ends]
        return None if None in times else max(time for time in times if time is not None)


@dataclass(slots=True)
class Analysis:
    """Everything `analyse` found. The lists of resets and retransmissions are over all nodes, in order of time."""

    conversations: list[Conversation]
    ends: dict[tuple[str, int], End]
    resets: list[Reset]
    retransmissions: list[Retransmission]
    has_segments: bool
    last_ns: int


def analyse(spool: Path | str) -> Analysis:
    """Read a spool and describe its connections. Raises what SpoolReader raises."""
    ends: dict[tuple[str, int], End] = {}
    resets: list[Reset] = []
    retransmissions: list[Retransmission] = []
    has_segments = False
    last_ns = 0
    for event in SpoolReader(spool):
        last_ns = max(last_ns, event.time_ns)
        if event.kind not in _KINDS:
            continue
        has_segments = has_segments or event.kind == SEGMENT
        if event.kind == CONNECTION:
            if event["remote_port"]:
                ends[event.node, event.connection] = _end(event)
            continue
        end = ends.get((event.node, event.connection))
        if event.kind == RESET:
            resets.append(reset := _reset(event))
            if end is not None:
                end.resets.append(reset)
        elif event.kind == RETRANSMIT:
            retransmissions.append(retransmission := _retransmission(event))
            if end is not None:
                end.retransmissions.append(retransmission)
        elif end is not None:
            _count(end, event)
    if has_segments:
        for end in ends.values():
            end.segments_sent = end.segments_sent or 0
            end.segments_received = end.segments_received or 0
            end.payload_bytes_sent = end.payload_bytes_sent or 0
            end.bytes_sent = end.bytes_sent or 0
            end.bytes_received = end.bytes_received or 0
    return Analysis(_match(list(ends.values())), ends, resets, retransmissions, has_segments, last_ns)


def _end(event: Event) -> End:
    return End(
        event.node,
        event.connection,
        event["origin"],
        (event["local_address"], event["local_port"]),
        (event["remote_address"], event["remote_port"]),
        event.time_ns,
    )


def _reset(event: Event) -> Reset:
    return Reset(
        event.seq,
        event.time_ns,
        event.node,
        event.connection,
        event["direction"] == "SENT",
        event["accepted"],
        event["seq"],
        event.why,
    )


def _retransmission(event: Event) -> Retransmission:
    return Retransmission(
        event.seq, event.time_ns, event.node, event.connection, event["seq"], event["length"], event["count"], event.why
    )


def _count(end: End, event: Event) -> None:
    kind = event.kind
    if kind == SEGMENT:
        if event.values[0] == SENT:
            end.segments_sent = (end.segments_sent or 0) + 1
            end.payload_bytes_sent = (end.payload_bytes_sent or 0) + event["length"]
        else:
            end.segments_received = (end.segments_received or 0) + 1
    elif kind == CALL:
        if event.values[0] == CALL_SEND:
            end.bytes_sent = (end.bytes_sent or 0) + (event["bytes"] or 0)
        elif event.values[0] == CALL_RECEIVE:
            end.bytes_received = (end.bytes_received or 0) + (event["bytes"] or 0)
    elif kind == STATE:
        end.states.append(StateChange(event.seq, event.time_ns, event["old"], event["new"], event.why))
        end.closed_ns = event.time_ns if event["new"] == "CLOSED" else None
    elif kind == CHALLENGE_ACK:
        end.challenge_acks += 0 if event["suppressed"] else 1
    elif kind == DISCARD:
        end.discarded += 1
    elif kind == ILLEGAL:
        end.illegal_calls.append(f"{event['call']} in {event['state']}: {event.why.words}")
    elif kind == ERROR:
        end.errors.append(event["errno_name"])


def _match(ends: list[End]) -> list[Conversation]:
    """Pair ends whose addresses mirror each other and whose lives overlap, earliest first; the opener is first."""
    waiting: dict[tuple[Name, Name], list[End]] = {}
    for end in ends:
        waiting.setdefault((end.local, end.remote), []).append(end)
    conversations: list[Conversation] = []
    taken: set[tuple[str, int]] = set()
    latest: dict[tuple[Name, Name], Conversation] = {}
    for end in ends:
        if (end.node, end.number) in taken:
            continue
        taken.add((end.node, end.number))
        other = next(
            (
                peer
                for peer in waiting.get((end.remote, end.local), ())
                if (peer.node, peer.number) not in taken and end._alive_with(peer)
            ),
            None,
        )
        if other is not None:
            taken.add((other.node, other.number))
            if end.origin == "PASSIVE" and other.origin == "ACTIVE":
                end, other = other, end
        conversation = Conversation(len(conversations) + 1, end, other)
        names = min(end.local, end.remote), max(end.local, end.remote)
        if names in latest:
            latest[names].until_ns = conversation.opened_ns
        latest[names] = conversation
        conversations.append(conversation)
    return conversations


def _or_never(time_ns: int | None) -> int:
    return NEVER if time_ns is None else time_ns

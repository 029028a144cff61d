"""The rows of a connection's ladder (sequence diagram), before anything is drawn.

Each arrow has both clocks: when it left on the sender's side and when it arrived on the receiver's. State changes and
what an end made of a segment are rows on their own side. Rows are in the order of their first instant.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lab.trace.analysis import Conversation, End
from lab.trace.event import Event
from lab.trace.flags import flag_names
from lab.trace.journeys import Journey, Journeys
from lab.trace.spool_reader import SpoolReader
from nodes.base.events import (
    ATTACK,
    ATTACK_INJECTED,
    CHALLENGE_ACK,
    CONTROL,
    DISCARD,
    ERROR,
    LINK,
    MUTANT,
    RESET,
    SACK,
    SEGMENT,
    SENT,
    STATE,
    TIMER,
    TIMER_FIRED,
)
from nodes.packet.tcp import ACK, FIN, PSH, RST, SYN

LEFT: Final = 0
RIGHT: Final = 1

_KINDS: Final = (SEGMENT, SACK, STATE, RESET, CHALLENGE_ACK, DISCARD, ERROR, MUTANT, CONTROL, TIMER, ATTACK, LINK)
_MASK: Final = 0xFFFFFFFF
#: Rows that one row worth keeping costs: its neighbours and the elision between.
_ROWS_EACH: Final = 3


@dataclass(slots=True)
class Arrow:
    """A segment. `side` is where it came from; a time is None when it did not leave or arrive there.

    `reason` is set when it was sent again, `lost` says what became of it, `injected` who forged it, `changes` what
    else the links did. `sequence` and `acknowledgment` are relative to the initial sequence numbers unless raw.
    """

    side: int
    sent_ns: int | None
    arrived_ns: int | None
    flags: int
    sequence: int
    acknowledgment: int
    length: int
    window: int
    mss: int | None
    window_scale: int | None
    sack: list[tuple[int, int]] = field(default_factory=list)
    reason: str = ""
    lost: str = ""
    injected: str = ""
    duplicate: bool = False
    under_way: bool = False  # on a link when the trace ended
    changes: list[str] = field(default_factory=list)

    @property
    def time_ns(self) -> int:
        return self.sent_ns if self.sent_ns is not None else self.arrived_ns or 0

    @property
    def interesting(self) -> bool:
        """Whether a student looks for it in a long transfer: opening, closing, loss, repeats, forgeries."""
        odd = self.reason or self.lost or self.injected or self.duplicate or self.changes
        return bool(odd or self.flags & (SYN | FIN | RST) or not (self.window or self.flags & RST))

    @property
    def opens_or_closes(self) -> bool:
        return bool(self.flags & (SYN | FIN)) and not self.injected

    @property
    def label(self) -> str:
        """`SYN,ACK seq=0 ack=1 win=65535 mss=1460`."""
        words = [self.short_label]
        if self.flags & SYN or not (self.window or self.flags & RST):
            words.append(f"win={self.window}")
        if self.mss is not None:
            words.append(f"mss={self.mss}")
        if self.window_scale is not None:
            words.append(f"ws={self.window_scale}")
        words += [f"sack={left}-{right}" for left, right in self.sack]
        return " ".join(words)

    @property
    def short_label(self) -> str:
        """`SYN,ACK seq=0 ack=1`."""
        words = [flag_names(self.flags & ~PSH) or "no flags", f"seq={self.sequence}"]
        if self.flags & ACK:
            words.append(f"ack={self.acknowledgment}")
        if self.length:
            words.append(f"len={self.length}")
        return " ".join(words)


@dataclass(slots=True)
class Remark:
    """Something that happened at one end. `state` is the state it entered, "" when it entered none."""

    side: int
    time_ns: int
    text: str
    section: str = ""
    state: str = ""
    bad: bool = False


@dataclass(slots=True)
class Happening:
    """Something that happened to the lab, not to an end: an attack, a link going down."""

    time_ns: int
    text: str


@dataclass(slots=True)
class Elision:
    """Arrows left out: how many each side sent, their bytes, how many were lost or sent again; and how many forged."""

    segments: list[int]
    payload_bytes: list[int]
    lost: int
    resent: int
    forged: int


Row = Arrow | Remark | Happening | Elision


class Ladder:
    """The ladder of one conversation. `nodes` and `names` are the ends' node names and `address:port`s."""

    def __init__(self, spool: Path | str, conversation: Conversation, journeys: Journeys, *, raw: bool = False) -> None:
        first = conversation.first
        self.rows: list[Row] = []
        self.names = (_endpoint(first.local), _endpoint(first.remote))
        self._tuples = (first.local + first.remote, first.remote + first.local)
        self._ends: tuple[End, End | None] = (first, conversation.second)
        self._opened_ns = min(end.opened_ns for end in conversation.ends)
        self._closed_ns = conversation.closed_ns
        self._until_ns = conversation.until_ns
        self._journeys = journeys
        self._raw = raw
        self._isn: list[int | None] = [None, None]
        self._arrows: dict[int, Arrow] = {}
        self._sent: list[tuple[Arrow, Journey]] = []
        self._latest: Arrow | None = None
        self._links: dict[tuple[str, str], tuple[bool, str]] = {}
        self._node: list[str] = [first.node, conversation.second.node if conversation.second else ""]
        for event in SpoolReader(spool, kinds=_KINDS):
            if event.kind == LINK:
                self._link(event)
            elif event.time_ns >= self._opened_ns:
                self._add(event)
        self.nodes = (self._node[0], self._node[1] or "?")
        for arrow, journey in self._sent:
            arrow.under_way = arrow.arrived_ns is None and not arrow.lost and journey.on_link
        for row in self.rows:
            if isinstance(row, Arrow) and row.arrived_ns is None and not row.lost and not row.under_way:
                # Corrupted, or refused by a router.
                row.lost = ", ".join(row.changes) or "no arrival in the trace"
                row.changes = []

    def _add(self, event: Event) -> None:
        if event.kind == SEGMENT:
            self._latest = None
            side = self._side_of_segment(event)
            if side is not None:
                self._segment(event, side)
            return
        if event.kind == SACK:
            if self._latest is not None and event.values[0] == SENT:
                side = self._latest.side
                left, right = (self._relative(1 - side, value) for value in event.values[2:4])
                self._latest.sack.append((left, right))
            return
        if event.kind == ATTACK:
            if event.values[1] != ATTACK_INJECTED and self._concerns(event.time_ns):
                words = f"attack {event['attack']} {event['action'].lower()}"
                self.rows.append(Happening(event.time_ns, f"{words}: {event.text}" if event.text else words))
            return
        side = self._side_of_end(event)
        if side is not None:
            self._remark(event, side)

    def _link(self, event: Event) -> None:
        """A link went down or up, or was impaired otherwise; both directions at once are one row."""
        name, _, direction = str(event["link"]).rpartition("/")
        now = event["up"], event.text
        before = self._links.get((name, direction))
        self._links[name, direction] = now
        if before is None or before == now or not self._concerns(event.time_ns):
            return
        words = event.text or "no impairments"
        if before[0] != event["up"]:
            words = "up" if event["up"] else "down"
        both = Happening(event.time_ns, f"link {name}: {words}")
        opposite = "->".join(reversed(direction.split("->")))
        if self.rows and self.rows[-1] == Happening(event.time_ns, f"link {name} {opposite}: {words}"):
            self.rows[-1] = both
        else:
            self.rows.append(Happening(event.time_ns, f"link {name} {direction}: {words}"))

    def _concerns(self, time_ns: int) -> bool:
        return self._opened_ns <= time_ns and (self._closed_ns is None or time_ns <= self._closed_ns)

    def _side_of_segment(self, event: Event) -> int | None:
        """Which side sent it; None when it is not of this conversation."""
        ends = (event["src_address"], event["src_port"], event["dst_address"], event["dst_port"])
        if ends == self._tuples[0]:
            side = LEFT
        elif ends == self._tuples[1]:
            side = RIGHT
        else:
            return None
        at = side if event.values[0] == SENT else 1 - side
        end = self._ends[at]
        if event.connection and end is not None and (event.node, event.connection) != (end.node, end.number):
            return None  # an earlier or later connection of the same addresses and ports, or a forger
        if not event.connection and event.time_ns >= self._until_ns:
            return None  # of no connection, but when the next one was there already
        if end is None and event.values[0] != SENT:
            self._node[at] = self._node[at] or event.node
        return side if not self._node[at] or event.node == self._node[at] else None

    def _side_of_end(self, event: Event) -> int | None:
        for side, end in enumerate(self._ends):
            if end is not None and (event.node, event.connection) == (end.node, end.number):
                return side
        return None

    def _segment(self, event: Event, side: int) -> None:
        journey = self._journeys.of(event)
        if event.values[0] == SENT:
            arrow = self._arrow(event, side, journey)
            arrow.sent_ns = event.time_ns
            if event["resent"]:
                arrow.reason = event.why.words or "sent again"
            if journey is not None:
                arrow.lost = journey.dropped
                arrow.changes = journey.changes
                self._arrows[id(journey)] = arrow
                self._sent.append((arrow, journey))
            self.rows.append(arrow)
            self._latest = arrow
            return
        known = self._arrows.get(id(journey)) if journey is not None else None
        if known is not None and known.arrived_ns is None:
            known.arrived_ns = event.time_ns
            return
        arrow = self._arrow(event, side, journey)
        arrow.arrived_ns = event.time_ns
        arrow.duplicate = known is not None
        if known is None:
            arrow.injected = _who_forged(journey)
        self.rows.append(arrow)

    def _arrow(self, event: Event, side: int, journey: Journey | None) -> Arrow:
        flags = event["flags"]
        if flags & SYN and self._isn[side] is None:
            self._isn[side] = event["seq"]
        return Arrow(
            side,
            None,
            None,
            flags,
            self._relative(side, event["seq"]),
            self._relative(1 - side, event["ack"]) if flags & ACK else 0,
            event["length"],
            event["window"],
            event["mss"],
            event["window_scale"],
        )

    def _relative(self, side: int, value: int) -> int:
        if self._raw:
            return value
        if self._isn[side] is None:
            self._isn[side] = value - 1 & _MASK  # no SYN was seen: as if this were the first byte
        return value - (self._isn[side] or 0) & _MASK

    def _remark(self, event: Event, side: int) -> None:
        why = event.why
        time_ns = event.time_ns
        kind = event.kind
        if kind == STATE:
            self.rows.append(Remark(side, time_ns, why.words, why.section, event["new"]))
        elif kind == RESET and event["direction"] == "RECEIVED" and not event["accepted"]:
            self.rows.append(Remark(side, time_ns, f"RST ignored: {why.words}", why.section, bad=True))
        elif kind == DISCARD:
            self.rows.append(Remark(side, time_ns, f"discarded: {why.words}", why.section, bad=True))
        elif kind == CHALLENGE_ACK and event["suppressed"]:
            self.rows.append(Remark(side, time_ns, "challenge ACK suppressed by its limit", why.section, bad=True))
        elif kind == MUTANT:
            self.rows.append(Remark(side, time_ns, f"wrong on purpose: {event['mutant']}", "", bad=True))
        elif kind == CONTROL:
            self.rows.append(
                Remark(side, time_ns, f"congestion control {event['control']}: {event['why']}", "", bad=True)
            )
        elif kind == ERROR:
            words = f"user sees {event['errno_name']}" + (f": {why.words}" if why.words else "")
            self.rows.append(Remark(side, time_ns, words, why.section, bad=True))
        elif kind == TIMER and event.values[1] == TIMER_FIRED and event["timer"] in ("PERSIST", "KEEPALIVE"):
            self.rows.append(Remark(side, time_ns, f"{event['timer'].lower()} timer fired"))


def _who_forged(journey: Journey | None) -> str:
    """Who sent a segment that its supposed sender did not send."""
    if journey is None:
        return "unknown sender"
    return journey.injected or (f"node {journey.origin}" if journey.origin else "unknown sender")


def elide(rows: list[Row], limit: int) -> list[Row]:
    """At most about `limit` rows: long runs of ordinary segments shrink first, then of losses and repeats.

    Openings, closings and changes of state stay in any case, and with them what led to them.
    """
    if len(rows) <= limit:
        return rows
    kept = _shrink(rows, [not isinstance(row, Arrow) or row.interesting for row in rows], context=2)
    if len(kept) <= limit:
        return kept
    firm = [
        not isinstance(row, Arrow | Remark) or (row.opens_or_closes if isinstance(row, Arrow) else bool(row.state))
        for row in rows
    ]
    # Then the first of each kind of loss, repeat and remark; then as many from the start as there is room for.
    odd = [i for i, row in enumerate(rows) if not firm[i] and (not isinstance(row, Arrow) or row.interesting)]
    seen: set[str] = set()
    firsts: list[int] = []
    for i in odd:
        if (kind := _kind_of(rows[i])) not in seen:
            seen.add(kind)
            firsts.append(i)
    room = (limit - sum(firm)) // _ROWS_EACH
    first = set(firsts)
    for index in (firsts + [i for i in odd if i not in first])[: max(0, room)]:
        firm[index] = True
    return _shrink(rows, firm, context=1)


def _kind_of(row: Row) -> str:
    """What makes two rows tell the same story."""
    if isinstance(row, Arrow):
        why = row.injected or row.reason or row.lost or " ".join(row.changes)
        return why or f"{row.side} {row.flags & RST} {row.duplicate}"
    return row.text if isinstance(row, Remark) else ""


def _shrink(rows: list[Row], keep: list[bool], context: int) -> list[Row]:
    """Replace runs of rows not kept, but for `context` of them at either end, by an Elision."""
    shrunk: list[Row] = []
    index = 0
    while index < len(rows):
        if keep[index]:
            shrunk.append(rows[index])
            index += 1
            continue
        end = index
        while end < len(rows) and not keep[end]:
            end += 1
        if end - index <= 2 * context + 2:
            shrunk += rows[index:end]
        else:
            shrunk += rows[index : index + context]
            shrunk.append(_elision(rows[index + context : end - context]))
            shrunk += rows[end - context : end]
        index = end
    return shrunk


def _elision(rows: list[Row]) -> Elision:
    segments, payload = [0, 0], [0, 0]
    lost = resent = forged = 0
    for row in rows:
        if not isinstance(row, Arrow):
            continue
        if row.injected:
            forged += 1
            continue
        segments[row.side] += 1
        payload[row.side] += row.length
        lost += bool(row.lost)
        resent += bool(row.reason)
    return Elision(segments, payload, lost, resent, forged)


def _endpoint(name: tuple[str, int]) -> str:
    address, port = name
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"

"""A run in the terminal: state paths, ladders with both clocks, resets and retransmissions with their reasons."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Final, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lab.trace.analysis import Analysis, Conversation, End, Reset, analyse
from lab.trace.bundle import spool_of
from lab.trace.journeys import Journeys
from lab.trace.ladder import LEFT, Arrow, Elision, Happening, Ladder, Remark, Row, elide
from nodes.base.errors import NotFound

#: From here on a ladder's clocks are in seconds instead of milliseconds.
_SECONDS_FROM_NS: Final = 100_000_000_000

_UNICODE: Final = {
    "line": "─",
    "again": "═",
    "lost": "✗",
    "right": "▶",
    "left": "◀",
    "pipe": "│",
    "dot": "●",
    "to": "→",
    "forged": "⚡",
    "cut": "⋮",
    "many": "…",
}
_ASCII: Final = {
    "line": "-",
    "again": "=",
    "lost": "X",
    "right": ">",
    "left": "<",
    "pipe": "|",
    "dot": "*",
    "to": "->",
    "forged": "!",
    "cut": ":",
    "many": "...",
}
#: Rows of a ladder before ordinary segments are left out, and rows of a table of resets or retransmissions.
_LADDER_ROWS: Final = 60
_TABLE_ROWS: Final = 30


def show(
    path: Path | str,
    out: TextIO,
    *,
    connections: Collection[int] = (),
    raw: bool = False,
    full: bool = False,
    max_connections: int = 10,
    width: int | None = None,
) -> None:
    """Print a run (its directory or its spool) to `out`; with colours when that is a terminal.

    `connections` chooses by the numbers shown (empty: the first `max_connections`); `raw` shows sequence numbers as on
    the wire; `full` leaves no segment out. `width` is the terminal's, or 100 columns. Raises NotFound for a connection
    that is not there, and what `Bundle.open` raises.
    """
    spool = spool_of(path)
    analysis = analyse(spool)
    columns = width or (None if out.isatty() else 100)
    console = Console(file=out, width=columns, highlight=False, emoji=False, markup=False)
    chosen = _choose(analysis, connections, max_connections)
    journeys = Journeys(spool)
    for conversation in chosen:
        ladder = Ladder(spool, conversation, journeys, raw=raw)
        rows = ladder.rows if full else elide(ladder.rows, _LADDER_ROWS)
        _Drawing(console, ladder, conversation, analysis).draw(rows)
    left_out = len(analysis.conversations) - len(chosen)
    if left_out and not connections:
        console.print(Text(f"{left_out} more connections are not shown; choose them by number.", style="dim"))
    if not analysis.conversations:
        console.print("The trace has no connection.")
    wanted = {end.id for conversation in chosen for end in conversation.ends} if connections else None
    _print_resets(console, analysis, wanted)
    _print_retransmissions(console, analysis, wanted)


def _choose(analysis: Analysis, numbers: Collection[int], most: int) -> Sequence[Conversation]:
    if not numbers:
        return analysis.conversations[:most]
    known = {conversation.number: conversation for conversation in analysis.conversations}
    for number in numbers:
        if number not in known:
            raise NotFound(
                f"connection {number}: the trace has connections 1 to {len(known)}"
                if known
                else f"connection {number}: the trace has no connection"
            )
    return [known[number] for number in sorted(numbers)]


class _Drawing:
    """Draws one conversation on a console."""

    def __init__(self, console: Console, ladder: Ladder, conversation: Conversation, analysis: Analysis) -> None:
        self._console = console
        self._ladder = ladder
        self._conversation = conversation
        self._id_width = max(7, max(len(end.id) for end in conversation.ends))
        self._has_segments = analysis.has_segments
        self._marks = _UNICODE if (console.encoding or "").lower().startswith("utf") else _ASCII
        self._unit, self._time_text = _clock(analysis)
        self._clock = max(8, self._time(analysis.last_ns).cell_len)
        self._width = max(console.width, 80) - 2 * self._clock - 4

    def draw(self, rows: Sequence[Row]) -> None:
        conversation, console = self._conversation, self._console
        console.rule(Text(f"connection {conversation.number}", style="bold"), characters=self._marks["line"])
        for end in conversation.ends:
            console.print(self._path(end))
        for end in conversation.ends:
            console.print(Text(f"{end.id:<{self._id_width}} {_summary(end)}", style="dim"), soft_wrap=True)
        console.print()
        self._head()
        for row in rows:
            if isinstance(row, Arrow):
                self._arrow(row)
            elif isinstance(row, Remark):
                self._remark(row)
            elif isinstance(row, Happening):
                self._across(row.time_ns, f"{self._marks['line'] * 3} {row.text} {self._marks['line'] * 3}", "magenta")
            else:
                self._elision(row)
        if not self._has_segments:
            console.print(Text("No segments: the trace level was below `segments`.", style="dim"))
        console.print()

    def _path(self, end: End) -> Text:
        text = Text(f"{end.id:<{self._id_width}} ", style="bold")
        for index, state in enumerate(end.path):
            if index:
                text.append(f" {self._marks['to']} ", style="dim")
            text.append(state, style=_state_style(state))
        return text

    def _head(self) -> None:
        left, right = self._ladder.nodes
        clocks = [Text(f"{node} {self._unit}", style="bold") for node in (left, right)]
        self._line(clocks[0], self._two_sided(left, right, "bold"), clocks[1])
        self._line(Text(), self._two_sided(*self._ladder.names, "dim"), Text())

    def _two_sided(self, left: str, right: str, style: str) -> Text:
        gap = " " * max(1, self._width - len(left) - len(right))
        return Text(f"{left}{gap}{right}", style=style)

    def _arrow(self, row: Arrow) -> None:
        marks, width = self._marks, self._width
        style = "red" if row.lost or row.injected else "yellow" if row.reason else ""
        line = marks["again"] if row.reason else marks["line"]
        start = Text((line if row.sent_ns is not None else " ") * 2, style=style)
        if row.lost:
            # What does not arrive reaches no further than it must to be read.
            shaft, cross = line * 2, marks["lost"]
            end = Text(f"{shaft}{cross} {row.lost}" if row.side == LEFT else f"{row.lost} {cross}{shaft}", style="red")
        elif row.under_way:
            words = "under way when the trace ends"
            end = Text(f"{line * 2} {words}" if row.side == LEFT else f"{words} {line * 2}", style="dim")
        else:
            head = marks["right"] if row.side == LEFT else marks["left"]
            end = Text(line * 3 + head if row.side == LEFT else head + line * 3, style=style)
        room = max(8, width - start.cell_len - end.cell_len)
        label = self._label(row, row.label, style)
        if label.cell_len > room:
            label = self._label(row, row.short_label, style)
        label.truncate(room, overflow="ellipsis")
        space = max(0, width - start.cell_len - label.cell_len - end.cell_len)
        stops = bool(row.lost) or row.under_way
        gap = Text((" " if stops or row.sent_ns is None else line) * space, style=style)
        if stops:
            parts = [start, label, end, gap]
        elif row.sent_ns is None:  # nobody here sent it: it comes out of nowhere
            parts = [start, gap, label, end]
        else:
            parts = [start, label, gap, end]
        if row.side != LEFT:
            parts.reverse()
        times = [self._time(row.sent_ns), self._time(row.arrived_ns)]
        if row.side != LEFT:
            times.reverse()
        self._line(times[0], Text().join(parts), times[1])

    def _label(self, row: Arrow, words: str, style: str) -> Text:
        label = Text(f" {words} ", style=f"{style} bold" if row.interesting else style)
        for note in self._notes(row):
            label.append(f"{note} ", style=style or "cyan")
        return label

    def _notes(self, row: Arrow) -> list[str]:
        notes = []
        if row.injected:
            notes.append(f"{self._marks['forged']} forged by {row.injected}")
        if row.duplicate:
            notes.append("duplicate")
        if row.reason:
            notes.append(f"resent: {row.reason}")
        return notes + row.changes

    def _remark(self, row: Remark) -> None:
        text = Text()
        if row.state:
            text.append(f"{self._marks['dot']} {row.state}", style=f"bold {_state_style(row.state)}")
        style = "red" if row.bad else "dim"
        section = f" ({row.section})" if row.section else ""
        words = Text(f"  {row.text}", style=style)
        words.truncate(self._width - text.cell_len - len(section), overflow="ellipsis")
        text = text + words + Text(section, style=style)
        if row.side == LEFT:
            self._line(self._time(row.time_ns), text, Text())
        else:
            self._line(Text(), Text(" " * (self._width - text.cell_len)) + text, self._time(row.time_ns))

    def _across(self, time_ns: int, words: str, style: str) -> None:
        text = Text(words, style=style)
        text.truncate(self._width, overflow="ellipsis")
        pad = (self._width - text.cell_len) // 2
        self._line(self._time(time_ns), Text(" " * pad) + text, Text())

    def _elision(self, row: Elision) -> None:
        words = self._elision_words(row, with_bytes=True)
        if len(words) > self._width:
            words = self._elision_words(row, with_bytes=False)
        text = Text(words, style="dim italic")
        text.truncate(self._width, overflow="ellipsis")
        self._line(
            Text(self._marks["cut"], style="dim"),
            Text(" " * ((self._width - text.cell_len) // 2)) + text,
            Text(self._marks["cut"], style="dim"),
        )

    def _elision_words(self, row: Elision, with_bytes: bool) -> str:
        parts = []
        for side, node in enumerate(self._ladder.nodes):
            if row.segments[side]:
                of = f" ({row.payload_bytes[side]:,} bytes)" if with_bytes and row.payload_bytes[side] else ""
                parts.append(f"{row.segments[side]:,} from {node}{of}")
        counts = ((row.lost, "lost"), (row.resent, "resent"), (row.forged, "forged"))
        odd = [f"{count:,} {what}" for count, what in counts if count]
        words = "; ".join(part for part in (", ".join(parts), ", ".join(odd)) if part)
        return f"{self._marks['many']} {sum(row.segments) + row.forged:,} segments: {words} {self._marks['many']}"

    def _line(self, left: Text, middle: Text, right: Text) -> None:
        pipe = Text(f" {self._marks['pipe']}", style="dim")
        filled = middle + Text(" " * max(0, self._width - middle.cell_len))
        end = Text(f"{self._marks['pipe']}", style="dim")
        pad = Text(" " * max(0, self._clock - left.cell_len))
        far = Text(" " * max(0, self._clock + 1 - right.cell_len)) + right if right.cell_len else Text()
        self._console.print(Text().join([pad, left, pipe, filled, end, far]), soft_wrap=True)

    def _time(self, time_ns: int | None) -> Text:
        return Text("" if time_ns is None else self._time_text(time_ns))


def _clock(analysis: Analysis) -> tuple[str, Callable[[int], str]]:
    """Unit of the times of a trace, and how one is written: to the microsecond in any case."""
    if analysis.last_ns >= _SECONDS_FROM_NS:
        return "s", lambda time_ns: f"{time_ns / 1e9:.6f}"
    return "ms", lambda time_ns: f"{time_ns / 1e6:.3f}"


def _state_style(state: str) -> str:
    if state == "ESTABLISHED":
        return "green"
    return "red" if state == "CLOSED" else "blue"


def _summary(end: End) -> str:
    parts = []
    if end.bytes_sent is not None:
        parts.append(f"sent {end.bytes_sent:,} bytes, received {end.bytes_received or 0:,}")
    if end.segments_sent is not None:
        parts.append(f"{end.segments_sent:,} segments out, {end.segments_received or 0:,} in")
    parts.append(_count(len(end.retransmissions), "retransmission"))
    if end.challenge_acks:
        parts.append(_count(end.challenge_acks, "challenge ACK"))
    if end.errors:
        parts.append("error " + ", ".join(end.errors))
    parts += [f"not allowed: {call}" for call in end.illegal_calls]
    return "; ".join(parts)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def _print_resets(console: Console, analysis: Analysis, wanted: set[str] | None) -> None:
    rows = [one for one in analysis.resets if wanted is None or f"{one.node}#{one.connection}" in wanted]
    if not rows:
        return
    # A sweep of forged resets is one row, not thousands.
    groups: list[list[Reset]] = []
    for one in rows:
        if groups and _same_story(groups[-1][0], one):
            groups[-1].append(one)
        else:
            groups.append([one])
    unit, time_text = _clock(analysis)
    table = Table(title="Resets", title_justify="left", title_style="bold", box=None, pad_edge=False)
    for column in (f"time {unit}", "at", "what", "why", "section"):
        table.add_column(column, justify="right" if column.startswith("time") else "left")
    for group in groups[:_TABLE_ROWS]:
        one = group[0]
        what = "RST sent" if one.sent else "RST accepted" if one.accepted else "RST ignored"
        if len(group) > 1:
            what += f", {len(group):,} until {time_text(group[-1].time_ns)}"
        at = f"{one.node}#{one.connection}" if one.connection else one.node
        table.add_row(
            time_text(one.time_ns), at, what, one.cause.words, one.cause.section, style="" if one.accepted else "yellow"
        )
    console.print(table)
    _print_rest(console, len(groups))


def _same_story(one: Reset, other: Reset) -> bool:
    return (one.node, one.connection, one.sent, one.accepted, one.cause) == (
        other.node,
        other.connection,
        other.sent,
        other.accepted,
        other.cause,
    )


def _print_retransmissions(console: Console, analysis: Analysis, wanted: set[str] | None) -> None:
    rows = [one for one in analysis.retransmissions if wanted is None or f"{one.node}#{one.connection}" in wanted]
    if not rows:
        return
    unit, time_text = _clock(analysis)
    table = Table(title="Retransmissions", title_justify="left", title_style="bold", box=None, pad_edge=False)
    for column in (f"time {unit}", "at", "seq (raw)", "bytes", "try", "why", "section"):
        table.add_column(column, justify="left" if column in ("at", "why", "section") else "right")
    for one in rows[:_TABLE_ROWS]:
        table.add_row(
            time_text(one.time_ns),
            f"{one.node}#{one.connection}",
            str(one.sequence),
            str(one.length),
            str(one.count),
            one.cause.words,
            one.cause.section,
        )
    console.print(table)
    _print_rest(console, len(rows))


def _print_rest(console: Console, count: int) -> None:
    if count > _TABLE_ROWS:
        console.print(Text(f"and {count - _TABLE_ROWS} more; the Parquet tables have them all.", style="dim"))
    console.print()

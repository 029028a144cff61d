"""Three plots of a connection: congestion window, round-trip time, time-sequence. PNG files, equal for equal runs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from lab.trace.analysis import Analysis, Conversation, End, analyse
from lab.trace.bundle import spool_of
from lab.trace.event import Event
from lab.trace.spool_reader import SpoolReader
from nodes.base.causes import RETRANSMIT_RTO, RETRANSMIT_SYN, RETRANSMIT_SYN_ACK
from nodes.base.errors import FailedPrecondition, NotFound
from nodes.base.events import CWND, RECOVERY, RETRANSMIT, RTT, SEGMENT, SENT, UNKNOWN
from nodes.packet.tcp import ACK, SYN

_MASK: Final = 0xFFFFFFFF
_HALF: Final = 1 << 31
_SIZE: Final = (10.0, 5.6)
_DPI: Final = 120
# Okabe and Ito's colours, which colour-blind readers can tell apart.
_BLUE: Final = "#0072B2"
_ORANGE: Final = "#D55E00"
_GREEN: Final = "#009E73"
_SKY: Final = "#56B4E9"
_GREY: Final = "#777777"
_BLACK: Final = "#000000"
_BY_TIMER: Final = (RETRANSMIT_RTO, RETRANSMIT_SYN, RETRANSMIT_SYN_ACK)
#: ssthresh starts "arbitrarily high" (RFC 5681 section 3.1); beyond this many times the window it is not drawn.
_HIGH: Final = 4
#: The time-sequence graph reaches at most this many times beyond the data, to show the receiver's window.
_ROOM: Final = 1.35


def plot(
    path: Path | str, directory: Path | str, *, connections: Collection[int] = (), max_connections: int = 4
) -> list[Path]:
    """Draw each chosen connection's sending ends into `<node>-<connection>-{cwnd,rtt,sequence}.png`; the paths.

    `connections` are the numbers `show` prints (empty: the first `max_connections`). A plot without a single value is
    not drawn. Raises FailedPrecondition when matplotlib is missing or the trace has nothing to draw, NotFound for a
    connection that is not there.
    """
    try:
        import matplotlib
    except ImportError:
        raise FailedPrecondition("plots need matplotlib, which is not installed: pip install 'tcplab[plots]'") from None
    matplotlib.use("Agg")
    spool = spool_of(path)
    analysis = analyse(spool)
    ends = [end for one in _choose(analysis, connections, max_connections) for end in one.ends]
    series = _collect(spool, ends)
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    for end in ends:
        one = series[end.node, end.number]
        stem = f"{end.node}-{end.number}"
        if len(one.cwnd) > 1:
            paths.append(_draw(directory / f"{stem}-cwnd.png", end, one, _congestion_window))
        if len(one.rtt) > 1:
            paths.append(_draw(directory / f"{stem}-rtt.png", end, one, _round_trip))
        if one.sent:
            paths.append(_draw(directory / f"{stem}-sequence.png", end, one, _time_sequence))
    if not paths:
        raise FailedPrecondition(f"{path}: nothing to plot: no data was sent, or the trace level is below `congestion`")
    return paths


def _choose(analysis: Analysis, numbers: Collection[int], most: int) -> Sequence[Conversation]:
    if not numbers:
        return analysis.conversations[:most]
    for number in numbers:
        if not 1 <= number <= len(analysis.conversations):
            raise NotFound(f"connection {number}: the trace has {len(analysis.conversations)} connections")
    return [analysis.conversations[number - 1] for number in sorted(numbers)]


@dataclass(slots=True)
class _Series:
    """What one end did, times in ns, sequence numbers relative to its ISN and unwrapped."""

    cwnd: list[Event] = field(default_factory=list)
    rtt: list[Event] = field(default_factory=list)
    recovery: list[Event] = field(default_factory=list)
    resent: list[Event] = field(default_factory=list)
    #: (time, sequence, length, resent)
    sent: list[tuple[int, int, int, bool]] = field(default_factory=list)
    #: (time, acknowledged up to, right edge of the peer's window)
    acked: list[tuple[int, int, int]] = field(default_factory=list)
    isn: int | None = None
    highest: int = 0
    peer_scale: int = 0
    own_scale: int | None = None

    def unwrap(self, raw: int) -> int:
        """A raw sequence number of ours as bytes from the ISN, however often it has wrapped."""
        if self.isn is None:
            self.isn = raw - 1 & _MASK
        near = self.highest
        value = near + ((raw - self.isn - near + _HALF & _MASK) - _HALF)
        self.highest = max(near, value)
        return value


def _collect(spool: Path, ends: Sequence[End]) -> dict[tuple[str, int], _Series]:
    series = {(end.node, end.number): _Series() for end in ends}
    for event in SpoolReader(spool, kinds=(CWND, RTT, RECOVERY, RETRANSMIT, SEGMENT)):
        one = series.get((event.node, event.connection))
        if one is None:
            continue
        if event.kind == CWND:
            one.cwnd.append(event)
        elif event.kind == RTT:
            one.rtt.append(event)
        elif event.kind == RECOVERY:
            one.recovery.append(event)
        elif event.kind == RETRANSMIT:
            one.resent.append(event)
        else:
            _segment(one, event)
    return series


def _segment(one: _Series, event: Event) -> None:
    flags = event["flags"]
    if event.values[0] == SENT:
        sequence = one.unwrap(event["seq"]) if one.isn is not None or not flags & SYN else 0
        if flags & SYN:
            one.isn = event["seq"]
            one.own_scale = event["window_scale"]
        if event["length"]:
            one.sent.append((event.time_ns, sequence, event["length"], event["resent"]))
        return
    if flags & SYN:
        # RFC 7323 section 2.2: scaling is on only when both SYNs carried the option.
        scale = event["window_scale"]
        one.peer_scale = scale if scale is not None and one.own_scale is not None else 0
    if flags & ACK and one.isn is not None:
        acknowledged = one.unwrap(event["ack"])
        window = event["window"] << (0 if flags & SYN else one.peer_scale)
        one.acked.append((event.time_ns, acknowledged, acknowledged + window))


def _draw(path: Path, end: End, series: _Series, draw: Any) -> Path:
    # Figure without pyplot: no global state, no window system.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE, dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    draw(axes, series)
    address, port = end.remote
    axes.set_title(f"{axes.get_title()}: {end.id} to {address}:{port}", loc="left", fontsize=12, fontweight="bold")
    axes.set_title("", loc="center")
    axes.set_xlabel("time (s)")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    columns = 3 if len(axes.get_legend_handles_labels()[0]) > 4 else 4
    figure.legend(loc="outside lower center", ncols=columns, frameon=False, fontsize=9)
    # "Software" would carry matplotlib's version.
    figure.savefig(path, metadata={"Software": None})
    return path


def _unit(largest: int) -> tuple[float, str]:
    """Divisor and name of the unit for a number of bytes."""
    return (1e6, "MB") if largest >= 10_000_000 else (1e3, "kB") if largest >= 10_000 else (1.0, "bytes")


def _seconds(events: Sequence[Event]) -> list[float]:
    return [event.time_ns / 1e9 for event in events]


def _congestion_window(axes: Any, series: _Series) -> None:
    events = series.cwnd
    top = max(max(event.values[0], event.values[2]) for event in events)
    divisor, unit = _unit(top)
    times = _seconds(events)
    threshold = [
        event.values[1] / divisor if event.values[1] != UNKNOWN and event.values[1] <= _HIGH * top else None
        for event in events
    ]
    flight = [event.values[2] / divisor for event in events]
    axes.fill_between(times, flight, step="post", color=_SKY, alpha=0.5, lw=0, label="in flight")
    axes.step(
        times,
        [event.values[0] / divisor for event in events],
        where="post",
        color=_BLUE,
        lw=1.6,
        label="cwnd: congestion window",
    )
    if any(value is not None for value in threshold):
        axes.step(
            times,
            [float("nan") if value is None else value for value in threshold],
            where="post",
            color=_ORANGE,
            lw=1.2,
            ls="--",
            label="ssthresh: slow-start threshold",
        )
    _shade_recovery(axes, series, events[-1].time_ns)
    _mark_resent(axes, series)
    axes.set_ylim(bottom=0)
    axes.set_ylabel(f"window, data in flight ({unit})")
    axes.set_title("Congestion window")


def _mark_resent(axes: Any, series: _Series) -> None:
    """Ticks along the bottom, so that many of them stay readable."""
    for by_timer, color, words in ((False, _ORANGE, "retransmission"), (True, _BLACK, "retransmission by timeout")):
        times = [event.time_ns / 1e9 for event in series.resent if (event.cause in _BY_TIMER) == by_timer]
        if times:
            axes.plot(
                times,
                [0.01] * len(times),
                ls="",
                marker="|",
                ms=11,
                mew=1.6,
                color=color,
                clip_on=False,
                transform=axes.get_xaxis_transform(),
                label=words,
                zorder=5,
            )


def _shade_recovery(axes: Any, series: _Series, until_ns: int) -> None:
    """A band for each time of loss recovery."""
    since: int | None = None
    label = "loss recovery"
    for time_ns, entered in [*((event.time_ns, event["entered"]) for event in series.recovery), (until_ns, False)]:
        if since is not None and not entered:
            axes.axvspan(since / 1e9, time_ns / 1e9, color=_GREY, alpha=0.15, lw=0, zorder=0, label=label)
            label = ""
            since = None
        elif since is None and entered:
            since = time_ns


def _round_trip(axes: Any, series: _Series) -> None:
    def milliseconds(index: int) -> tuple[list[float], list[float]]:
        known = [event for event in series.rtt if event.values[index] != UNKNOWN]
        return _seconds(known), [event.values[index] / 1e6 for event in known]

    axes.plot(*milliseconds(0), ls="", marker=".", ms=4, color=_SKY, label="RTT sample")
    axes.step(*milliseconds(1), where="post", color=_BLUE, lw=1.6, label="SRTT: smoothed")
    axes.step(*milliseconds(3), where="post", color=_ORANGE, lw=1.2, ls="--", label="RTO: retransmission timeout")
    _mark_resent(axes, series)
    axes.set_ylabel("time (ms)")
    axes.set_ylim(bottom=0)
    axes.set_title("Round-trip time")


def _time_sequence(axes: Any, series: _Series) -> None:
    ends = [sequence + length for _, sequence, length, _ in series.sent]
    top = max(ends)
    divisor, unit = _unit(top)
    for again, color, words, width in ((False, _BLUE, "sent", 1.6), (True, _ORANGE, "sent again", 2.4)):
        chosen = [one for one in series.sent if one[3] == again]
        if chosen:
            axes.vlines(
                [one[0] / 1e9 for one in chosen],
                [one[1] / divisor for one in chosen],
                [(one[1] + one[2]) / divisor for one in chosen],
                color=color,
                lw=width,
                label=words,
                zorder=3,
            )
            # A segment of a long transfer is less than a pixel high.
            axes.plot(
                [one[0] / 1e9 for one in chosen],
                [(one[1] + one[2]) / divisor for one in chosen],
                ls="",
                marker="o" if again else ".",
                ms=4.5 if again else 2,
                color=color,
                zorder=4,
            )
    ceiling = 1.05 * top
    stop = series.sent[-1][0]
    if series.acked:
        times = [one[0] / 1e9 for one in series.acked]
        axes.step(
            times, [one[1] / divisor for one in series.acked], where="post", color=_GREEN, lw=1.4, label="acknowledged"
        )
        edges = [one[2] for one in series.acked]
        if sorted(edges)[len(edges) // 2] < _ROOM * top:  # else it would be drawn far above the rest
            ceiling = max(ceiling, 1.03 * min(max(edges), _ROOM * top))
            axes.step(
                times,
                [edge / divisor for edge in edges],
                where="post",
                color=_GREY,
                lw=1.0,
                ls=":",
                label="end of the receiver's window",
            )
        stop = max(stop, next((time_ns for time_ns, number, _ in series.acked if number >= top), stop))
    # A close long after the data would squeeze the transfer into a corner.
    start = series.sent[0][0]
    margin = max(1, stop - start) * 0.03
    axes.set_xlim((start - margin) / 1e9, (stop + margin) / 1e9)
    axes.set_ylim(0, ceiling / divisor)
    axes.set_ylabel(f"sequence number, relative ({unit})")
    axes.set_title("Time-sequence")

"""Measures a link on the wire against what was asked of it: numbered frames, tcpdump on both ends.

Each phase asks one thing of the link h1 -> h2 of a running lab, so that what is found has one cause. Nothing here is
compared with the engine's own numbers. `Row.fine` is by the bounds below and, for chances, a chi-square test.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Any, Final, Protocol

from lab.engine.wire_log import WireLog
from lab.links.impairments import NO_IMPAIRMENTS, Impairments
from nodes.base.clock import MICROSECOND, MILLISECOND, SECOND
from nodes.base.errors import FailedPrecondition, InvalidArgument
from nodes.base.random import CHANCE_ONE
from nodes.drivers.packet_socket import PacketSocket

#: IEEE 802's type for experiments.
ETHER_TYPE: Final = 0x88B5
_HEADER: Final = b"\x02\0\0\0\0\x02\x02\0\0\0\0\x01" + ETHER_TYPE.to_bytes(2, "big")
_SMALL: Final = 100
_FULL: Final = 1514
#: A test that fails once in so many runs of a perfect link.
_SIGNIFICANCE: Final = 0.001
_BINS: Final = 10

#: The delay may be off by so much: half of the frames, all but 1 %.
DELAY_P50_NS: Final = 500 * MICROSECOND
DELAY_P99_NS: Final = 2 * MILLISECOND
#: The rate may be off by so much, per mille.
RATE_PERMILLE: Final = 10


class Measurable(Protocol):
    """What is needed of a lab in real time."""

    def update_link(self, link: str, changes: dict[str, Any], direction: str = "") -> None: ...
    def inside(self, node: str) -> AbstractContextManager[None]: ...
    def pump(self) -> None: ...


@dataclass(frozen=True)
class Row:
    """One thing that was asked, what was found in words and in numbers, and whether it is within bounds."""

    what: str
    asked: str
    found: str
    bound: str
    fine: bool
    values: dict[str, float]


@dataclass(frozen=True)
class Seen:
    """The frames of a phase: when each left h1, and when it came to h2 (None: it did not), ns."""

    left: Sequence[int]
    came: Sequence[int | None]

    @property
    def delays(self) -> list[int]:
        return [come - left for left, come in zip(self.left, self.came, strict=True) if come is not None]

    @property
    def lost(self) -> list[bool]:
        return [come is None for come in self.came]


class Measurement:
    """Sends on `link` (its end h1:eth0) of a lab and looks at h2:eth0. `tell(words)` is called before each phase.
    Jitter is measured on a link with `jitter_rate_bps`, for an engine that needs a rate there (0: with none)."""

    def __init__(
        self,
        lab: Measurable,
        link: str,
        asked: Impairments,
        tell: Callable[[str], None],
        jitter_rate_bps: int = 0,
    ) -> None:
        self._lab = lab
        self._link = link
        self._asked = asked
        self._tell = tell
        self._jitter_rate_bps = jitter_rate_bps
        self._phase = 0
        with lab.inside("h1"):
            self._socket = PacketSocket("eth0", ring_frames=0)

    def close(self) -> None:
        self._socket.close()

    def rows(self) -> list[Row]:
        """Measure everything that is asked."""
        asked = self._asked
        rows = [self._delay()]
        if asked.jitter_ns:
            rows.append(self._jitter())
        if asked.loss:
            rows.append(self._loss())
        if asked.bursts:
            rows.append(self._bursts())
        if asked.rate_bps:
            rows.append(self._rate())
        return rows

    # One thing at a time.

    def _delay(self) -> Row:
        asked = self._asked.delay_ns
        self._tell("delay")
        seen = self.send(2000, _SMALL, 2 * MILLISECOND, delay_ns=asked)
        errors = sorted(delay - asked for delay in seen.delays)
        if len(errors) < len(seen.left):
            raise FailedPrecondition(f"{len(seen.left) - len(errors)} frames were lost on a link without loss")
        p50, p99, most = errors[len(errors) // 2], errors[len(errors) * 99 // 100], errors[-1]
        return Row(
            "delay",
            _ms(asked),
            f"off by p50 {_ms(p50)}, p99 {_ms(p99)}, max {_ms(most)}",
            f"p50 {_ms(DELAY_P50_NS)}, p99 {_ms(DELAY_P99_NS)}",
            errors[0] >= 0 and p50 <= DELAY_P50_NS and p99 <= DELAY_P99_NS,
            {"frames": len(errors), "error_p50_ns": p50, "error_p99_ns": p99, "error_max_ns": most},
        )

    def _jitter(self) -> Row:
        """Frames so far apart that none can overtake another: the delays themselves are seen."""
        asked = self._asked
        self._tell("jitter")
        gap = 2 * asked.jitter_ns + MILLISECOND
        seen = self.send(
            600, _SMALL, gap, delay_ns=asked.delay_ns, jitter_ns=asked.jitter_ns, rate_bps=self._jitter_rate_bps
        )
        low = max(0, asked.delay_ns - asked.jitter_ns)
        high = asked.delay_ns + asked.jitter_ns
        bins = [0] * _BINS
        for delay in seen.delays:
            bins[min(_BINS - 1, max(0, (delay - low) * _BINS // (high - low)))] += 1
        expected = len(seen.delays) / _BINS
        p = chi_square(sum((count - expected) ** 2 / expected for count in bins), _BINS - 1)
        mean = sum(seen.delays) // len(seen.delays)
        return Row(
            "jitter",
            f"{_ms(asked.delay_ns)} ± {_ms(asked.jitter_ns)}, uniform",
            f"{_ms(min(seen.delays))} to {_ms(max(seen.delays))}, mean {_ms(mean)}, chi-square p {p:.3f}",
            f"p {_SIGNIFICANCE}",
            p >= _SIGNIFICANCE and min(seen.delays) >= low,
            {"frames": len(seen.delays), "mean_ns": mean, "p": p},
        )

    def _loss(self) -> Row:
        asked = self._asked.loss / CHANCE_ONE
        self._tell("loss")
        seen = self.send(20_000, _SMALL, 250 * MICROSECOND, loss=self._asked.loss)
        lost, count = sum(seen.lost), len(seen.left)
        p = chi_square((lost - asked * count) ** 2 / (count * asked * (1 - asked)), 1) if asked < 1 else 1.0
        return Row(
            "loss",
            f"{100 * asked:g} %",
            f"{lost} of {count}, {100 * lost / count:.2f} %, chi-square p {p:.3f}",
            f"p {_SIGNIFICANCE}",
            p >= _SIGNIFICANCE,
            {"frames": count, "lost": lost, "p": p},
        )

    def _bursts(self) -> Row:
        """Every frame of the bad state is lost and none of the good one, so the states are seen."""
        enter, leave = self._asked.gemodel_p / CHANCE_ONE, self._asked.gemodel_r / CHANCE_ONE
        self._tell("bursts of losses")
        seen = self.send(
            20_000, _SMALL, 250 * MICROSECOND, gemodel_p=self._asked.gemodel_p, gemodel_r=self._asked.gemodel_r
        )
        changes = {(before, after): 0 for before in (False, True) for after in (False, True)}
        for pair in zip(seen.lost, seen.lost[1:], strict=False):
            changes[pair] += 1
        good, bad = (changes[state, False] + changes[state, True] for state in (False, True))
        statistic = _deviation(changes[False, True], good, enter) + _deviation(changes[True, False], bad, leave)
        p = chi_square(statistic, 2)
        bursts = max(1, changes[True, False])
        lost = sum(seen.lost)
        return Row(
            "bursts",
            f"Gilbert-Elliott p {100 * enter:g} %, r {100 * leave:g} %",
            f"{100 * lost / len(seen.left):.2f} % lost in bursts of {lost / bursts:.2f}, chi-square p {p:.3f}",
            f"p {_SIGNIFICANCE}",
            p >= _SIGNIFICANCE,
            {"frames": len(seen.left), "lost": lost, "bursts": bursts, "p": p},
        )

    def _rate(self) -> Row:
        """Half as much again is offered; what comes through in the time between the first frame and the last."""
        asked = self._asked.rate_bps
        self._tell("rate")
        gap = 8 * _FULL * SECOND * 2 // (3 * asked)
        seen = self.send(max(100, 3 * SECOND // gap), _FULL, gap, rate_bps=asked, limit_packets=1000)
        came = sorted(come for come in seen.came if come is not None)
        found = round(8 * _FULL * (len(came) - 1) * SECOND / (came[-1] - came[0]))
        off = 1000 * abs(found - asked) / asked
        return Row(
            "rate",
            f"{asked / 1e6:g} Mbit/s",
            f"{found / 1e6:.4f} Mbit/s, off by {off / 10:.2f} %",
            f"{RATE_PERMILLE / 10:g} %",
            off <= RATE_PERMILLE,
            {"frames": len(came), "rate_bps": found},
        )

    # Frames.

    def send(self, count: int, length: int, gap_ns: int, **impairments: int) -> Seen:
        """Have exactly these impairments, send, and see."""
        perfect = {name: getattr(NO_IMPAIRMENTS, name) for name in vars(NO_IMPAIRMENTS)}
        self._lab.update_link(self._link, {**perfect, **impairments}, "h1->h2")
        self._phase += 1
        mark = self._phase.to_bytes(4, "big")
        body = bytes(length - len(_HEADER) - 8)
        with ExitStack() as stack:
            logs = []
            for node in ("h1", "h2"):
                with self._lab.inside(node):
                    logs.append(stack.enter_context(WireLog("eth0", ETHER_TYPE)))
            begin = time.monotonic_ns()
            for number in range(count):
                wait = begin + number * gap_ns - time.monotonic_ns()
                if wait > 0:
                    time.sleep(wait / SECOND)
                self._socket.send(_HEADER + mark + number.to_bytes(4, "big") + body)
            self._settle(impairments, length)
            ended = [log.end() for log in logs]
        left: list[int | None] = [None] * count
        came: list[int | None] = [None] * count
        for stamps, (frames, _) in zip((left, came), ended, strict=True):
            for stamp, frame in frames:
                if frame[14:18] == mark:
                    stamps[int.from_bytes(frame[18:22], "big")] = stamp
        missed = sum(missed for _, missed in ended)
        if missed:
            raise FailedPrecondition(f"tcpdump missed {missed} frames: the machine is too busy to measure on it")
        pairs = [(leave, come) for leave, come in zip(left, came, strict=True) if leave is not None]
        return Seen([leave for leave, _ in pairs], [come for _, come in pairs])

    def _settle(self, impairments: dict[str, int], length: int) -> None:
        """Let what is under way arrive: the whole delay, and a full queue."""
        under_way = impairments.get("delay_ns", 0) + impairments.get("jitter_ns", 0)
        rate = impairments.get("rate_bps", 0)
        if rate:
            under_way += impairments.get("limit_packets", NO_IMPAIRMENTS.limit_packets) * length * 8 * SECOND // rate
        end = time.monotonic_ns() + under_way + 200 * MILLISECOND
        while time.monotonic_ns() < end:
            self._lab.pump()
            time.sleep(0.01)


def check(asked: Impairments) -> None:
    """Raises InvalidArgument for what is not measured, or cannot be in a reasonable time."""
    for name in ("duplicate", "corrupt", "reorder", "reorder_gap", "gemodel_1k"):
        if getattr(asked, name):
            raise InvalidArgument("is not measured; delay, jitter, loss, gemodel_p, gemodel_r and rate are", name)
    if asked.gemodel_1h != CHANCE_ONE:
        raise InvalidArgument("is not measured; all frames of the bad state are lost", "gemodel_1h")
    if asked.jitter_ns > asked.delay_ns:
        raise InvalidArgument("more than the delay: the delays are then not uniform", "jitter")


def chi_square(statistic: float, freedom: int) -> float:
    """The chance of a chi-square statistic as large as this or larger (Abramowitz and Stegun 26.4.4, 26.4.5)."""
    half = statistic / 2
    p = math.erfc(math.sqrt(half)) if freedom % 2 else math.exp(-half)
    for k in range(4 - freedom % 2, freedom + 1, 2):
        p += half ** (k / 2 - 1) * math.exp(-half) / math.gamma(k / 2)
    return p


def _deviation(count: int, of: int, chance: float) -> float:
    """The chi-square statistic of a count."""
    if not of or not 0 < chance < 1:
        return 0.0
    return (count - of * chance) ** 2 / (of * chance * (1 - chance))


def _ms(duration_ns: int) -> str:
    return f"{duration_ns / MILLISECOND:.3g} ms"

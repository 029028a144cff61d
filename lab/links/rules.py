"""Packet rules: they name packets, not chances. Match + nth + action.

    - name: lose-first-syn-ack
      direction: h2->h1
      match: tcp.flags.syn && tcp.flags.ack
      nth: 1
      drop:

The rules of a link see each frame in their order as it enters; each counts the frames it matches, and the first whose
`nth` picks the frame acts on it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from lab import spec
from lab.links.frame import FrameView
from lab.links.match import Resolver, compile_match
from nodes.base.clock import HOUR
from nodes.base.errors import InvalidArgument
from nodes.base.random import RandomStream

UNBOUNDED: Final = 1 << 62
MAX_FLOWS: Final = 10_000


@dataclass(frozen=True)
class Drop:
    """The frame is lost."""


@dataclass(frozen=True)
class Delay:
    """The frame enters the link later; those behind it overtake."""

    short: ClassVar[str] = "delay_ns"
    delay_ns: int = spec.duration(minimum=1, maximum=HOUR, doc="How much later.")


@dataclass(frozen=True)
class Duplicate:
    """The frame arrives more than once."""

    short: ClassVar[str] = "copies"
    copies: int = spec.number(default=1, minimum=1, maximum=100, doc="Copies beside the original.")


@dataclass(frozen=True)
class Corrupt:
    """One random bit of the frame is flipped."""


@dataclass(frozen=True)
class Hold:
    """The frame waits until more frames have entered this direction, then follows them."""

    short: ClassVar[str] = "packets"
    packets: int = spec.number(minimum=1, maximum=1_000_000, doc="How many frames go first.")


@dataclass(frozen=True)
class Reset:
    """The TCP segment is lost, and both ends get an RST with exact sequence numbers instead."""


Action = Drop | Delay | Duplicate | Corrupt | Hold | Reset
ACTIONS: Final[dict[str, type]] = {
    "drop": Drop,
    "delay": Delay,
    "duplicate": Duplicate,
    "corrupt": Corrupt,
    "hold": Hold,
    "reset": Reset,
}


@dataclass(frozen=True)
class Nth:
    """Which of the matching frames: `first`, then each `step`-th up to `last`."""

    first: int = 1
    last: int = UNBOUNDED
    step: int = 1

    def picks(self, count: int) -> bool:
        """Whether the `count`-th match, from 1, is one."""
        return self.first <= count <= self.last and (count - self.first) % self.step == 0

    def __str__(self) -> str:
        if self.first == self.last:
            return str(self.first)
        if self.step > 1:
            return f"every {self.step}"
        if self.last != UNBOUNDED:
            return f"{self.first}-{self.last}"
        return "all" if self.first == 1 else f"{self.first}-"


class _NthKind(spec.Kind):
    pattern = r"all|every [1-9][0-9]{0,8}|[1-9][0-9]{0,8}(-([1-9][0-9]{0,8})?)?"

    def parse(self, value: spec.Value, path: str) -> Nth:
        written = str(value.data)
        if isinstance(value.data, (str, int)) and re.fullmatch(self.pattern, written):
            if written == "all":
                return Nth()
            if written.startswith("every "):
                return Nth(int(written[6:]), UNBOUNDED, int(written[6:]))
            first, dash, last = written.partition("-")
            nth = Nth(int(first), int(last) if last else UNBOUNDED if dash else int(first))
            if nth.first <= nth.last:
                return nth
        raise value.error(path, f"{written} is not which matches are meant: 1, 2-4, 3-, every 3 or all")

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        return {"type": ["string", "integer"], "pattern": f"^({self.pattern})$", "minimum": 1}

    def plain(self, data: Any) -> Any:
        return str(data)


class _BytesKind(spec.Kind):
    pattern = r"([0-9]{1,15})\.\.([0-9]{1,15})"

    def parse(self, value: spec.Value, path: str) -> tuple[int, int]:
        match = re.fullmatch(self.pattern, value.data) if isinstance(value.data, str) else None
        if match is None or int(match[1]) > int(match[2]):
            raise value.error(path, f"{value.data} is not a range of bytes of the stream, such as 14600..29199")
        return int(match[1]), int(match[2])

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        return {"type": "string", "pattern": f"^{self.pattern}$"}

    def plain(self, data: Any) -> Any:
        return f"{data[0]}..{data[1]}"


class _MatchKind(spec.Text):
    def parse(self, value: spec.Value, path: str) -> str:
        text = super().parse(value, path)
        try:
            compile_match(text, None)
        except InvalidArgument as error:
            raise value.error(path, str(error)) from None
        return text


@dataclass(frozen=True, kw_only=True)
class RuleSpec:
    """One packet rule."""

    name: str = spec.text(
        default="",
        pattern=spec.NAME_PATTERN,
        what=spec.NAME_WORDS,
        doc="Unique on its link; rule-1, rule-2 ... when not given.",
    )
    direction: str = spec.text(default="", doc="Such as h1->r1; both directions when not given, counted together.")
    match: str = spec.of(_MatchKind(), default="", doc="Wireshark display-filter words; every frame when not given.")
    nth: Nth = spec.of(_NthKind(), default=Nth(), doc="Which of the matches: 1, 2-4, 3-, every 3 or all.")
    stream_bytes: tuple[int, int] | None = spec.of(
        spec.Optional(_BytesKind()),
        default=None,
        doc="TCP segments that carry bytes of this range (0 is the first after the SYN) for the first time.",
    )
    action: Action = spec.one_of("action", ACTIONS, flat=True)


class Rule:
    """A rule at work on a link. `matches` and `acted` count so far."""

    def __init__(self, spec_: RuleSpec, name: str, name_id: int, resolve: Resolver | None, bits: RandomStream) -> None:
        self.spec = spec_
        self.name = name
        self.name_id = name_id
        self.bits = bits
        self.matches = 0
        self.acted = 0
        self.action = spec_.action
        self._match: Callable[[FrameView], bool] = compile_match(spec_.match, resolve)
        self._nth = spec_.nth
        self._range = spec_.stream_bytes
        self._flows: dict[bytes, list[int]] = {}  # flow -> [sequence number of stream byte 0, bytes seen so far]

    def picks(self, frame: FrameView) -> bool:
        """Count the frame if it matches; whether this rule acts on it."""
        if self._range is not None and not self._carries_new(frame, self._range):
            return False
        if not self._match(frame):
            return False
        self.matches += 1
        if not self._nth.picks(self.matches):
            return False
        self.acted += 1
        return True

    def _carries_new(self, frame: FrameView, wanted: tuple[int, int]) -> bool:
        """Whether a segment has bytes of the range that this direction has not carried before.

        The stream starts after the SYN; where none was seen, at the first segment seen.
        """
        if frame.tcp < 0:
            return False
        seq = frame.u32(frame.tcp + 4)
        syn = frame.data[frame.tcp + 13] & 2
        flow = self._flows.get(frame.flow)
        if flow is None or syn:
            if len(self._flows) >= MAX_FLOWS:
                self._flows.pop(next(iter(self._flows)))
            flow = self._flows[frame.flow] = [(seq + 1) & 0xFFFFFFFF if syn else seq, 0]
        start, seen = flow
        first = seen + (((seq - start - seen + 0x80000000) & 0xFFFFFFFF) - 0x80000000)
        last = first + frame.payload_end - frame.payload
        if last <= seen:
            return False
        flow[1] = last
        return max(first, seen) <= wanted[1] and last > wanted[0]

"""How the trace names links, interfaces and times, in one place: what joins a segment with its frame."""

from __future__ import annotations

from bisect import bisect_left
from pathlib import Path
from typing import Final

from lab.trace.event import Event
from lab.trace.spool_reader import SpoolReader
from nodes.base.errors import InvalidArgument
from nodes.base.events import (
    ATTACK,
    ATTACK_INJECTED,
    VERDICT,
    VERDICT_DROPPED_DOWN,
    VERDICT_DROPPED_LOSS,
    VERDICT_DROPPED_QUEUE,
    VERDICT_DROPPED_RULE,
    VERDICT_INJECTED,
    VERDICT_RESET,
)

#: Verdicts after which a frame does not arrive.
DROPS: Final = (VERDICT_DROPPED_LOSS, VERDICT_DROPPED_QUEUE, VERDICT_DROPPED_RULE, VERDICT_DROPPED_DOWN)

_VERDICT_WORDS: Final = {
    "PASSED": "passed",
    "DROPPED_LOSS": "dropped by random loss",
    "DROPPED_QUEUE": "dropped by the full queue",
    "DROPPED_RULE": "dropped",
    "DROPPED_DOWN": "dropped: link is down",
    "CORRUPTED": "corrupted",
    "DUPLICATED": "duplicated",
    "DELAYED": "delayed",
    "REORDERED": "reordered",
    "HELD": "held",
    "RESET": "reset",
    "INJECTED": "injected",
    "MARKED": "marked CE",
}


def direction_ends(link: str) -> tuple[str, str]:
    """(sending, receiving) interface of a link direction named `<link>/<node:interface>-><node:interface>`."""
    source, arrow, target = link.rpartition("/")[2].partition("->")
    if not arrow or not source or not target:
        raise InvalidArgument(f"link direction {link!r}: expected `<link>/<node:interface>-><node:interface>`", "link")
    return source, target


def interface_name(segment: Event) -> str:
    """`h1:eth0` of a SEGMENT event, whether its interface field has the node's name or not."""
    interface = str(segment["interface"])
    return interface if ":" in interface else f"{segment.node}:{interface}"


def verdict_words(verdict: Event) -> str:
    """A VERDICT event for people: `dropped by rule lose-syn-ack`, `passed, delay 10 ms`."""
    words = _VERDICT_WORDS.get(verdict["verdict"], str(verdict["verdict"]).lower())
    if verdict["rule"]:
        words += f" by rule {verdict['rule']}"
    delay_ns = verdict["delay_ns"]
    if delay_ns:
        words += f", delay {delay_ns / 1e6:.6f}".rstrip("0").rstrip(".") + " ms"
    return words


class Injections:
    """Which frames of each link direction no node sent: rules and attacks put them in.

    A direction numbers every frame; an interface numbers only what its node sent. This tells them apart.
    """

    def __init__(self, spool: Path | str) -> None:
        self._ordinals: dict[str, list[int]] = {}
        self._times: dict[tuple[str, int], int] = {}
        self._names: dict[int, str] = {}
        for event in SpoolReader(spool, kinds=(VERDICT, ATTACK)):
            if event.kind == ATTACK:
                if event.values[1] == ATTACK_INJECTED:
                    self._names[event.time_ns] = f"attack {event['attack']}"
            elif event.values[2] == VERDICT_INJECTED:
                link, ordinal = str(event["link"]), event.values[1]
                self._ordinals.setdefault(link, []).append(ordinal)
                self._times[link, ordinal] = event.time_ns
            elif event.values[2] == VERDICT_RESET:
                self._names[event.time_ns] = f"rule {event['rule']}"

    def sent_ordinal(self, link: str, ordinal: int) -> int:
        """The ordinal, at the sending interface, of a direction's frame; 0 when it was injected."""
        ordinals = self._ordinals.get(link)
        if ordinals is None:
            return ordinal
        before = bisect_left(ordinals, ordinal)
        return 0 if before < len(ordinals) and ordinals[before] == ordinal else ordinal - before

    def by(self, link: str, ordinal: int) -> str:
        """Who injected a frame: `attack rst`, `rule reset-it`; "unknown" when the trace does not say, "" if nobody."""
        time_ns = self._times.get((link, ordinal))
        return "" if time_ns is None else self._names.get(time_ns, "unknown")

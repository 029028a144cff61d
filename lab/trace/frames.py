"""How the trace names links, interfaces and times, in one place: what joins a segment with its frame."""

from __future__ import annotations

from typing import Final

from lab.trace.event import Event
from nodes.base.errors import InvalidArgument
from nodes.base.events import (
    VERDICT_DROPPED_DOWN,
    VERDICT_DROPPED_LOSS,
    VERDICT_DROPPED_QUEUE,
    VERDICT_DROPPED_RULE,
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

"""Where each sent segment ended up: which arrival, on which node, or which link dropped it.

With capture on, frames are followed from link to link by their bytes, so a drop behind three routers is still known.
Without, a segment sent and one received are joined by their header, and only drops on the first link are known.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Final

from lab.trace.event import Event
from lab.trace.frames import DROPS, direction_ends, interface_name, verdict_words
from lab.trace.spool_reader import SpoolReader
from nodes.base.events import DELIVERY, FRAME, RECEIVED, SEGMENT, VERDICT, VERDICT_INJECTED

#: IPv4 identification, then addresses and the first 20 bytes above: for TCP that includes its checksum.
_IDENTIFICATION: Final = slice(18, 20)
_ADDRESSES_AND_TCP: Final = slice(26, 54)


class Journey:
    """One packet's way. `dropped` is "" or what became of it; `injected` names who put it on the wire, "" for its
    node; `changes` are verdicts worth telling (corrupted, held ...)."""

    __slots__ = ("changes", "dropped", "dropped_ns", "injected")

    def __init__(self) -> None:
        self.dropped = ""
        self.dropped_ns = 0
        self.injected = ""
        self.changes: list[str] = []


class Journeys:
    """Reads a spool once; `of(segment)` gives the journey of a SEGMENT event, sent or received, or None."""

    def __init__(self, spool: Path | str) -> None:
        self._by_frame: dict[tuple[str, int, int], Journey] = {}
        self._by_link: dict[tuple[str, int], Journey] = {}
        self._waiting: dict[tuple[str, bytes], deque[Journey]] = {}
        self._in_flight: dict[tuple[object, ...], deque[Journey]] = {}
        self._arrived: dict[str, int] = {}
        for event in SpoolReader(spool, kinds=(FRAME, VERDICT, DELIVERY, SEGMENT)):
            if event.kind == FRAME:
                self._frame(event)
            elif event.kind == VERDICT:
                self._verdict(event)
            elif event.kind == DELIVERY:
                self._delivery(event)
            else:
                self._segment(event)
        self._waiting.clear()
        self._in_flight.clear()
        self._by_link.clear()

    def of(self, segment: Event) -> Journey | None:
        return self._by_frame.get((interface_name(segment), segment.values[0], segment.values[2]))

    def _on_link(self, link: str, ordinal: int) -> Journey:
        """The journey of a frame on a link; made by whichever of its events comes first."""
        journey = self._by_link.get((link, ordinal))
        if journey is None:
            interface = direction_ends(link)[0]
            journey = self._by_frame.get((interface, 1, ordinal)) or Journey()
            self._by_link[link, ordinal] = journey
            self._by_frame.setdefault((interface, 1, ordinal), journey)
        return journey

    def _frame(self, event: Event) -> None:
        link, ordinal = str(event["link"]), int(event["frame"])
        interface = direction_ends(link)[0]
        waiting = self._waiting.get((_node(interface), _fingerprint(event.tail)))
        if waiting:
            self._by_link[link, ordinal] = waiting.popleft()  # a router or switch sends on what it was given
        else:
            self._on_link(link, ordinal)

    def _verdict(self, event: Event) -> None:
        journey = self._on_link(str(event["link"]), int(event["frame"]))
        verdict = event.values[2]
        if verdict in DROPS:
            journey.dropped = verdict_words(event)
            journey.dropped_ns = event.time_ns
        elif verdict == VERDICT_INJECTED:
            journey.injected = str(event["rule"]) or "link"
        elif event["verdict"] not in ("PASSED", "DELAYED"):
            journey.changes.append(verdict_words(event))

    def _delivery(self, event: Event) -> None:
        link, ordinal = str(event["link"]), int(event["frame"])
        interface = direction_ends(link)[1]
        arrived = self._arrived[interface] = self._arrived.get(interface, 0) + 1
        journey = self._on_link(link, ordinal)
        self._by_frame[interface, RECEIVED, arrived] = journey
        if event.tail:
            self._waiting.setdefault((_node(interface), _fingerprint(event.tail)), deque()).append(journey)

    def _segment(self, event: Event) -> None:
        direction, ordinal = event.values[0], event.values[2]
        interface = interface_name(event)
        key = event.values[3:12] + event.values[14:16]
        if direction == RECEIVED:
            if (interface, RECEIVED, ordinal) not in self._by_frame:
                in_flight = self._in_flight.get(key)
                while in_flight:
                    journey = in_flight.popleft()
                    if not journey.dropped:
                        self._by_frame[interface, RECEIVED, ordinal] = journey
                        break
        else:
            journey = self._by_frame.setdefault((interface, direction, ordinal), Journey())
            self._in_flight.setdefault(key, deque()).append(journey)


def _node(interface: str) -> str:
    return interface.partition(":")[0]


def _fingerprint(frame: bytes) -> bytes:
    return frame[_IDENTIFICATION] + frame[_ADDRESSES_AND_TCP]

"""Where each sent segment ended up: which arrival, on which node, or which link dropped it.

With capture on, frames are followed from link to link by their bytes, so a drop behind three routers is still known.
Without, a segment sent and one received are joined by their header, and only drops on the first link are known.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Final

from lab.trace.event import Event
from lab.trace.frames import DROPS, Injections, direction_ends, interface_name, verdict_words
from lab.trace.spool_reader import SpoolReader
from nodes.base.events import (
    DELIVERY,
    FRAME,
    RECEIVED,
    SEGMENT,
    SENT,
    VERDICT,
    VERDICT_INJECTED,
    VERDICT_PASSED,
    VERDICT_RESET,
)
from nodes.packet.ethernet import TYPE_IPV6

#: IPv4 identification, then addresses and the first 20 bytes above: for TCP that includes its checksum.
_IDENTIFICATION: Final = slice(18, 20)
_ADDRESSES_AND_TCP: Final = slice(26, 54)
#: Of an IPv6 packet: addresses, and the first 20 bytes above.
_IPV6: Final = slice(22, 74)


class Journey:
    """One packet's way. `origin` is the node that sent it; or else `injected` says who put it on a link. `dropped` is
    "" or what became of it; `changes` are verdicts worth telling (corrupted, held ...). `sender` is the end that sent
    the segment, as (node, connection), None when no TCP did. `on_link`: it has entered a link and not come out."""

    __slots__ = ("changes", "dropped", "injected", "on_link", "origin", "sender")

    def __init__(self, origin: str = "") -> None:
        self.origin = origin
        self.sender: tuple[str, int] | None = None
        self.dropped = ""
        self.injected = ""
        self.changes: list[str] = []
        self.on_link = False


class Journeys:
    """Reads a spool; `of(segment)` gives the journey of a SEGMENT event, sent or received, or None."""

    def __init__(self, spool: Path | str) -> None:
        self._injections = Injections(spool)
        self._by_frame: dict[tuple[str, int, int], Journey] = {}
        self._by_link: dict[tuple[str, int], Journey] = {}
        self._fingerprints: dict[tuple[str, int], bytes] = {}
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
        self._by_link.clear()
        self._fingerprints.clear()
        self._waiting.clear()
        self._in_flight.clear()

    def of(self, segment: Event) -> Journey | None:
        return self._by_frame.get((interface_name(segment), segment.values[0], segment.values[2]))

    def _on_link(self, link: str, ordinal: int) -> Journey:
        """The journey of a frame on a link; made by whichever of its events comes first."""
        journey = self._by_link.get((link, ordinal))
        if journey is None:
            sent = self._injections.sent_ordinal(link, ordinal)
            if sent:
                interface = direction_ends(link)[0]
                journey = self._by_frame.setdefault((interface, SENT, sent), Journey(_node(interface)))
            else:
                journey = Journey()
                journey.injected = self._injections.by(link, ordinal)
            self._by_link[link, ordinal] = journey
        return journey

    def _frame(self, event: Event) -> None:
        link, ordinal = str(event["link"]), int(event["frame"])
        fingerprint = self._fingerprints[link, ordinal] = _fingerprint(event.tail)
        waiting = self._waiting.get((_node(direction_ends(link)[0]), fingerprint))
        if waiting and self._injections.sent_ordinal(link, ordinal):
            self._by_link[link, ordinal] = waiting.popleft()  # a router or switch sends on what it was given
        self._on_link(link, ordinal).on_link = True

    def _verdict(self, event: Event) -> None:
        link = str(event["link"])
        journey = self._on_link(link, int(event["frame"]))
        verdict = event.values[2]
        if verdict in DROPS:
            journey.dropped = verdict_words(event)
            if journey.origin and journey.origin != _node(direction_ends(link)[0]):
                journey.dropped += f" on {link.rpartition('/')[0]}"
        elif verdict == VERDICT_RESET:
            journey.dropped = f"replaced by resets, rule {event['rule']}"
        elif verdict not in (VERDICT_PASSED, VERDICT_INJECTED):
            journey.changes.append(verdict_words(event))

    def _delivery(self, event: Event) -> None:
        link, ordinal = str(event["link"]), int(event["frame"])
        interface = direction_ends(link)[1]
        arrived = self._arrived[interface] = self._arrived.get(interface, 0) + 1
        journey = self._on_link(link, ordinal)
        journey.on_link = False
        self._by_frame[interface, RECEIVED, arrived] = journey
        fingerprint = _fingerprint(event.tail) if event.tail else self._fingerprints.get((link, ordinal), b"")
        self._waiting.setdefault((_node(interface), fingerprint), deque()).append(journey)

    def _segment(self, event: Event) -> None:
        direction, ordinal = event.values[0], event.values[2]
        interface = interface_name(event)
        key = event.values[3:12] + event.values[14:16]
        if direction == SENT:
            journey = self._by_frame.setdefault((interface, SENT, ordinal), Journey(event.node))
            journey.sender = (event.node, event.connection)
            if not self._arrived:  # perhaps nothing is captured: then headers must do
                self._in_flight.setdefault(key, deque()).append(journey)
        elif (interface, RECEIVED, ordinal) not in self._by_frame:
            in_flight = self._in_flight.get(key)
            while in_flight:
                journey = in_flight.popleft()
                if not journey.dropped:
                    self._by_frame[interface, RECEIVED, ordinal] = journey
                    break


def _node(interface: str) -> str:
    return interface.partition(":")[0]


def _fingerprint(frame: bytes) -> bytes:
    if frame[12:14] == TYPE_IPV6:
        return frame[_IPV6]
    return frame[_IDENTIFICATION] + frame[_ADDRESSES_AND_TCP]

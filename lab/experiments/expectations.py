"""Compares what an experiment expected with what its trace shows, and says the difference in plain words."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from lab import units
from lab.backends.until import EventFilter
from lab.experiments.bounds import COUNT, DURATION, SIZE, Bounds
from lab.experiments.expect import (
    EXPECTATIONS,
    Counter,
    Delivered,
    EventFields,
    Events,
    Expectation,
    Failure,
    Interval,
    Lifetime,
    Resets,
    Retransmissions,
    States,
    TimeIn,
)
from lab.trace.analysis import Analysis, Conversation, End, Reset, analyse
from lab.trace.event import Event
from lab.trace.spool_reader import SpoolReader
from nodes.agent.payload import Payload
from nodes.base.errors import InvalidArgument, NotFound
from nodes.base.events import COUNTER

#: Sequence numbers of events that one result names at most.
SHOWN: Final = 8


@dataclass(frozen=True)
class Result:
    """One expectation checked. `events` are the sequence numbers in the spool of what was found."""

    expected: str
    why: str
    ok: bool
    found: str
    events: tuple[int, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return {
            "ok": self.ok,
            "expected": self.expected,
            "found": self.found,
            "why": self.why,
            "events": list(self.events),
        }


@dataclass
class Stream:
    """What one end's user sent and received: pieces in order, each with its digest.

    `sent_digest` is of all that was sent, where an app tells only that.
    """

    sent: list[Payload] = field(default_factory=list)
    received: list[tuple[int, str]] = field(default_factory=list)  # length, sha256
    sent_digest: tuple[int, str] | None = None


@dataclass
class Evidence:
    """Everything expectations are checked against. `labels` are the ends that labels and apps mean, as (node, number);
    `failures` the errno names ("none": no error) of what has ended, by label or app name; what has not is absent."""

    spool: Path
    labels: Mapping[str, Sequence[tuple[str, int]]]
    streams: Mapping[tuple[str, int], Stream]
    delivered: Mapping[tuple[str, int], int]
    failures: Mapping[str, str]


class _Checker:
    def __init__(self, evidence: Evidence, tolerance_ns: int) -> None:
        self.evidence = evidence
        self.tolerance_ns = tolerance_ns
        self.analysis: Analysis = analyse(evidence.spool)
        self.checks: dict[type, Callable[[Any], tuple[str, bool, str, Sequence[int]]]] = {
            States: self.states,
            Resets: self.resets,
            Retransmissions: self.retransmissions,
            Delivered: self.delivered,
            Lifetime: self.lifetime,
            TimeIn: self.time_in,
            Counter: self.counter,
            Failure: self.failure,
            Events: self.events,
            Interval: self.interval,
        }

    def holds(self, wanted: Bounds, length_ns: int) -> bool:
        return wanted.low - self.tolerance_ns <= length_ns <= wanted.high + self.tolerance_ns

    def duration(self, wanted: Bounds) -> str:
        words = DURATION.words(wanted)
        return f"{words}, give or take {units.format_duration(self.tolerance_ns)}" if self.tolerance_ns else words

    def key(self, of: str) -> tuple[str, int]:
        """Which end `of` means. Raises NotFound."""
        keys = self.evidence.labels.get(of)
        if keys is None:
            keys = [key for key, end in self.analysis.ends.items() if of in (key[0], end.id)]
        if len(keys) == 1:
            return keys[0]
        if not keys:
            known = [*self.evidence.labels, *(end.id for end in self.analysis.ends.values())]
            raise NotFound(f"of: {of} had no connection; there were {', '.join(known) or 'none at all'}")
        raise InvalidArgument(f"of: {of} had {len(keys)} connections; say which: {keys[0][0]}#{keys[0][1]} ...", "of")

    def end(self, of: str) -> End:
        key = self.key(of)
        end = self.analysis.ends.get(key)
        if end is None:
            raise NotFound(f"of: {of}: the trace has no connection {key[0]}#{key[1]}; is its level off?")
        return end

    def states(self, want: States) -> tuple[str, bool, str, Sequence[int]]:
        end = self.end(want.of)
        path = end.path
        found = f"{_arrows(path)}" if path else "no state change"
        seqs = [change.event for change in end.states]
        if want.exactly:
            words, ok = f"goes exactly {_arrows(want.exactly)}", path == list(want.exactly)
        elif want.through:
            words = f"goes through {_arrows(want.through)}"
            rest = iter(path)
            ok = all(state in rest for state in want.through)
        else:
            words, ok = "", True
        if want.never:
            words += f"{' and ' if words else ''}never is in {', '.join(want.never)}"
            ok = ok and not any(state in path for state in want.never)
        return f"{want.of} {words}", ok, f"{end.id}: {found}", seqs

    def resets(self, want: Resets) -> tuple[str, bool, str, Sequence[int]]:
        resets: Sequence[Reset] = self.analysis.resets
        place = ""
        if want.of:
            resets, place = self.end(want.of).resets, f" by {want.of}"
        elif want.node:
            resets, place = [reset for reset in resets if reset.node == want.node], f" by {want.node}"
        because = f" because of {want.cause}" if want.cause else ""
        if want.cause:
            resets = [reset for reset in resets if reset.cause.name == want.cause]
        groups = (
            ("sent", want.sent, [reset for reset in resets if reset.sent]),
            ("accepted", want.accepted, [reset for reset in resets if not reset.sent and reset.accepted]),
            ("ignored", want.ignored, [reset for reset in resets if not reset.sent and not reset.accepted]),
        )
        asked = [(word, bounds, some) for word, bounds, some in groups if bounds is not None]
        words = ", ".join(f"{COUNT.words(bounds)} {word}" for word, bounds, _ in asked)
        found = ", ".join(f"{len(some)} {word}" + _whys([one.cause.name for one in some]) for word, _, some in asked)
        ok = all(bounds.holds(len(some)) for _, bounds, some in asked)
        return f"RSTs{place}{because}: {words}", ok, found, [one.event for _, _, some in asked for one in some]

    def retransmissions(self, want: Retransmissions) -> tuple[str, bool, str, Sequence[int]]:
        every = self.end(want.of).retransmissions
        some = [one for one in every if not want.reason or one.cause.name == want.reason]
        because = f" because of {want.reason}" if want.reason else ""
        words = f"{want.of} sends {COUNT.words(want.count)} segments again{because}"
        found = f"{len(some)} of {len(every)} retransmissions" if want.reason else f"{len(every)} retransmissions"
        return (
            words,
            want.count.holds(len(some)),
            found + _whys([one.cause.name for one in every]),
            [one.event for one in some],
        )

    def delivered(self, want: Delivered) -> tuple[str, bool, str, Sequence[int]]:
        key = self.key(want.of)
        got = self.evidence.delivered.get(key, 0)
        words, found, ok = [], f"{got} bytes", True
        if want.bytes_ is not None:
            words.append(f"receives {SIZE.words(want.bytes_)}")
            ok = want.bytes_.holds(got)
        if want.intact:
            words.append("receives what the other end sent, unaltered")
            problem = self.altered(key)
            ok = ok and not problem
            found += f"; {problem}" if problem else ", unaltered"
        return f"{want.of} {' and '.join(words)}", ok, found, ()

    def altered(self, key: tuple[str, int]) -> str:
        """What is wrong with the bytes that an end's user received; "" when they are what the peer's user sent."""
        end = self.analysis.ends.get(key)
        peer = None if end is None else self.peer(end)
        streams = self.evidence.streams
        sent = streams.get((peer.node, peer.number)) if peer is not None else None
        received = streams.get(key)
        if sent is None or received is None:
            return "nothing is known of what " + ("it received" if received is None else "the other end sent")
        length = sum(size for size, _ in received.received)
        if not length:
            return "nothing came"
        if sent.sent_digest is not None:
            total, digest = sent.sent_digest
            if length != total:
                return f"the other end sent {total} bytes, it received {length}"
            if len(received.received) != 1:
                return f"it received in {len(received.received)} pieces, which cannot be compared with one digest"
            return "" if received.received[0][1] == digest else "the bytes differ from those sent"
        total = sum(payload.length for payload in sent.sent)
        if length != total:
            return f"the other end sent {total} bytes, it received {length}"
        source = _chunks(sent.sent)
        held = b""
        for size, wanted in received.received:
            digested = hashlib.sha256()
            left = size
            while left:
                held = held or next(source)
                piece, held = held[:left], held[left:]
                digested.update(piece)
                left -= len(piece)
            if digested.hexdigest() != wanted:
                return "the bytes differ from those sent"
        return ""

    def peer(self, end: End) -> End | None:
        for conversation in self.analysis.conversations:
            if end in conversation.ends:
                return _other(conversation, end)
        return None

    def lifetime(self, want: Lifetime) -> tuple[str, bool, str, Sequence[int]]:
        end = self.end(want.of)
        words = f"{want.of} exists {self.duration(want.length)}"
        if end.closed_ns is None:
            return words, False, f"{end.id} is still {end.state}", ()
        length = end.closed_ns - end.opened_ns
        return words, self.holds(want.length, length), units.format_duration(length), [end.states[-1].event]

    def time_in(self, want: TimeIn) -> tuple[str, bool, str, Sequence[int]]:
        end = self.end(want.of)
        words = f"{want.of} is in {want.state} {self.duration(want.length)}"
        for index, change in enumerate(end.states):
            if change.new != want.state:
                continue
            if index + 1 == len(end.states):
                return words, False, f"it is in {want.state} to the end", [change.event]
            left = end.states[index + 1]
            length = left.time_ns - change.time_ns
            return words, self.holds(want.length, length), units.format_duration(length), [change.event, left.event]
        return words, False, f"it never was in {want.state}: {_arrows(end.path)}", ()

    def counter(self, want: Counter) -> tuple[str, bool, str, Sequence[int]]:
        words = f"{want.name} of {want.node} is {COUNT.words(want.value)}"
        for event in SpoolReader(self.evidence.spool, kinds=(COUNTER,), node=want.node):
            if event["counter"] == want.name:
                value = int(event["value"])
                return words, want.value.holds(value), str(value), [event.seq]
        return words, False, f"{want.node} has no counter {want.name}", ()

    def failure(self, want: Failure) -> tuple[str, bool, str, Sequence[int]]:
        words = f"{want.of} ends {'without error' if want.error == 'none' else 'with ' + want.error}"
        found = self.evidence.failures.get(want.of)
        if found is None and want.of not in self.evidence.labels:
            raise NotFound(f"of: {want.of}: no app and no label of that name")
        said = "it has not ended" if found is None else "no error" if found == "none" else found
        return words, found == want.error, said, ()

    def matching(self, want: EventFields, after: int = 0) -> list[Event]:
        node, connection = self.key(want.of) if want.of else (want.node, 0)
        wanted = EventFilter(want.kind, node, connection, want.cause, want.where)
        return [
            event
            for event in SpoolReader(self.evidence.spool, after=after, kinds=wanted.numbers)
            if wanted.matches(event)
        ]

    def events(self, want: Events) -> tuple[str, bool, str, Sequence[int]]:
        found = self.matching(want)
        words = f"{COUNT.words(want.count)} events {_event_words(want)}"
        return words, want.count.holds(len(found)), str(len(found)), [event.seq for event in found]

    def interval(self, want: Interval) -> tuple[str, bool, str, Sequence[int]]:
        words = f"from {_event_words(want.from_)} to {_event_words(want.to)}: {self.duration(want.length)}"
        first = self.matching(want.from_)[want.from_.nth - 1 : want.from_.nth]
        if not first:
            return words, False, f"there is no {_event_words(want.from_)}", ()
        second = self.matching(want.to, first[0].seq)[want.to.nth - 1 : want.to.nth]
        if not second:
            return words, False, f"after it there is no {_event_words(want.to)}", [first[0].seq]
        length = second[0].time_ns - first[0].time_ns
        return words, self.holds(want.length, length), units.format_duration(length), [first[0].seq, second[0].seq]


def check(expectations: Sequence[Expectation], evidence: Evidence, tolerance_ns: int = 0) -> list[Result]:
    """Check all of them against a finished run, lengths of time give or take the tolerance. One whose subject does not
    exist fails and says so."""
    checker = _Checker(evidence, tolerance_ns)
    results = []
    for expectation in expectations:
        want = expectation.what
        try:
            expected, ok, found, seqs = checker.checks[type(want)](want)
        except (NotFound, InvalidArgument) as error:
            expected, ok, found, seqs = _title(want), False, str(error), ()
        results.append(Result(expected, expectation.why, ok, found, tuple(seqs)))
    return results


def _title(want: Any) -> str:
    subject = getattr(want, "of", "") or getattr(want, "node", "")
    key = next(key for key, kind in EXPECTATIONS.items() if type(want) is kind)
    return f"{key}{' of ' + subject if subject else ''}"


def _event_words(want: EventFields) -> str:
    where = [f"{name}={value}" for name, value in want.where.items()]
    where += [f"cause={want.cause}"] if want.cause else []
    place = f" of {want.of}" if want.of else f" on {want.node}" if want.node else ""
    which = f" (number {want.nth})" if want.nth > 1 else ""
    return f"{want.kind}{place}{' with ' + ' '.join(where) if where else ''}{which}"


def _arrows(states: Sequence[str]) -> str:
    return " > ".join(states)


def _whys(names: Sequence[str]) -> str:
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return f" ({', '.join(f'{count} {name}' for name, count in counts.items())})" if counts else ""


def _other(conversation: Conversation, end: End) -> End | None:
    return conversation.second if end is conversation.first else conversation.first


def _chunks(payloads: Sequence[Payload]) -> Iterator[bytes]:
    for payload in payloads:
        offset = 0
        while part := payload.part(offset, 1 << 16):
            yield part
            offset += len(part)

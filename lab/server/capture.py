"""The pcapng file of one interface: so far, as a run's bundle has it, or piece by piece while the lab goes on."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab.trace.event import Event
from lab.trace.frames import DROPS, direction_ends, interface_name, verdict_words
from lab.trace.pcapng import INBOUND, OUTBOUND, PcapngWriter, write_captures
from lab.trace.spool_reader import SpoolReader
from nodes.base.causes import NONE
from nodes.base.events import DELIVERY, FRAME, RECEIVED, SEGMENT, SENT, VERDICT, VERDICT_DUPLICATED, VERDICT_INJECTED
from nodes.base.processes import owned_name

_KINDS: Final = (FRAME, VERDICT, DELIVERY, SEGMENT)
_CHUNK: Final = 1 << 18


def capture_so_far(spool: Path, interface: str) -> bytes:
    """The whole file. It takes a while: to be called in a thread."""
    with tempfile.TemporaryDirectory(prefix=f"{owned_name()}-") as directory:
        write_captures(spool, directory)
        path = Path(directory) / f"{interface.replace(':', '-', 1)}.pcapng"
        if path.exists():
            return path.read_bytes()
    return empty_capture(interface)


def empty_capture(interface: str) -> bytes:
    """A file without a packet."""
    file = io.BytesIO()
    PcapngWriter(file, interface)
    return file.getvalue()


@dataclass
class _Packet:
    """A frame of the current instant, and what has been said of it."""

    link: str
    ordinal: int
    direction: int
    data: bytes
    time_ns: int
    #: Its number among those the interface sent or received; 0: a rule or an attack put it there.
    number: int
    said: list[str]


class CaptureStream:
    """`read` takes what the spool has, `take` gives the bytes of the file since. A packet's comment holds what was
    said of it at its instant; verdicts that come later (from a queue) are in the complete file only."""

    def __init__(self, spool: Path, interface: str) -> None:
        self._reader = SpoolReader(spool, kinds=_KINDS)
        self._interface = interface
        self._file = io.BytesIO()
        self._writer = PcapngWriter(self._file, interface)
        self._pending: list[_Packet] = []
        self._frames: dict[tuple[str, int], bytes] = {}  # under way to this interface
        self._repeated: set[tuple[str, int]] = set()
        self._sent = 0
        self._received = 0
        self._segments: dict[tuple[int, int], list[str]] = {}

    def read(self, max_records: int) -> bool:
        """Take up to so many records; whether that was all there are."""
        before = self._reader.seq
        for event in self._reader.read(max_records):
            if self._pending and event.time_ns > self._pending[0].time_ns:
                self._write()
            self._on_event(event)
        at_end = self._reader.seq - before < max_records
        if at_end:
            self._write()  # the calls that made these events have returned: nothing more is said of them now
        return at_end

    def take(self) -> bytes:
        """What was added to the file since."""
        data = self._file.getvalue()
        self._file.seek(0)
        self._file.truncate()
        return data

    def _on_event(self, event: Event) -> None:
        if event.kind == SEGMENT:
            if interface_name(event) == self._interface:
                self._segments[event.values[0], int(event["frame"])] = list(_words(event))
            return
        link, ordinal = str(event["link"]), int(event["frame"])
        source, target = direction_ends(link)
        if self._interface not in (source, target):
            return
        if event.kind == VERDICT:
            self._on_verdict(event, link, ordinal)
        elif event.kind == FRAME:
            if target == self._interface:
                self._frames[link, ordinal] = event.tail
            if source == self._interface:
                self._sent += 1
                self._pending.append(_Packet(link, ordinal, OUTBOUND, event.tail, event.time_ns, self._sent, []))
        elif target == self._interface:
            self._received += 1
            key = link, ordinal
            original = self._frames.get(key, b"") if key in self._repeated else self._frames.pop(key, b"")
            data = event.tail or original
            self._pending.append(_Packet(link, ordinal, INBOUND, data, event.time_ns, self._received, []))

    def _on_verdict(self, event: Event, link: str, ordinal: int) -> None:
        if event.values[2] in DROPS:
            self._frames.pop((link, ordinal), None)
        elif event.values[2] == VERDICT_DUPLICATED:
            self._repeated.add((link, ordinal))
        for packet in list(self._pending):
            if packet.link == link and packet.ordinal == ordinal:
                packet.said.append(verdict_words(event))
                if event.values[2] == VERDICT_INJECTED and packet.direction == OUTBOUND:
                    self._pending.remove(packet)  # the interface did not send it
                    self._sent -= 1
                    for later in self._pending:
                        later.number -= later.direction == OUTBOUND

    def _write(self) -> None:
        for packet in self._pending:
            direction = SENT if packet.direction == OUTBOUND else RECEIVED
            said = packet.said + self._segments.pop((direction, packet.number), [])
            comment = f"{packet.link}: {'; '.join(said)}" if said else ""
            self._writer.packet(packet.time_ns, packet.data, packet.direction, comment)
        self._pending.clear()
        self._segments.clear()


def _words(segment: Event) -> Iterator[str]:
    if segment.connection:
        yield f"{segment.node}#{segment.connection}"
    if segment.cause != NONE:
        yield segment.why.words
    if segment["resent"]:
        yield "resent"


def pieces(data: bytes) -> Iterator[bytes]:
    """A file in parts that fit messages."""
    for start in range(0, len(data), _CHUNK):
        yield data[start : start + _CHUNK]

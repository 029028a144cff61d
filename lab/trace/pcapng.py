"""Captures for Wireshark, one per interface of a node, made from the spool alone.

The format is pcapng (draft-ietf-opsawg-pcapng): a section header, one interface, one enhanced packet block for each
frame with its direction, nanosecond time and a comment: what the link decided, and what the trace knows of the segment.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from lab.trace.event import Event
from lab.trace.frames import DROPS, Injections, direction_ends, interface_name, verdict_words
from lab.trace.spool_reader import SpoolReader
from nodes.base.causes import NONE
from nodes.base.events import DELIVERY, FRAME, RECEIVED, SEGMENT, SENT, VERDICT, VERDICT_DUPLICATED

INBOUND: Final = 1
OUTBOUND: Final = 2

_SECTION: Final = 0x0A0D0D0A
_INTERFACE: Final = 1
_PACKET: Final = 6
_ETHERNET: Final = 1
_OPT_COMMENT: Final = 1
_SHB_USERAPPL: Final = 4
_IF_NAME: Final = 2
_IF_TSRESOL: Final = 9
_EPB_FLAGS: Final = 2


class PcapngWriter:
    """Writes one section with one Ethernet interface. `interface` is the name Wireshark shows (`h1:eth0`)."""

    def __init__(self, file: BinaryIO, interface: str) -> None:
        self._file = file
        section = struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1) + _option(_SHB_USERAPPL, b"tcplab") + _option(0, b"")
        self._block(_SECTION, section)
        options = _option(_IF_NAME, interface.encode()) + _option(_IF_TSRESOL, b"\x09") + _option(0, b"")
        self._block(_INTERFACE, struct.pack("<HHI", _ETHERNET, 0, 0) + options)

    def packet(self, time_ns: int, frame: bytes, direction: int, comment: str) -> None:
        """Append one frame; `direction` is INBOUND or OUTBOUND, `time_ns` the lab time."""
        options = _option(_OPT_COMMENT, comment.encode()) if comment else b""
        options += _option(_EPB_FLAGS, struct.pack("<I", direction)) + _option(0, b"")
        head = struct.pack("<IIIII", 0, time_ns >> 32, time_ns & 0xFFFFFFFF, len(frame), len(frame))
        self._block(_PACKET, head + _padded(frame) + options)

    def _block(self, kind: int, body: bytes) -> None:
        length = struct.pack("<I", len(body) + 12)
        self._file.write(struct.pack("<I", kind) + length + body + length)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + _padded(value)


def write_captures(spool: Path | str, directory: Path | str) -> list[Path]:
    """Write `<node>-<interface>.pcapng` for every interface that sent or received a frame. Returns the paths, sorted.

    An interface has what it sent (also what the link then dropped) and what was delivered to it; a frame that was
    injected on the link only the receiver has. A lab that ran
    with capture off has no frames, so no files.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    remarks = _Remarks(spool)
    injections = Injections(spool)
    files: dict[str, tuple[BinaryIO, PcapngWriter]] = {}
    paths: list[Path] = []
    frames: dict[tuple[str, int], bytes] = {}
    delivered: dict[str, int] = {}
    try:
        for event in SpoolReader(spool, kinds=(FRAME, DELIVERY)):
            key = link, ordinal = str(event["link"]), int(event["frame"])
            source, target = direction_ends(link)
            said = list(remarks.verdicts.get(key, ()))
            if event.kind == FRAME:
                interface, direction, data = source, OUTBOUND, event.tail
                if key not in remarks.dropped:
                    frames[key] = data
                sent = injections.sent_ordinal(link, ordinal)
                if not sent:
                    continue
                said += remarks.segments.get((interface, SENT, sent), ())
            else:
                interface, direction = target, INBOUND
                original = frames.get(key, b"") if key in remarks.repeated else frames.pop(key, b"")
                data = event.tail or original
                received = delivered[interface] = delivered.get(interface, 0) + 1
                if by := injections.by(link, ordinal):
                    said.append(f"by {by}")
                said += remarks.segments.get((interface, RECEIVED, received), ())
            if interface not in files:
                path = directory / f"{interface.replace(':', '-', 1)}.pcapng"
                file: BinaryIO = path.open("wb")
                files[interface] = (file, PcapngWriter(file, interface))
                paths.append(path)
            comment = "; ".join(said)
            files[interface][1].packet(event.time_ns, data, direction, f"{link}: {comment}" if comment else "")
    finally:
        for file, _ in files.values():
            file.close()
    return sorted(paths)


class _Remarks:
    """What is said of frames: by links, by (direction, frame), and by TCP, by (interface, SENT or RECEIVED, frame)."""

    def __init__(self, spool: Path | str) -> None:
        self.verdicts: dict[tuple[str, int], tuple[str, ...]] = {}
        self.segments: dict[tuple[str, int, int], tuple[str, ...]] = {}
        self.dropped: set[tuple[str, int]] = set()
        self.repeated: set[tuple[str, int]] = set()
        known: dict[tuple[str, ...], tuple[str, ...]] = {}  # most say the same; keep it once
        for event in SpoolReader(spool, kinds=(VERDICT, SEGMENT)):
            if event.kind == VERDICT:
                key = (str(event["link"]), int(event["frame"]))
                words = (*self.verdicts.get(key, ()), verdict_words(event))
                self.verdicts[key] = known.setdefault(words, words)
                if event.values[2] in DROPS:
                    self.dropped.add(key)
                elif event.values[2] == VERDICT_DUPLICATED:
                    self.repeated.add(key)
            else:
                words = tuple(_segment_words(event))
                place = (interface_name(event), event.values[0], int(event["frame"]))
                self.segments[place] = known.setdefault(words, words)


def _segment_words(segment: Event) -> Iterator[str]:
    """What the trace says of a segment, for people."""
    if segment.connection:
        yield f"{segment.node}#{segment.connection}"
    if segment.cause != NONE:
        yield f"{segment.why.words} ({segment.why.section})" if segment.why.section else segment.why.words
    if segment["resent"]:
        yield "resent"

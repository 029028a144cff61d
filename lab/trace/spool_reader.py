"""Reads a spool, finished or still growing: typed events, filters, a place to resume from."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Final

from lab.trace.event import Event
from lab.trace.spool import MAGIC
from nodes.base.errors import InvalidArgument, NotFound
from nodes.base.events import KINDS, NAME
from nodes.base.records import HEADER, fields_struct

_CHUNK: Final = 1 << 20
_LAYOUTS: Final = {kind.number: fields_struct(kind) for kind in KINDS}


class SpoolReader:
    """Iterating gives the events on file that were not given yet; iterating again, those appended since.

    `kinds`, `node` and `connection` choose events; NAME records are given only when asked for. `after` resumes: only
    records with a greater sequence number are given. `seq` and `offset` are the cursor: the last record read (given or
    not) and the byte after it. Raises NotFound when there is no file, InvalidArgument when it is no spool or damaged.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        after: int = 0,
        kinds: Collection[int] | None = None,
        node: str | None = None,
        connection: int | None = None,
    ) -> None:
        self.path = Path(path)
        self.seq = 0
        self.offset = 0
        self.names: list[str] = [""]
        self._after = after
        self._kinds = None if kinds is None else frozenset(kinds)
        self._node = node
        self._connection = connection
        if not self.path.is_file():
            raise NotFound(f"{self.path}: no such spool")
        with self.path.open("rb") as file:
            start = file.read(len(MAGIC))
        if start != MAGIC:
            raise InvalidArgument(f"{self.path}: not a tcplab spool (it starts with {start[:12]!r})")
        self.offset = len(MAGIC)

    def __iter__(self) -> Iterator[Event]:
        yield from self._read(sys.maxsize)

    def read(self, max_records: int) -> list[Event]:
        """The chosen events among the next `max_records` records on file: reading in pieces, with other work between.

        At the end of the file `seq` moves by fewer.
        """
        return list(self._read(max_records))

    def _read(self, max_records: int) -> Iterator[Event]:
        last = self.seq + max_records
        with self.path.open("rb") as file:
            file.seek(self.offset)
            data = b""
            at = 0
            while self.seq < last:
                if len(data) - at < HEADER.size or len(data) - at < int.from_bytes(data[at : at + 4], "little"):
                    more = file.read(_CHUNK)
                    if not more:
                        return
                    data = data[at:] + more
                    at = 0
                    continue
                length, kind, source, cause, time_ns, node, connection = HEADER.unpack_from(data, at)
                layout = _LAYOUTS.get(kind)
                if layout is None or length < HEADER.size + layout.size:
                    raise InvalidArgument(
                        f"{self.path}: damaged at byte {self.offset}: record of kind {kind} and length {length}"
                    )
                fields_at = at + HEADER.size
                end = at + length
                if kind == NAME:
                    self._learn(layout.unpack_from(data, fields_at)[0], data[fields_at + layout.size : end])
                event: Event | None = None
                self.seq += 1
                if self._wanted(kind, node, connection):
                    values = layout.unpack_from(data, fields_at)
                    tail = data[fields_at + layout.size : end]
                    event = Event(self.seq, kind, time_ns, node, connection, cause, values, tail, self.names, source)
                self.offset += length
                at = end
                if event is not None:
                    yield event

    def follow(self, wait: Callable[[], bool]) -> Iterator[Event]:
        """Every event as it is appended. At the end of the file `wait()` is called; False ends, after a last look."""
        while True:
            yield from self
            if not wait():
                yield from self
                return

    def _wanted(self, kind: int, node: int, connection: int) -> bool:
        if self.seq <= self._after:
            return False
        if self._kinds is None:
            if kind == NAME:
                return False
        elif kind not in self._kinds:
            return False
        if self._connection is not None and connection != self._connection:
            return False
        return self._node is None or (node < len(self.names) and self.names[node] == self._node)

    def _learn(self, number: int, text: bytes) -> None:
        if number != len(self.names):
            raise InvalidArgument(f"{self.path}: damaged at byte {self.offset}: name {number} out of order")
        self.names.append(text.decode("utf-8", "replace"))

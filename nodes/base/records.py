"""Events as binary records: what a spool holds and what a node's process sends to its lab.

    record  <I length of the whole record, B kind, B source, H cause, q time_ns, I node, I connection>,
            the kind's fields (`nodes.base.events.KINDS`), then its tail to the end of the record

All little endian, without padding. Names are NAME records (id in the field, UTF-8 in the tail) before their first use.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

from mypy_extensions import mypyc_attr

from nodes.base.errors import InvalidArgument
from nodes.base.event_sink import EventSink
from nodes.base.events import KIND_BY_NUMBER, KINDS, NAME, Kind
from nodes.base.packing import COMPILED, packed

HEADER: Final = struct.Struct("<IBBHqII")

#: Records, and bytes of tails, that are held before they are written.
FLUSH_RECORDS: Final = 2048
FLUSH_TAIL_BYTES: Final = 1 << 20

#: callback(seq, kind, time_ns, node, connection, cause, values, tail); node and name fields are interned numbers.
Listener = Callable[[int, int, int, int, int, int, tuple[int, ...], bytes], None]
#: (time_ns, source, kind, node, connection, cause, values, tail)
Record = tuple[int, int, int, int, int, int, tuple[int, ...], bytes]


def fields_struct(kind: Kind) -> struct.Struct:
    """The layout of a kind's fields, as they follow the header."""
    return struct.Struct("<" + "".join(field.code for field in kind.fields))


def _record_structs() -> list[struct.Struct]:
    """Header and fields in one, indexed by kind; numbers that are no kind hold the bare header."""
    structs = [HEADER] * 256
    for kind in KINDS:
        structs[kind.number] = struct.Struct(HEADER.format + fields_struct(kind).format[1:])
    return structs


@mypyc_attr(allow_interpreted_subclasses=True)
class RecordWriter(EventSink):
    """Packs events into records and holds them until `flush` hands them to `_write`, which a subclass gives.

    `names[number]` is the text of an interned name.
    """

    def __init__(self, level: int, capture: bool) -> None:
        super().__init__(level, capture)
        self.names: list[str] = [""]
        self._ids: dict[str, int] = {"": 0}
        structs = _record_structs()
        self._pack = [one.pack for one in structs]
        self._size = [one.size for one in structs]
        self._codes = [b""] * 256
        for kind in KINDS:
            self._codes[kind.number] = "".join(field.code for field in kind.fields).encode()
        self._held: list[bytes] = []
        self._held_tails = 0
        self._written = 0
        self._listening = False
        self._listeners: dict[int, tuple[Listener, ...]] = {}

    def _write(self, data: bytes) -> None:
        """Take whole records. Called when many are held and by `flush`."""
        raise NotImplementedError

    @property
    def sequence(self) -> int:
        """Sequence number of the last record: how many there are, written or held."""
        return self._written + len(self._held)

    def name(self, text: str) -> int:
        number = self._ids.get(text)
        if number is None:
            number = len(self.names)
            self._ids[text] = number
            self.names.append(text)
            self.emit_tail(NAME, 0, 0, 0, 0, (number,), text.encode())
        return number

    def emit(self, kind: int, time_ns: int, node: int, conn: int, cause: int, values: tuple[int, ...]) -> None:
        held = self._held
        held.append(self._record(self._size[kind], kind, time_ns, node, conn, cause, values))
        if self._listening:
            self._notify(kind, time_ns, node, conn, cause, values, b"")
        if len(held) >= FLUSH_RECORDS:
            self.flush()

    def emit_tail(
        self, kind: int, time_ns: int, node: int, conn: int, cause: int, values: tuple[int, ...], tail: bytes
    ) -> None:
        held = self._held
        size = self._size[kind] + len(tail)
        held.append(self._record(size, kind, time_ns, node, conn, cause, values) + tail)
        self._held_tails += len(tail)
        if self._listening:
            self._notify(kind, time_ns, node, conn, cause, values, tail)
        if len(held) >= FLUSH_RECORDS or self._held_tails >= FLUSH_TAIL_BYTES:
            self.flush()

    def _record(
        self, size: int, kind: int, time_ns: int, node: int, conn: int, cause: int, values: tuple[int, ...]
    ) -> bytes:
        if COMPILED:
            try:
                record = packed(size, kind, self.source, cause, time_ns, node, conn, self._codes[kind], values)
            except (OverflowError, TypeError, ValueError):  # too large for i64: struct will say which
                record = b""
            if record:
                return record
        try:
            return self._pack[kind](size, kind, self.source, cause, time_ns, node, conn, *values)
        except struct.error:
            raise _unfit(kind, time_ns, node, conn, cause, values) from None

    def subscribe(self, kinds: tuple[int, ...], listener: Listener) -> Callable[[], None]:
        """Call `listener` after each event of these kinds, inside the call that emitted it. Returns the way to stop.

        A listener may emit events itself, and may stop. Raises InvalidArgument for a number that is no kind.
        """
        for kind in kinds:
            if kind not in KIND_BY_NUMBER:
                raise InvalidArgument(f"kinds: {kind} is no kind of event; see nodes.base.events.KINDS", "kinds")
        for kind in kinds:
            self._listeners[kind] = (*self._listeners.get(kind, ()), listener)
        self._listening = bool(self._listeners)

        def stop() -> None:
            for kind in kinds:
                left = list(self._listeners.get(kind, ()))
                if listener in left:
                    left.remove(listener)
                if left:
                    self._listeners[kind] = tuple(left)
                else:
                    self._listeners.pop(kind, None)
            self._listening = bool(self._listeners)

        return stop

    def _notify(
        self, kind: int, time_ns: int, node: int, conn: int, cause: int, values: tuple[int, ...], tail: bytes
    ) -> None:
        seq = self._written + len(self._held)
        for listener in self._listeners.get(kind, ()):
            listener(seq, kind, time_ns, node, conn, cause, values, tail)

    def flush(self) -> None:
        """Hand everything held to `_write`."""
        held = self._held
        if held:
            data = b"".join(held)
            self._written += len(held)
            held.clear()
            self._held_tails = 0
            self._write(data)


class RecordTranslator:
    """Reads records of another process: names become those of `target`, which is told nothing else."""

    def __init__(self, target: EventSink) -> None:
        self._target = target
        self._names = [0]
        self._rest = b""
        self._layouts = {kind.number: fields_struct(kind) for kind in KINDS}
        self._name_fields = {
            kind.number: tuple(at for at, field in enumerate(kind.fields) if field.type == "name") for kind in KINDS
        }

    def feed(self, data: bytes) -> list[Record]:
        """The records that `data` completes, NAMEs left out. Raises InvalidArgument for what is no record."""
        data = self._rest + data
        end = len(data)
        at = 0
        records: list[Record] = []
        while end - at >= HEADER.size:
            length, kind, source, cause, time_ns, node, connection = HEADER.unpack_from(data, at)
            layout = self._layouts.get(kind)
            if layout is None or length < HEADER.size + layout.size:
                raise InvalidArgument(f"a record of kind {kind} and length {length} is none of ours", "kind")
            if end - at < length:
                break
            values = layout.unpack_from(data, at + HEADER.size)
            tail = data[at + HEADER.size + layout.size : at + length]
            at += length
            if kind == NAME:
                self._names.append(self._target.name(tail.decode()))
                continue
            named = self._name_fields[kind]
            if named:
                changed = list(values)
                for index in named:
                    changed[index] = self._names[changed[index]]
                values = tuple(changed)
            records.append((time_ns, source, kind, self._names[node], connection, cause, values, tail))
        self._rest = data[at:]
        return records


def _unfit(kind: int, time_ns: int, node: int, conn: int, cause: int, values: tuple[int, ...]) -> InvalidArgument:
    """Which value of an event does not fit its field."""
    schema = KIND_BY_NUMBER.get(kind)
    if schema is None:
        return InvalidArgument(f"event of kind {kind}: no such kind", "kind")
    if len(values) != len(schema.fields):
        return InvalidArgument(f"event {schema.name}: {len(values)} values for {len(schema.fields)} fields", "values")
    header = (("cause", "H", cause), ("time_ns", "q", time_ns), ("node", "I", node), ("connection", "I", conn))
    fields = ((field.name, field.code, value) for field, value in zip(schema.fields, values, strict=True))
    for name, code, value in (*header, *fields):
        try:
            struct.pack("<" + code, value)
        except struct.error as error:
            return InvalidArgument(f"event {schema.name}, field {name}: {value!r} does not fit: {error}", name)
    return InvalidArgument(f"event {schema.name}: {values!r} does not fit", "values")

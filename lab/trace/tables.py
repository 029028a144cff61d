"""The spool as Parquet tables, one for each kind of event, in the order of the events.

Columns: `event` (sequence number in the spool), `time_ns`, `node`, `connection`, `cause`, `cause_section`, then the
kind's fields with their units in the name. Enums, states and names are words; NULL is unknown or none. Packets' bytes
are left to the captures (their tables have `length_bytes`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as parquet

from lab.trace.event import BINARY_TAILS, ENUMS, cause_info
from lab.trace.flags import flag_names
from lab.trace.spool_reader import SpoolReader
from nodes.base.events import KINDS, NAME, SEGMENT, UNKNOWN, Field, Kind

#: Name of each kind's table, where it is not the kind's name and an s.
_PLURALS: Final = {
    "rtt": "rtt",
    "cwnd": "cwnd",
    "recovery": "recoveries",
    "illegal": "illegal_calls",
    "delivery": "deliveries",
    "queue": "queue",
}
_UNITS: Final = {
    "length": "length_bytes",
    "cwnd": "cwnd_bytes",
    "ssthresh": "ssthresh_bytes",
    "flight": "flight_bytes",
    "pacing_rate": "pacing_rate_bytes_per_s",
    "mss": "mss_bytes",
    "window": "window_bytes",
}
_ARROW_INTS: Final = {"B": pa.uint8(), "H": pa.uint16(), "I": pa.uint32(), "Q": pa.uint64(), "q": pa.int64()}
_BATCH: Final = 1 << 16

#: (seq, time_ns, node, connection, cause, values, tail or None)
_Row = tuple[int, int, str, int, int, tuple[int, ...], bytes]


def table_name(kind: Kind) -> str:
    """`segments` for `segment`, and so on."""
    return _PLURALS.get(kind.name, kind.name + "s")


def write_tables(spool: Path | str, directory: Path | str) -> list[Path]:
    """Write `<table>.parquet` for every kind, empty ones too, so that a reader can rely on them. Returns the paths."""
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    reader = SpoolReader(spool)
    tables = {kind.number: _TableFile(kind, directory, reader.names) for kind in KINDS if kind.number != NAME}
    try:
        for event in reader:
            tables[event.kind].add(
                (event.seq, event.time_ns, event.node, event.connection, event.cause, event.values, event.tail)
            )
    finally:
        for table in tables.values():
            table.close()
    return [table.path for table in tables.values()]


class _TableFile:
    """One Parquet file, written in batches of rows."""

    def __init__(self, kind: Kind, directory: Path, names: Sequence[str]) -> None:
        self.path = directory / f"{table_name(kind)}.parquet"
        self._kind = kind
        self._names = names
        self._rows: list[_Row] = []
        self._writer: Any = None

    def add(self, row: _Row) -> None:
        self._rows.append(row)
        if len(self._rows) >= _BATCH:
            self._write()

    def close(self) -> None:
        if self._rows or self._writer is None:
            self._write()
        self._writer.close()

    def _write(self) -> None:
        table = _arrow_table(self._kind, self._rows, self._names)
        self._rows = []
        if self._writer is None:
            self._writer = parquet.ParquetWriter(self.path, table.schema, compression="zstd")
        self._writer.write_table(table)


def _arrow_table(kind: Kind, rows: Sequence[_Row], names: Sequence[str]) -> Any:
    causes = [cause_info(row[4]) if row[4] else None for row in rows]
    columns: dict[str, Any] = {
        "event": pa.array([row[0] for row in rows], pa.uint64()),
        "time_ns": pa.array([row[1] for row in rows], pa.int64()),
        "node": pa.array([row[2] or None for row in rows], pa.string()),
        "connection": pa.array([row[3] or None for row in rows], pa.uint32()),
        "cause": pa.array([cause.name if cause else None for cause in causes], pa.string()),
        "cause_section": pa.array([cause.section or None if cause else None for cause in causes], pa.string()),
    }
    for index, field in enumerate(kind.fields):
        values = [row[5][index] for row in rows]
        columns[_column_name(kind, field)] = _column(field, values, names)
    if kind.tail in BINARY_TAILS:
        columns["length_bytes"] = pa.array([len(row[6]) or None for row in rows], pa.uint32())
    elif kind.tail:
        columns[kind.tail] = pa.array([row[6].decode("utf-8", "replace") for row in rows], pa.string())
    return pa.table(columns)


def _column_name(kind: Kind, field: Field) -> str:
    # The window of a segment is the header's field, not yet scaled: it is not in bytes.
    if kind.number == SEGMENT and field.name == "window":
        return "window_unscaled"
    return _UNITS.get(field.name, field.name)


def _column(field: Field, values: list[int], names: Sequence[str]) -> Any:
    if field.type == "bool":
        return pa.array([bool(value) for value in values], pa.bool_())
    if field.type == "name":
        return pa.array([names[value] or None for value in values], pa.string())
    if field.type in ENUMS:
        words = ENUMS[field.type]
        return pa.array([words[value] or None for value in values], pa.string())
    if field.name == "flags":
        return pa.array([flag_names(value) for value in values], pa.string())
    if field.code == "q":
        return pa.array([None if value == UNKNOWN else value for value in values], pa.int64())
    return pa.array(values, _ARROW_INTS[field.code])

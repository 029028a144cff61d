from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as parquet

from lab.trace.tables import write_tables
from nodes.base.events import KINDS
from tests.lab.trace.synthetic import lossy_transfer


def test_one_table_a_kind_with_words_units_and_nulls(spool: Path, tmp_path: Path) -> None:
    paths = write_tables(spool, tmp_path / "tables")
    assert len(paths) == len(KINDS) - 1  # names are no table
    rows = {path.stem: parquet.read_table(path).to_pylist() for path in paths}
    assert rows["states"][0] == {
        "event": 11,
        "time_ns": 0,
        "node": "h1",
        "connection": 1,
        "cause": "USER_ACTIVE_OPEN",
        "cause_section": "RFC 9293 3.10.1",
        "old": "CLOSED",
        "new": "SYN-SENT",
    }
    assert rows["connections"][1] == {
        "event": 15,
        "time_ns": 10_000_000,
        "node": "h2",
        "connection": 1,
        "cause": None,
        "cause_section": None,
        "origin": "PASSIVE",
        "local_address": "10.0.0.2",
        "local_port": 80,
        "remote_address": "10.0.0.1",
        "remote_port": 49152,
    }
    syn = rows["segments"][0]
    assert (syn["flags"], syn["direction"], syn["interface"], syn["frame"]) == ("SYN", "SENT", "h1:eth0", 1)
    assert (syn["mss_bytes"], syn["tsval"], syn["resent"], syn["window_unscaled"]) == (1460, None, False, 65000)
    cwnd = rows["cwnd"]
    assert [row["cwnd_bytes"] for row in cwnd[:3]] == [10_000, 11_000, 12_000]
    assert (cwnd[0]["ssthresh_bytes"], cwnd[-1]["ssthresh_bytes"]) == (None, 10_000)
    assert {row["pacing_rate_bytes_per_s"] for row in cwnd} == {None}
    lost = [row for row in rows["verdicts"] if row["verdict"].startswith("DROPPED")]
    assert [(row["verdict"], row["rule"], row["frame"]) for row in lost] == [
        ("DROPPED_RULE", "lose-syn-ack", 1),
        ("DROPPED_LOSS", None, 15),
    ]
    assert rows["attacks"][0]["note"] == "RST to h2"
    assert rows["frames"][0]["length_bytes"] == 54
    assert rows["queue"] == []
    for table in rows.values():
        assert [row["event"] for row in table] == sorted(row["event"] for row in table)


def test_equal_runs_give_equal_rows(tmp_path: Path) -> None:
    tables = []
    for name in ("1", "2"):
        lossy_transfer(tmp_path / name)
        tables.append([parquet.read_table(path) for path in write_tables(tmp_path / name, tmp_path / f"t{name}")])
    assert all(one.equals(two) for one, two in zip(*tables, strict=True))
    assert sum(table.num_rows for table in tables[0]) > 400

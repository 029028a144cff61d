"""The spool's bytes, checked with struct by hand against the format its docstring promises."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import pytest

from lab.trace.spool import SpoolWriter
from lab.trace.spool_reader import SpoolReader
from nodes.base import causes
from nodes.base.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from nodes.base.events import (
    FRAME,
    LEVEL_CONGESTION,
    LEVEL_STATES,
    NAME,
    RTT,
    STATE,
    UNKNOWN,
    VERDICT,
    VERDICT_DROPPED_LOSS,
    VERDICT_PASSED,
)
from nodes.tcp.states import CLOSED, ESTABLISHED, SYN_SENT

MAGIC = b"tcplab.spool\r\n\x1a\n"


def records(data: bytes) -> list[tuple[int, int, int, int, int, bytes]]:
    """(kind, cause, time, node, connection, rest) of each record."""
    assert data.startswith(MAGIC)
    at = len(MAGIC)
    found = []
    while at < len(data):
        length, kind, zero, cause, time_ns, node, conn = struct.unpack_from("<IBBHqII", data, at)
        assert zero == 0
        found.append((kind, cause, time_ns, node, conn, data[at + 24 : at + length]))
        at += length
    assert at == len(data)
    return found


def test_bytes_of_a_spool(tmp_path: Path) -> None:
    path = tmp_path / "events.spool"
    with SpoolWriter(path) as writer:
        h1 = writer.name("h1")
        assert writer.name("") == 0
        writer.state(5, h1, 3, causes.USER_ACTIVE_OPEN, CLOSED, SYN_SENT)
        assert writer.name("h1") == h1
        link = writer.name("a-b/a→b")
        writer.emit_tail(FRAME, 1 << 40, 0, 0, 0, (link, 7), b"\x00\xff" * 3)
        writer.rtt(6, h1, 3, 10, -20, UNKNOWN, 40)
    assert records(path.read_bytes()) == [
        (255, 0, 0, 0, 0, b"\x01\0\0\0h1"),
        (2, 1, 5, 1, 3, b"\x07\x02"),
        (255, 0, 0, 0, 0, b"\x02\0\0\0" + "a-b/a→b".encode()),
        (32, 0, 1 << 40, 0, 0, b"\x02\0\0\0" + b"\x07\0\0\0\0\0\0\0" + b"\x00\xff" * 3),
        (6, 0, 6, 1, 3, struct.pack("<qqqq", 10, -20, -(1 << 63), 40)),
    ]


def test_reader_gives_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with SpoolWriter(path) as writer:
        h1 = writer.name("h1")
        writer.state(5, h1, 3, causes.USER_ACTIVE_OPEN, CLOSED, SYN_SENT)
        writer.rtt(6, h1, 3, 10, 20, UNKNOWN, 40)
        link = writer.name("a->b")
        writer.emit_tail(FRAME, 7, 0, 0, 0, (link, 1), b"frame")
        writer.attack(8, writer.name("rst"), 3, 2, "zwei Pakete für h1")
    state, rtt, frame, attack = SpoolReader(path)
    assert (state.seq, state.name, state.time_ns, state.node, state.connection) == (2, "state", 5, "h1", 3)
    assert state.fields == {"old": "CLOSED", "new": "SYN-SENT"}
    assert (state.why.name, state.why.section) == ("USER_ACTIVE_OPEN", "RFC 9293 3.10.1")
    assert rtt.fields == {"sample_ns": 10, "srtt_ns": 20, "rttvar_ns": None, "rto_ns": 40}
    assert (frame["link"], frame["frame"], frame.tail, frame.text) == ("a->b", 1, b"frame", "")
    assert (attack["attack"], attack["action"], attack.text) == ("rst", "INJECTED", "zwei Pakete für h1")


def test_a_cut_last_record_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with SpoolWriter(path) as writer:
        for time_ns in range(3):
            writer.state(time_ns, 0, 1, 0, CLOSED, SYN_SENT)
    whole = path.read_bytes()
    for missing in range(1, 26):
        path.write_bytes(whole[:-missing])
        assert [event.time_ns for event in SpoolReader(path)] == [0, 1]
    path.write_bytes(whole[:-26])
    assert [event.time_ns for event in SpoolReader(path)] == [0, 1]


def test_readers_see_what_was_flushed_and_later_what_follows(tmp_path: Path) -> None:
    path = tmp_path / "s"
    writer = SpoolWriter(path)
    reader = SpoolReader(path)
    writer.state(1, writer.name("h1"), 1, 0, CLOSED, SYN_SENT)
    assert list(reader) == []
    writer.flush()
    assert [(event.seq, event.time_ns, event.node) for event in reader] == [(2, 1, "h1")]
    writer.state(2, writer.name("h2"), 1, 0, CLOSED, SYN_SENT)
    writer.state(3, writer.name("h1"), 1, 0, SYN_SENT, ESTABLISHED)
    writer.flush()
    assert next(iter(reader)).node == "h2"
    assert [(event.seq, event.time_ns, event.node) for event in reader] == [(5, 3, "h1")]
    assert (reader.seq, reader.offset) == (writer.sequence, path.stat().st_size)

    def wait() -> bool:
        if writer.sequence < 7:
            writer.state(writer.sequence, 0, 1, 0, CLOSED, SYN_SENT)
            writer.flush()
            return True
        writer.close()
        return False

    assert [event.time_ns for event in reader.follow(wait)] == [5, 6]


def test_resume_after_a_sequence_number_knows_earlier_names(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with SpoolWriter(path) as writer:
        h1, h2 = writer.name("h1"), writer.name("h2")
        for time_ns in range(10):
            writer.state(time_ns, h1 if time_ns % 2 else h2, time_ns, 0, CLOSED, SYN_SENT)
    every = list(SpoolReader(path))
    rest = list(SpoolReader(path, after=every[6].seq))
    assert [(event.seq, event.node) for event in rest] == [(10, "h1"), (11, "h2"), (12, "h1")]
    assert list(SpoolReader(path, after=12)) == []


def test_filters(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with SpoolWriter(path) as writer:
        h1, h2 = writer.name("h1"), writer.name("h2")
        writer.state(1, h1, 1, 0, CLOSED, SYN_SENT)
        writer.state(2, h2, 1, 0, CLOSED, SYN_SENT)
        writer.state(3, h1, 2, 0, CLOSED, SYN_SENT)
        writer.rtt(4, h1, 1, 1, 1, 1, 1)

    def times(**filters: object) -> list[int]:
        return [event.time_ns for event in SpoolReader(path, **filters)]  # type: ignore[arg-type]

    assert times(node="h1") == [1, 3, 4]
    assert times(node="h1", connection=1) == [1, 4]
    assert times(kinds=(STATE,), connection=1) == [1, 2]
    assert times(kinds=(RTT,)) == [4]
    assert times(node="h9") == []
    assert [event.text for event in SpoolReader(path, kinds=(NAME,))] == ["h1", "h2"]


def test_many_records_reach_the_file_without_an_explicit_flush(tmp_path: Path) -> None:
    path = tmp_path / "s"
    writer = SpoolWriter(path)
    for time_ns in range(50_000):
        writer.state(time_ns, 0, 1, 0, CLOSED, SYN_SENT)
    assert len(list(SpoolReader(path))) > 45_000
    writer.close()
    assert [event.time_ns for event in SpoolReader(path)] == list(range(50_000))


def test_large_tails_are_flushed_by_size_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "s"
    writer = SpoolWriter(path)
    frame = bytes(range(256)) * 240
    for ordinal in range(60):
        writer.emit_tail(FRAME, ordinal, 0, 0, 0, (0, ordinal), frame)
    assert path.stat().st_size > 1_000_000
    writer.close()
    assert [(event["frame"], event.tail == frame) for event in SpoolReader(path)] == [(n, True) for n in range(60)]


def test_listeners_hear_their_kinds_until_they_stop(tmp_path: Path) -> None:
    heard: list[tuple[object, ...]] = []
    with SpoolWriter(tmp_path / "s") as writer:
        h1 = writer.name("h1")

        def on_state(*what: object) -> None:
            heard.append(what)
            if len(heard) == 1:
                writer.state(9, h1, 1, 0, SYN_SENT, ESTABLISHED)

        stop = writer.subscribe((STATE, RTT), on_state)
        writer.verdict(1, 1, 1, VERDICT_PASSED, 0, 0)
        writer.state(2, h1, 1, 4, CLOSED, SYN_SENT)
        writer.rtt(3, h1, 1, 10, 11, 12, 13)
        stop()
        stop()
        writer.state(4, h1, 1, 0, SYN_SENT, CLOSED)
    assert heard == [
        (3, STATE, 2, h1, 1, 4, (CLOSED, SYN_SENT), b""),
        (4, STATE, 9, h1, 1, 0, (SYN_SENT, ESTABLISHED), b""),
        (5, RTT, 3, h1, 1, 0, (10, 11, 12, 13), b""),
    ]


def test_levels_choose_what_is_recorded(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with SpoolWriter(path, LEVEL_STATES) as writer:
        writer.rtt(1, 0, 1, 1, 1, 1, 1)
        writer.state(2, 0, 1, 0, CLOSED, SYN_SENT)
        writer.level = LEVEL_CONGESTION
        writer.verdict(3, 0, 1, VERDICT_PASSED, 0, 0)
        writer.verdict(4, 0, 1, VERDICT_DROPPED_LOSS, 0, 0)
    assert [(event.name, event.time_ns) for event in SpoolReader(path)] == [("state", 2), ("verdict", 4)]


def test_errors_say_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with SpoolWriter(path) as writer:
        with pytest.raises(InvalidArgument, match=r"event state, field new: 300 does not fit"):
            writer.state(1, 0, 1, 0, CLOSED, 300)
        with pytest.raises(InvalidArgument, match=r"event rtt: 1 values for 4 fields"):
            writer.emit(RTT, 1, 0, 1, 0, (1,))
        with pytest.raises(InvalidArgument, match="200 is no kind"):
            writer.subscribe((200,), lambda *_: None)
        assert writer.sequence == 0
    writer.state(1, 0, 1, 0, CLOSED, SYN_SENT)
    with pytest.raises(FailedPrecondition, match="is closed"):
        writer.flush()
    with pytest.raises(AlreadyExists, match="written once"):
        SpoolWriter(path)
    with pytest.raises(NotFound, match="directory"):
        SpoolWriter(tmp_path / "none" / "s")
    with pytest.raises(NotFound, match="no such spool"):
        SpoolReader(tmp_path / "none")
    path.write_bytes(b"PK\x03\x04 something else")
    with pytest.raises(InvalidArgument, match="not a tcplab spool"):
        SpoolReader(path)
    path.write_bytes(MAGIC + struct.pack("<IBBHqII", 24, VERDICT, 0, 0, 0, 0, 0))
    with pytest.raises(InvalidArgument, match=r"damaged at byte 16: record of kind 33 and length 24"):
        list(SpoolReader(path))


def test_what_was_flushed_survives_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "s"
    program = (
        "import os, signal\n"
        "from lab.trace.spool import SpoolWriter\n"
        f"writer = SpoolWriter({str(path)!r})\n"
        "for t in range(5000): writer.state(t, 0, 1, 0, 7, 2)\n"
        "writer.flush()\n"
        "for t in range(5000, 5100): writer.state(t, 0, 1, 0, 7, 2)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == -9
    assert [event.time_ns for event in SpoolReader(path)] == list(range(5000))

from __future__ import annotations

from pathlib import Path

from lab.trace.analysis import analyse
from lab.trace.spool import SpoolWriter
from nodes.base import causes
from nodes.base.events import LEVEL_CONGESTION
from nodes.tcp import states
from tests.lab.trace.synthetic import lossy_transfer


def test_both_ends_of_each_connection(spool: Path) -> None:
    one, two = analyse(spool).conversations
    assert (one.first.id, one.second and one.second.id) == ("h1#1", "h2#1")
    assert one.first.path == ["CLOSED", "SYN-SENT", "ESTABLISHED", "FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT", "CLOSED"]
    assert one.second is not None and two.second is not None
    assert one.second.path == ["LISTEN", "SYN-RECEIVED", "ESTABLISHED", "CLOSE-WAIT", "LAST-ACK", "CLOSED"]
    assert (one.first.bytes_sent, one.second.bytes_received, one.first.payload_bytes_sent) == (40_000, 40_000, 41_000)
    assert (one.opened_ns, one.closed_ns) == (0, 61_240_000_000)
    assert [(re.sequence, re.cause.name) for re in one.first.retransmissions] == [
        (4_294_967_000, "RETRANSMIT_SYN"),
        (10_704, "RETRANSMIT_FAST"),
    ]
    assert one.first.states[0].cause.section == "RFC 9293 3.10.1"
    assert [(reset.accepted, reset.cause.name) for reset in two.second.resets] == [
        (False, "RST_NOT_EXACT"),
        (True, "RST_RECEIVED"),
    ]
    assert (two.second.challenge_acks, two.second.errors) == (1, ["ECONNRESET"])


def test_resets_of_no_connection_are_listed_too(spool: Path) -> None:
    sent = [reset for reset in analyse(spool).resets if reset.sent]
    assert [(reset.node, reset.connection, reset.cause.name) for reset in sent] == [("h2", 0, "NO_SUCH_CONNECTION")]


def test_counts_are_unknown_when_no_segments_were_recorded(tmp_path: Path) -> None:
    lossy_transfer(tmp_path / "s", LEVEL_CONGESTION, capture=False)
    analysis = analyse(tmp_path / "s")
    assert not analysis.has_segments
    end = analysis.conversations[0].first
    assert (end.bytes_sent, end.segments_sent, end.payload_bytes_sent) == (None, None, None)
    assert len(end.retransmissions) == 2


def test_reused_ports_are_two_connections(tmp_path: Path) -> None:
    with SpoolWriter(tmp_path / "s") as sink:
        h1, h2, a, b = (sink.name(text) for text in ("h1", "h2", "10.0.0.1", "10.0.0.2"))
        for start, number in ((0, 1), (100, 2)):
            sink.connection(start, h1, number, 1, a, 1000, b, 80)
            sink.connection(start + 10, h2, number + 4, 2, b, 80, a, 1000)
            sink.state(start + 50, h2, number + 4, causes.ACK_OF_FIN, states.LAST_ACK, states.CLOSED)
            sink.state(start + 60, h1, number, causes.TIME_WAIT_EXPIRED, states.TIME_WAIT, states.CLOSED)
    assert [(c.first.id, c.second and c.second.id) for c in analyse(tmp_path / "s").conversations] == [
        ("h1#1", "h2#5"),
        ("h1#2", "h2#6"),
    ]


def test_a_half_that_nobody_answers_and_a_connection_to_oneself(tmp_path: Path) -> None:
    with SpoolWriter(tmp_path / "s") as sink:
        h1, a, b = (sink.name(text) for text in ("h1", "10.0.0.1", "10.0.0.9"))
        sink.connection(0, h1, 1, 1, a, 1000, b, 80)
        sink.connection(5, h1, 2, 1, a, 2000, a, 2000)
    assert [(c.first.id, c.second) for c in analyse(tmp_path / "s").conversations] == [("h1#1", None), ("h1#2", None)]

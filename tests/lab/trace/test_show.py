"""What a student sees."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest

from lab.trace.bundle import Bundle
from lab.trace.show import show
from nodes.base.errors import InvalidArgument, NotFound
from nodes.base.events import LEVEL_ALL, LEVEL_CONGESTION, LEVEL_SEGMENTS
from tests.lab.trace.synthetic import lossy_transfer


def lines(path: Path, **options: object) -> list[str]:
    out = io.StringIO()
    show(path, out, **options)  # type: ignore[arg-type]
    return [line.rstrip() for line in out.getvalue().splitlines()]


def only(found: list[str], *words: str) -> str:
    chosen = [line for line in found if all(word in line for word in words)]
    assert len(chosen) == 1, (words, chosen)
    return chosen[0]


def test_both_clocks_of_what_arrives_and_one_of_what_is_lost(spool: Path) -> None:
    shown = lines(spool, connections=[1])
    assert max(map(len, shown)) <= 100
    syn = only(shown, "SYN seq=0", " 10.000", "▶")
    assert re.match(r"\s*0\.000 │── SYN seq=0 win=65000 mss=1460 ─+▶│ +10\.000$", syn)
    lost = only(shown, "dropped by rule lose-syn-ack")
    assert re.match(r"\s*│ +dropped by rule lose-syn-ack ✗── SYN,ACK seq=0 ack=1 .* ──│ +10\.000$", lost)
    again = only(shown, "SYN-ACK again", "◀")
    assert re.match(r"\s*1020\.000 │◀═+ SYN,ACK .* ══│ +1010\.000$", again)
    assert "── ACK seq=11001 ack=1 len=1000 ──✗ dropped by random loss" in only(shown, "random loss")


def test_state_changes_stand_on_their_own_side_at_their_time(spool: Path) -> None:
    shown = lines(spool, connections=[1])
    assert re.match(r"\s*0\.000 │● SYN-SENT  active OPEN \(RFC 9293 3\.10\.1\) +│$", only(shown, "● SYN-SENT"))
    received = only(shown, "● SYN-RECEIVED")
    assert re.match(r"\s*│ +● SYN-RECEIVED  SYN received in LISTEN \(RFC 9293 3\.10\.7\.2\)│ +10\.000$", received)
    assert re.search(r"61240\.000 │● CLOSED  2 MSL have passed", only(shown, "2 MSL"))
    words = ("● SYN-SENT", "SYN seq=0", "● SYN-REC")
    order = [next(i for i, line in enumerate(shown) if word in line) for word in words]
    assert order == sorted(order)


def test_paths_resets_and_retransmissions_with_reasons(spool: Path) -> None:
    shown = lines(spool)
    assert "h1#1    CLOSED → SYN-SENT → ESTABLISHED → FIN-WAIT-1 → FIN-WAIT-2 → TIME-WAIT → CLOSED" in shown
    assert "h2#2    LISTEN → SYN-RECEIVED → ESTABLISHED → CLOSED" in shown
    ignored = only(shown, "2050.000", "RST ignored", "h2#2")
    assert "RFC 5961 3.2" in ignored
    assert "RFC 9293 3.10.7.1" in only(shown, "2105.000", "RST sent")
    assert "RFC 5681 3.2" in only(shown, "1065.500", "fast retransmit", "10704")


def test_a_forgery_comes_from_nowhere_and_names_the_attack(spool: Path) -> None:
    shown = lines(spool, connections=[2])
    forged = only(shown, "seq=9", "forged by attack rst-on-path")
    assert re.match(r"^ +│ +RST seq=9 ⚡ forged by attack rst-on-path ─+▶│ +2050\.000$", forged)


def test_long_transfers_are_elided_unless_full(spool: Path) -> None:
    shown = lines(spool, connections=[1])
    assert len(shown) < 70
    counted = [int(m[1]) for line in shown if (m := re.search(r"… (\d+) segments: ", line))]
    drawn = sum(1 for line in shown if re.search(r"[▶◀✗]", line))
    full = lines(spool, connections=[1], full=True)
    assert sum(counted) + drawn == sum(1 for line in full if re.search(r"[▶◀✗]", line)) == 89
    for word in ("dropped by random loss", "fast retransmit", "FIN,ACK"):
        assert any(word in line and re.search(r"[▶◀✗]", line) for line in shown)


def test_raw_numbers(spool: Path) -> None:
    shown = lines(spool, connections=[2], raw=True)
    assert any("SYN,ACK seq=5000 ack=4294967001" in line for line in shown)


def test_without_capture_arrivals_are_joined_by_their_headers(tmp_path: Path) -> None:
    for name, capture in (("with", True), ("without", False)):
        lossy_transfer(tmp_path / name, LEVEL_SEGMENTS, capture)
    guessed, known = (lines(tmp_path / name, connections=[1], full=True) for name in ("without", "with"))
    assert guessed == known


def test_ascii_terminals_and_traces_without_segments(tmp_path: Path) -> None:
    lossy_transfer(tmp_path / "s", LEVEL_CONGESTION, capture=False)
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii")
    show(tmp_path / "s", out)
    out.flush()
    text = raw.getvalue().decode("ascii")
    assert "CLOSED -> SYN-SENT -> ESTABLISHED" in text
    assert "No segments: the trace level was below `segments`." in text
    assert "fast retransmit" in text


def test_a_bundle_is_created_opened_exported_and_shown(tmp_path: Path) -> None:
    bundle = Bundle.create(tmp_path / "run", spec="topology: pair\n", seed=7, backend="sim", level=LEVEL_ALL)
    lossy_transfer(bundle.spool)
    bundle.finish(passed=True)
    bundle.export()
    opened = Bundle.open(tmp_path / "run")
    assert (opened.manifest["seed"], opened.manifest["passed"], opened.manifest["trace_level"]) == (7, True, "all")
    assert {path.name for path in opened.path.iterdir()} == {
        "manifest.json",
        "events.spool",
        "pcap",
        "tables",
        "verdicts.jsonl",
    }
    first = opened.verdicts.read_text().splitlines()[1]
    assert first == (
        '{"time_ns": 10000000, "link": "h1-h2/h2:eth0->h1:eth0", "frame": 1, "verdict": "DROPPED_RULE", '
        '"rule": "lose-syn-ack", "delay_ns": 0}'
    )
    assert lines(opened.path) == lines(opened.spool)


def test_errors_name_what_is_wrong(spool: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="connection 9: the trace has connections 1 to 2"):
        lines(spool, connections=[9])
    with pytest.raises(InvalidArgument, match=r"not a run: it has no manifest\.json"):
        Bundle.open(tmp_path)
    with pytest.raises(NotFound, match="no such directory"):
        Bundle.open(tmp_path / "none")

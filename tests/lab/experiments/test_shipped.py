"""Every shipped experiment holds, quickly; and its expectations can fail."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lab.experiments.report import Outcome
from lab.experiments.runner import conclude, drive, prepare, run
from lab.experiments.script import Script
from lab.experiments.spec import load
from lab.shipped import shipped_files
from lab.spec import read_file, read_text
from tests.runs import BACKENDS

SHIPPED = {name: path for name, path in shipped_files("experiments").items() if "sim" in BACKENDS[name]}


def outcome_of(name: str, directory: Path, *changes: str, seed: int | None = None) -> Outcome:
    path = SHIPPED[name]
    return run(load(read_file(path), changes), path.read_text("utf-8"), directory, seed, export=False)


def test_the_promised_ones_are_there() -> None:
    assert set(SHIPPED) >= {
        "handshake",
        "lost-syn-ack",
        "bulk-loss",
        "four-way-close",
        "half-close",
        "lost-last-ack",
        "simultaneous-close",
        "rst-on-path",
        "blind-rst",
        "keepalive",
        "demo",
    }


@pytest.mark.parametrize("name", SHIPPED)
def test_it_holds(name: str, tmp_path: Path) -> None:
    outcome = outcome_of(name, tmp_path / "run")
    assert outcome.ok, "\n".join(outcome.lines())
    assert outcome.results


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("seed", [2, 3])
def test_it_holds_whatever_the_seed(name: str, seed: int, tmp_path: Path) -> None:
    outcome = outcome_of(name, tmp_path / "run", seed=seed)
    assert outcome.ok, "\n".join(outcome.lines())
    assert outcome.seed == seed


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("lost-syn-ack", "links.h1-h2.rules=[]"),
        ("lost-last-ack", "links.h1-h2.rules=[]"),
        ("lost-last-ack", "nodes.h1.profile=linux"),
        ("bulk-loss", "links.h1-h2.loss=0%"),
        ("four-way-close", "timeline[5].close=client"),
        ("simultaneous-close", "timeline[5]={at: 2s, close: server}"),
        ("half-close", "timeline[4]={close: client}"),
        ("rst-on-path", "timeline[0].attack.on-path-rst.when={bytes: 2mb}"),
        ("rst-on-path", "timeline=[]"),
        ("blind-rst", "timeline[0].attack.blind-rst.target_port=5002"),
        ("keepalive", "timeline[4].at=17000s"),
        ("keepalive", "timeline[2].open={node: h1, to: h2, port: 80, as: client}"),
        ("handshake", "timeline[2].open.port=81"),
        ("demo", "timeline=[]"),
        ("stale-syn", "nodes.h3.mutants=none"),
        ("no-time-wait", "nodes.h1.mutants=none"),
        ("syn-queue-overflow", "nodes.h2.tcp_syncookies=1"),
        ("syn-cookies", "nodes.h2.tcp_syncookies=0"),
        ("accept-queue-overflow", "timeline[0].listen.backlog=5"),
        ("simultaneous-open", "timeline[1].open.local_port=5001"),
        ("self-connect", "timeline[0].open.local_port=40003"),
        ("fast-open", "nodes.h2.tcp_fastopen=0"),
    ],
)
def test_without_what_it_shows_it_fails(name: str, change: str, tmp_path: Path) -> None:
    outcome = outcome_of(name, tmp_path / "run", change)
    assert not outcome.ok


def test_a_run_is_a_bundle_that_can_be_run_again(tmp_path: Path) -> None:
    path = SHIPPED["handshake"]
    run(load(read_file(path)), path.read_text("utf-8"), tmp_path / "a")
    assert (tmp_path / "a" / "pcap" / "h1-eth0.pcapng").stat().st_size > 0
    assert (tmp_path / "a" / "tables" / "states.parquet").exists()
    manifest = json.loads((tmp_path / "a" / "manifest.json").read_text("utf-8"))
    assert manifest["outcome"]["ok"] is True
    assert manifest["seed"] == 1
    run(load(read_text(manifest["spec"])), manifest["spec"], tmp_path / "b", manifest["seed"])
    for file in ("events.spool", "pcap/h1-eth0.pcapng", "pcap/h2-eth0.pcapng", "verdicts.jsonl"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_driving_it_in_small_slices_gives_the_same_bytes(tmp_path: Path) -> None:
    path = SHIPPED["demo"]
    text = path.read_text("utf-8")
    experiment = load(read_file(path))
    run(experiment, text, tmp_path / "whole", export=False)
    bundle, lab = prepare(experiment, text, tmp_path / "sliced")
    script = Script(experiment, lab)
    slices = sum(1 for _ in drive(lab, script, 100))
    lab.close_lab()
    assert slices > 10
    assert conclude(experiment, lab, script, bundle, 0, export=False).ok
    assert bundle.spool.read_bytes() == (tmp_path / "whole" / "events.spool").read_bytes()

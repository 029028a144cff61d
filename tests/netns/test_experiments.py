"""The shipped experiments in network namespaces: the verdicts, states and dropped packets that virtual time has."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.experiments import spec as experiments
from lab.experiments.report import Outcome
from lab.experiments.runner import run
from lab.links.frame import FrameView
from lab.spec import read_file
from lab.trace.analysis import analyse
from lab.trace.bundle import Bundle
from lab.trace.spool_reader import SpoolReader
from nodes.base.events import FRAME, VERDICT
from tests.runs import BACKENDS

NETNS = [name for name, backends in BACKENDS.items() if "netns" in backends]
VIRTUAL_TOO = [name for name in NETNS if "sim" in BACKENDS[name]]

pytestmark = pytest.mark.requires("root")


def outcome_on(backend: str, name: str, directory: Path) -> Outcome:
    path = experiments.find(name)
    experiment = experiments.load(read_file(path), (), backend)
    return run(experiment, path.read_text(), directory, backend=backend, export=False)


def state_paths(run: Path) -> dict[tuple[str, int], list[str]]:
    """The states of every connection of the run, by node and number."""
    conversations = analyse(Bundle.open(run).spool).conversations
    return {
        (end.node, end.number): [change.new for change in end.states]
        for conversation in conversations
        for end in conversation.ends
        if end is not None
    }


def dropped_by_rule(run: Path) -> list[tuple[str, str, int, int]]:
    """Direction, rule, TCP flags and payload of what rules dropped, in order."""
    frames: dict[tuple[str, int], bytes] = {}
    dropped = []
    for event in SpoolReader(Bundle.open(run).spool, kinds=(FRAME, VERDICT)):
        place = str(event["link"]), int(event["frame"])
        if event.kind == FRAME:
            frames[place] = event.tail
        elif event["verdict"] == "DROPPED_RULE":
            view = FrameView(frames[place])
            flags = view.data[view.tcp + 13] if view.tcp >= 0 else 0
            dropped.append((place[0], str(event["rule"]), flags, view.payload_end - view.payload))
    return dropped


def test_there_are_experiments_for_it() -> None:
    assert len(VIRTUAL_TOO) >= 10


@pytest.mark.parametrize("name", VIRTUAL_TOO)
def test_as_in_virtual_time(name: str, tmp_path: Path) -> None:
    virtual = outcome_on("sim", name, tmp_path / "sim")
    real = outcome_on("netns", name, tmp_path / "netns")
    assert virtual.ok, "\n".join(virtual.lines())
    assert real.ok, "\n".join(real.lines())
    assert state_paths(tmp_path / "netns") == state_paths(tmp_path / "sim")
    assert dropped_by_rule(tmp_path / "netns") == dropped_by_rule(tmp_path / "sim")


@pytest.mark.parametrize("name", [name for name in NETNS if name not in VIRTUAL_TOO])
def test_only_for_real(name: str, tmp_path: Path) -> None:
    real = outcome_on("netns", name, tmp_path / "netns")
    assert real.ok, "\n".join(real.lines())

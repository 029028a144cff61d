"""The shipped experiments on every backend that they are for: the same verdicts, states and dropped packets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lab.backends.catalogue import REAL, SIM
from lab.links.frame import FrameView
from lab.trace.analysis import analyse
from lab.trace.bundle import Bundle
from lab.trace.spool_reader import SpoolReader
from nodes.base.events import FRAME, VERDICT
from tcplab.client import FailedPrecondition, InvalidArgument
from tests.contract.under import Under
from tests.runs import BACKENDS

#: Run in virtual time: what they come to.
Virtual = Callable[[Under, str], Path]


def passed(under: Under, name: str, backend: str) -> Path:
    """Run it, and see that every expectation holds; the run's directory. One that says of itself that it is not to be
    believed, because the machine was busy with something else, is made again."""
    run = under.controller.run(name, backend=backend)
    for _ in range(2):
        if not run.passed and run.message.fidelity.warnings:
            run = under.controller.run(name, backend=backend)
    verdicts = [f"{one.expectation}: {one.found}" for one in run.message.results if not one.passed]
    assert (run.state, run.message.error, verdicts) == ("PASSED", "", []), list(run.message.fidelity.warnings)
    assert run.message.backend == backend
    return Path(run.message.directory)


@pytest.fixture(scope="session")
def virtual() -> Virtual:
    """Each experiment is run once in virtual time."""
    found: dict[str, Path] = {}

    def run(under: Under, name: str) -> Path:
        if name not in found:
            found[name] = passed(under, name, SIM)
        return found[name]

    return run


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


def test_they_are_for_every_backend() -> None:
    for backend in REAL:
        assert sum(backend in backends and SIM in backends for backends in BACKENDS.values()) >= 10
    (kernel,) = [name for name, backends in BACKENDS.items() if SIM not in backends]
    assert set(BACKENDS[kernel]) == set(REAL)  # a transfer with the kernel's TCP


@pytest.mark.parametrize("name", BACKENDS)
def test_an_experiment_comes_to_the_same(under: Under, virtual: Virtual, name: str) -> None:
    if under.backend not in BACKENDS[name]:
        with pytest.raises((FailedPrecondition, InvalidArgument), match=BACKENDS[name][0]):
            under.controller.start_run(name, backend=under.backend)
        return
    here = passed(under, name, under.backend)
    if SIM in BACKENDS[name]:
        there = virtual(under, name)
        assert state_paths(here) == state_paths(there)
        assert dropped_by_rule(here) == dropped_by_rule(there)

"""Labs of the tests with programs on nodes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.backends.catalogue import make_lab
from lab.backends.real.lab import RealLab
from lab.topology.loader import topology_from_text
from nodes.base.events import LEVEL_STATES
from tests.netns.programs import Programs


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealLab]:
    """A netns lab of the topology that a module has as TEXT."""
    spool = tmp_path_factory.mktemp("lab") / "spool"
    lab = make_lab("netns", "programs", topology_from_text(request.module.TEXT), 1, spool, LEVEL_STATES, False)
    assert isinstance(lab, RealLab)
    try:
        yield lab
    finally:
        lab.close_lab()


@pytest.fixture
def programs(lab: RealLab) -> Iterator[Programs]:
    """Programs on its nodes, which end with the test."""
    programs = Programs(lab)
    try:
        yield programs
    finally:
        programs.end()

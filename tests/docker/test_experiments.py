"""The shipped experiments on containers: the verdicts, states and dropped packets that virtual time has."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docker.conftest import Docker
from tests.netns.test_experiments import dropped_by_rule, outcome_on, state_paths
from tests.runs import BACKENDS

DOCKER = [name for name, backends in BACKENDS.items() if "docker" in backends]
VIRTUAL_TOO = [name for name in DOCKER if "sim" in BACKENDS[name]]

pytestmark = pytest.mark.requires("root", "docker")


@pytest.fixture(autouse=True)
def here(docker: Docker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", docker.daemon.environment["DOCKER_HOST"])


def test_there_are_experiments_for_it() -> None:
    assert len(VIRTUAL_TOO) >= 10


@pytest.mark.parametrize("name", VIRTUAL_TOO)
def test_as_in_virtual_time(name: str, tmp_path: Path) -> None:
    virtual = outcome_on("sim", name, tmp_path / "sim")
    real = outcome_on("docker", name, tmp_path / "docker")
    assert virtual.ok, "\n".join(virtual.lines())
    assert real.ok, "\n".join(real.lines())
    assert state_paths(tmp_path / "docker") == state_paths(tmp_path / "sim")
    assert dropped_by_rule(tmp_path / "docker") == dropped_by_rule(tmp_path / "sim")


@pytest.mark.parametrize("name", [name for name in DOCKER if name not in VIRTUAL_TOO])
def test_only_for_real(name: str, tmp_path: Path) -> None:
    real = outcome_on("docker", name, tmp_path / "docker")
    assert real.ok, "\n".join(real.lines())

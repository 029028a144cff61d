"""One controller for the tests that do not start their own; none of the machine's is ever used."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import tcplab.client
from tcplab.client import Controller, Lab


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's controller is found by accident."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("TCPLAB_ADDRESS", raising=False)


@pytest.fixture(scope="session")
def controller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
    with Controller(private=True, runs=tmp_path_factory.mktemp("runs")) as controller:
        yield controller


@pytest.fixture
def pair(controller: Controller) -> Iterator[Lab]:
    """Two hosts on a link of 10 ms."""
    with tcplab.client.lab("pair", address=controller.address) as lab:
        yield lab

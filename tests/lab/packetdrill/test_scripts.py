"""Scripts that Linux runs too, with google/packetdrill: our stack does what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.packetdrill.runner import Outcome, Result, run_file

SCRIPTS = sorted((Path(__file__).parent / "scripts").glob("*.pkt"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_passes(path: Path) -> None:
    assert run_file(path) == Result(Outcome.PASSED)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_whatever_the_random_numbers(path: Path) -> None:
    assert [run_file(path, seed=seed).outcome for seed in range(2, 6)] == [Outcome.PASSED] * 4

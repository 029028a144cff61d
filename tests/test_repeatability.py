"""The promise of virtual time: one experiment and one seed give the same bytes, whoever runs it."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as parquet
import pytest

from tests.conftest import ROOT, interpreter
from tests.runs import SHIPPED, run_experiment

SECOND_SEED = "20261121"
PYTHONS = ("3.11", "3.12", "3.13")
THIS_PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"


def history(bundle: Path) -> dict[str, bytes]:
    """The bytes that must repeat: the spool and every capture."""
    files = [bundle / "events.spool", *sorted((bundle / "pcap").glob("*.pcapng"))]
    return {file.name: file.read_bytes() for file in files}


def rows(bundle: Path) -> dict[str, list[dict[str, object]]]:
    return {file.name: parquet.read_table(file).to_pylist() for file in sorted((bundle / "tables").glob("*.parquet"))}


@pytest.fixture(scope="session")
def runs_here(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The bundle of a shipped experiment, run once by this Python."""
    return functools.cache(lambda name: run_experiment(name, tmp_path_factory.mktemp("here") / name))


@pytest.mark.slow
@pytest.mark.parametrize("name", SHIPPED)
def test_pure_and_compiled_give_the_same_bytes_and_rows(
    name: str, runs_here: Callable[[str], Path], compiled: Path, tmp_path: Path
) -> None:
    first, second = runs_here(name), run_experiment(name, tmp_path / "2", place=compiled)
    assert history(first)["events.spool"]
    assert history(first) == history(second)
    assert rows(first) == rows(second)


def test_another_seed_gives_another_history(tmp_path: Path) -> None:
    first, second = (
        run_experiment("bulk-loss", tmp_path / "1"),
        run_experiment("bulk-loss", tmp_path / "2", "--seed", SECOND_SEED, check=False),
    )
    assert history(first)["events.spool"] != history(second)["events.spool"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "version", [pytest.param(v, marks=pytest.mark.requires(f"python{v}")) for v in PYTHONS if v != THIS_PYTHON]
)
def test_every_python_gives_the_same_bytes_and_rows(
    version: str, runs_here: Callable[[str], Path], tmp_path: Path
) -> None:
    python = interpreter(version)
    assert python is not None
    venv = ROOT / f".venv-{version}"
    subprocess.run([ROOT / "tools/setup", venv, python, "sim"], cwd=ROOT, check=True)
    for name in SHIPPED:
        here = runs_here(name)
        there = run_experiment(name, tmp_path / name, python=str(venv / "bin/python"))
        assert history(here) == history(there), name
        assert rows(here) == rows(there), name

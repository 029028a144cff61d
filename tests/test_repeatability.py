"""The promise of virtual time: one experiment and one seed give the same bytes, whoever runs it."""

from __future__ import annotations

import os
import subprocess
import sys
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


def run_all(directory: Path, python: str = sys.executable, place: Path | None = None) -> Path:
    """Run every shipped experiment with that Python, and the tcplab installed in `place` if that is given."""
    environment = {**os.environ, **({"PYTHONPATH": str(place)} if place else {})}
    command = [python, "-P", str(ROOT / "tests/every_experiment.py"), str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=directory, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return directory


@pytest.fixture(scope="session")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs of this Python, with this checkout."""
    return run_all(tmp_path_factory.mktemp("here"))


def assert_same(here: Path, there: Path) -> None:
    for name in SHIPPED:
        assert history(here / name)["events.spool"], name
        assert history(here / name) == history(there / name), name
        assert rows(here / name) == rows(there / name), name


@pytest.mark.slow
def test_pure_and_compiled_give_the_same_bytes_and_rows(here: Path, compiled: Path, tmp_path: Path) -> None:
    assert_same(here, run_all(tmp_path, place=compiled))


@pytest.mark.slow
def test_it_matters_not_what_ran_before_in_the_process(here: Path, tmp_path: Path) -> None:
    last = SHIPPED[-1]
    assert history(run_experiment(last, tmp_path / last)) == history(here / last)


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
def test_every_python_gives_the_same_bytes_and_rows(version: str, here: Path, tmp_path: Path) -> None:
    python = interpreter(version)
    assert python is not None
    venv = ROOT / f".venv-{version}"
    subprocess.run([ROOT / "tools/setup", venv, python, "sim"], cwd=ROOT, check=True)
    assert_same(here, run_all(tmp_path, python=str(venv / "bin/python")))

"""What the README tells people to type works as it stands there."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()


def block(language: str) -> str:
    """The first code block in a language."""
    found = re.search(rf"```{language}\n(.*?)```", README, re.DOTALL)
    assert found is not None
    return found[1]


def run(*command: str, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_first_experiment_passes(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(block("yaml"))
    tcplab = (sys.executable, "-m", "lab.cli.main")
    assert "All 2 expectations hold." in run(*tcplab, "run", "mine.yaml", cwd=tmp_path)
    shown = run(*tcplab, "show", "runs/mine-1-1", cwd=tmp_path)
    assert "dropped by rule lose-a-fin" in shown
    assert run(*tcplab, "plot", "runs/mine-1-1", cwd=tmp_path).count(".png") == 3


@pytest.mark.slow
def test_the_python_client_does_what_its_comments_say(tmp_path: Path) -> None:
    printed = run(sys.executable, "-c", block("python"), cwd=tmp_path).splitlines()
    assert 1.0 <= float(printed[0]) < 1.1  # RFC 6298 section 2.1: the first RTO is one second
    assert re.fullmatch("[0-9a-f]{64}", printed[1])
    assert any("accepted" in line.lower() for line in printed[2:])


def test_the_page_on_congestion_controls_works(tmp_path: Path) -> None:
    """Its file and its experiment, as they stand in docs/own-congestion-control.md."""
    page = (ROOT / "docs" / "own-congestion-control.md").read_text()
    blocks = [textwrap.dedent(one) for one in re.findall(r"(?:^    .*\n|^\n(?=\n*    ))+", page, re.MULTILINE)]
    python = next(one for one in blocks if "class Gentle" in one)
    experiment = next(one for one in blocks if "name: gentle" in one)
    (tmp_path / "gentle.py").write_text(python.lstrip())
    (tmp_path / "gentle.yaml").write_text(experiment.lstrip())
    printed = run(sys.executable, "-m", "lab.cli.main", "run", "gentle.yaml", cwd=tmp_path)
    assert "note" not in printed
    manifest = json.loads((tmp_path / "runs" / "gentle-1-1" / "manifest.json").read_text())
    assert manifest["congestion_controls"] == {"gentle.py": hashlib.sha256(python.lstrip().encode()).hexdigest()}

"""`tcplab doctor`, as a process: what it prints and how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]


def doctor(*options: str, path: str = "", **environment: str) -> tuple[int, str]:
    """Exit code and output; `path` comes before ours on Python's path."""
    done = subprocess.run(
        [sys.executable, "-m", "lab.cli.main", "doctor", *options],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path, **environment},
    )
    assert not done.stderr
    return done.returncode, done.stdout


def findings(section: str, *options: str, **settings: str) -> tuple[int, dict[str, Any]]:
    code, out = doctor("--json", *options, **settings)
    return code, {one["name"]: one for one in json.loads(out)[section]}


@pytest.mark.requires("root", "mn")
def test_mininet_is_there() -> None:
    assert findings("backends")[1]["mininet"]["present"]


@pytest.mark.requires("root")
def test_what_works_as_root() -> None:
    code, backends = findings("backends", DOCKER_HOST="unix:///nowhere.sock")
    assert code == 0
    assert all(backends[name]["present"] for name in ("sim", "netns", "netns for other users"))
    assert not backends["docker"]["present"] and "nowhere.sock" in backends["docker"]["text"]
    code, text = doctor()
    assert code == 0 and "Backends:" in text and "FAIL" not in text


def test_programs_that_are_missing_come_with_their_package() -> None:
    _, programs = findings("programs", PATH="/nowhere")
    assert programs["tshark"] == {
        "name": "tshark",
        "present": False,
        "text": "reading captures: apt-get install tshark",
        "needed": False,
    }


def test_another_package_of_our_name_is_told_of(tmp_path: Path) -> None:
    """A directory on the path, and a distribution that has put its files somewhere there."""
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab/__init__.py").write_text("")
    code, found = findings("installation", path=str(tmp_path))
    assert code == 1
    assert not found["package lab"]["present"] and str(tmp_path) in found["package lab"]["text"]
    assert found["package nodes"]["present"]
    info = tmp_path / "lab-9.9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lab\nVersion: 9.9\n")
    (info / "top_level.txt").write_text("lab\n")
    code, found = findings("installation", path=str(tmp_path))
    assert code == 1
    assert "pip uninstall lab" in found["package lab"]["text"]
    code, text = doctor(path=str(tmp_path))
    assert code == 1 and "FAIL package lab" in text


def test_a_missing_python_package_fails_its_backend(tmp_path: Path) -> None:
    """An interpreter whose pyroute2 cannot be found."""
    (tmp_path / "sitecustomize.py").write_text(
        "from importlib.machinery import PathFinder\n"
        "find = PathFinder.find_spec\n"
        "PathFinder.find_spec = lambda name, *where: None if name == 'pyroute2' else find(name, *where)\n"
    )
    code, out = doctor("--json", path=str(tmp_path))
    assert code == 1
    report = json.loads(out)
    assert not report["well"]
    backends = {one["name"]: one for one in report["backends"]}
    assert backends["sim"]["present"] and not backends["netns"]["present"]
    assert "pip install 'tcplab[netns]'" in backends["netns"]["text"]

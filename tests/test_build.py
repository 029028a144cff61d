"""Installing tcplab: compiled where there is a C compiler, else as pure Python, which says why."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

SOURCES = ("pyproject.toml", "setup.py", "README.md", "nodes", "lab", "tcplab", "topologies", "experiments", "tools")


def install(tree: Path, site: Path, **environment: str) -> str:
    """`pip install` a copy of this checkout into `site`; returns what it said."""
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        copy(ROOT / name, tree / name)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-cache-dir"]
    done = subprocess.run(
        [*pip, "install", "-v", "--no-deps", "--no-build-isolation", "--target", site, tree],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def build_of(site: Path) -> str:
    """What `tcplab version` says of the tcplab installed there."""
    command = [sys.executable, "-m", "lab.cli.main", "version", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run(command, env=environment, cwd=site, capture_output=True, text=True, check=True)
    build = json.loads(done.stdout)["build"]
    assert isinstance(build, str)
    return build


@pytest.mark.slow
@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"CC": "no-such-compiler"}, "there was no C compiler (no-such-compiler)"),
        ({"CC": "false"}, "the C compiler failed"),
        ({"TCPLAB_PURE": "1"}, "TCPLAB_PURE was set"),
    ],
)
def test_without_a_compiler_it_is_pure_and_says_so(environment: dict[str, str], reason: str, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    said = install(tmp_path / "tree", tmp_path / "site", **environment)
    assert f"tcplab is installed as pure Python: {reason}" in said
    assert build_of(tmp_path / "site").startswith(f"pure Python: {reason}")
    assert not list((tmp_path / "site" / "nodes").rglob("*.so"))


@pytest.mark.slow
def test_with_a_compiler_it_is_compiled(compiled: Path) -> None:
    assert build_of(compiled) == "compiled"


def test_a_checkout_is_pure() -> None:
    assert build_of(ROOT) == "pure Python: a checkout, or installed editable"

"""Running shipped experiments as a user does, for the whole-system tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from lab.experiments.spec import backends_of
from lab.shipped import shipped_files
from lab.spec import read_file

#: The shipped experiments by the backends they are for.
BACKENDS = {name: backends_of(read_file(path)) for name, path in shipped_files("experiments").items()}
#: Those that run in virtual time.
SHIPPED = [name for name, backends in BACKENDS.items() if "sim" in backends]


def run_experiment(
    name: str,
    out: Path,
    *options: str,
    python: str = sys.executable,
    check: bool = True,
    place: Path | None = None,
) -> Path:
    """`tcplab run NAME --out OUT` in a process of its own; returns the bundle. With `check`, it must pass.

    `place`: the tcplab that is installed in this directory.
    """
    command = [python, "-m", "lab.cli.main", "run", name, "--out", str(out), *options]
    environment = {**os.environ, **({"PYTHONPATH": str(place)} if place else {})}
    done = subprocess.run(command, capture_output=True, text=True, cwd=out.parent, env=environment)
    assert done.returncode == 0 or (not check and done.returncode == 1), done.stdout + done.stderr
    return out

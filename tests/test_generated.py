"""What is generated and committed (tcplab/v1, event.proto, cause.proto) is what its sources give today."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("proto/tcplab/v1", "tcplab/v1")


def files(root: Path) -> dict[str, bytes]:
    """Every file of both packages by path, caches and hand-written __init__.py excepted."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for package in PACKAGES
        for path in sorted((root / package).iterdir())
        if path.is_file() and path.name != "__init__.py"
    }


def test_generated_code_is_current(tmp_path: Path) -> None:
    """A fresh generation differs in no file, leaves none out and adds none. Fails? `make proto`, and commit."""
    plugins = str(Path(sys.executable).parent)  # protoc finds protoc-gen-mypy on PATH
    environment = {**os.environ, "PATH": f"{plugins}{os.pathsep}{os.environ.get('PATH', '')}"}
    done = subprocess.run(
        [sys.executable, "proto/generate.py", str(tmp_path)], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    fresh, committed = files(tmp_path), files(ROOT)
    assert fresh.keys() == committed.keys()
    assert [path for path in fresh if fresh[path] != committed[path]] == []

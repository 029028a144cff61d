"""What is generated and committed (tcplab/v1, {event,cause}.proto, tcplab/client/sync) is as its sources give it."""

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


def test_the_blocking_face_is_that_of_asyncio(tmp_path: Path) -> None:
    """tcplab/client/sync is tcplab/client/aio without await, rpc.py excepted. Fails? `python tools/sync_client.py`."""
    done = subprocess.run(
        [sys.executable, "tools/sync_client.py", str(tmp_path)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    sync = ROOT / "tcplab/client/sync"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        path.name for path in sync.glob("*.py") if path.name != "rpc.py"
    )
    assert [path.name for path in tmp_path.iterdir() if path.read_bytes() != (sync / path.name).read_bytes()] == []

"""What a lab process leaves when it is killed, and removing it. Its own processes, namespaces and interfaces the kernel
removes with it; what stays are its entry in the journal, its sockets, and its run, which is completed."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path

from lab.server.journal import Owned
from lab.trace.bundle import MANIFEST, Bundle
from nodes.base.errors import TcplabError


def bury(owned: Owned, why: str) -> None:
    """Remove what a process that has ended left. A lab that took calls has its run completed with `why`; one that was
    still being made has no run."""
    if owned.directory:
        if owned.control.exists():
            finish_run(Path(owned.directory), why)
        else:
            _remove_run(Path(owned.directory), owned.path.name)
    owned.remove()


def finish_run(directory: Path, why: str) -> None:
    """Have the manifest say how it ended, unless it does."""
    with contextlib.suppress(TcplabError, OSError):
        bundle = Bundle.open(directory)
        if "finished" not in bundle.manifest:
            bundle.finish(failure=why)


def _remove_run(directory: Path, owner: str) -> None:
    """Remove a run directory that this owner began and never finished; nothing else, whatever its name."""
    manifest = directory / MANIFEST
    try:
        found = json.loads(manifest.read_text("utf-8"))
        if found.get("owner") == owner and "finished" not in found:
            shutil.rmtree(directory, ignore_errors=True)
    except (OSError, ValueError):
        with contextlib.suppress(OSError):
            directory.rmdir()  # nothing is in it yet, or it is not ours

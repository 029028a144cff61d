"""What a lab process leaves when it is killed, and removing it. Its own processes, namespaces and interfaces the kernel
removes with it; what stays are its entry in the journal, its sockets, instances of the kernel's tracer, containers, and
its run, which is completed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

from lab.fabric.libc import open_filesystem
from lab.server.journal import Owned
from lab.trace.bundle import MANIFEST, Bundle
from nodes.base.errors import TcplabError
from nodes.base.processes import ended


def bury(owned: Owned, why: str) -> None:
    """Remove what a process that has ended left. A lab that took calls has its run completed with `why`; one that was
    still being made has no run."""
    if owned.directory:
        if owned.control.exists():
            finish_run(Path(owned.directory), why)
        else:
            _remove_run(Path(owned.directory), owned.path.name)
    owned.remove()
    remove_ended_instances()


def ended_instances() -> list[str]:
    """Instances of the kernel's tracer whose makers, by their names, have ended."""
    with _instances() as directory:
        if directory is None:
            return []
        return sorted(ended(os.listdir(directory), of_this_kernel=True))  # noqa: PTH208 - of a descriptor


def remove_ended_instances() -> None:
    """Remove them, where we may."""
    names = ended_instances()
    with _instances() as directory:
        for name in names:
            with contextlib.suppress(OSError):
                os.rmdir(name, dir_fd=directory)


def ended_containers() -> list[str]:
    """Names of containers whose makers, by their labels, have ended."""
    found = _containers()
    names: list[str] = found.ended_containers() if found is not None else []
    return names


def remove_ended_containers() -> None:
    """Remove them; it takes as long as Docker does."""
    found = _containers()
    if found is not None:
        found.remove_ended_containers()


def _containers() -> ModuleType | None:
    """What knows of containers, where there may be any."""
    if not os.environ.get("DOCKER_HOST") and not Path("/var/run/docker.sock").exists():
        return None
    try:
        return import_module("lab.backends.docker.leftovers")
    except ModuleNotFoundError:
        return None


@contextlib.contextmanager
def _instances() -> Iterator[int | None]:
    """The directory of the tracer's instances; None where there is none for us."""
    try:
        root = open_filesystem("tracefs")
    except (OSError, AttributeError):
        yield None
        return
    try:
        directory = os.open("instances", os.O_RDONLY | os.O_DIRECTORY, dir_fd=root)
    except OSError:
        yield None
        return
    finally:
        os.close(root)
    try:
        yield directory
    finally:
        os.close(directory)


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

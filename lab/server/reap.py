"""`tcplab reap`: removes what controllers and labs that were killed have left, and nothing else.

What is ours is told by the journal: a process by its number and its start, never by its name; a directory by the
process in its name. What a living controller holds stays.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket as sockets
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab.server import line as lines
from lab.server.claim import serves
from lab.server.journal import Owned, owned_in
from lab.server.leftovers import (
    bury,
    ended_containers,
    ended_instances,
    remove_ended_containers,
    remove_ended_instances,
)
from nodes.base.processes import ended, owned_name
from tcplab.client.process import SOCKET

#: A lab that is asked to end has so long to complete its run, wall seconds; then it is killed.
_END_WITHIN_S: Final = 10.0
_GONE_WITHIN_MS: Final = 10_000
#: A socket's path has at most 107 bytes on Linux, 103 on macOS; so much is left for the directory.
_MAX_PRIVATE: Final = 93


@dataclass(frozen=True)
class Found:
    """Something of ours. `what` is lab, leftovers, directory, container, socket ...; `why` it is removed, or stays
    (`stays`)."""

    what: str
    name: str
    path: str
    pid: int
    why: str
    stays: bool = False


def reap(state: Path, socket: Path, dry_run: bool = False) -> list[Found]:
    """Remove what nobody holds; what was found, in order. With `dry_run` only look. `socket` is that of a controller
    which may have left no more than that."""
    found = []
    sockets_named = {str(socket.absolute())}
    for owned in owned_in(state):
        one = _judge(owned)
        found.append(one)
        if owned.controller:
            sockets_named.add(owned.controller)
        if not dry_run and not one.stays:
            _remove(owned)
    for path in ended_directories():
        found.append(Found("directory", path.name, str(path), 0, "its controller has ended"))
        if not dry_run:
            shutil.rmtree(path, ignore_errors=True)
    for instance in ended_instances():
        found.append(Found("tracefs instance", instance, instance, 0, "its process has ended"))
    for container in ended_containers():
        found.append(Found("container", container, container, 0, "its lab's process has ended"))
    if not dry_run:
        remove_ended_instances()
        remove_ended_containers()
    for name in sorted(sockets_named):
        if _is_stale(Path(name)):
            found.append(Found("socket", Path(name).name, name, 0, "nobody serves there"))
            if not dry_run:
                Path(name).unlink(missing_ok=True)
    return found


def _judge(owned: Owned) -> Found:
    def say(what: str, why: str, stays: bool = False) -> Found:
        return Found(what, owned.lab or owned.path.name, str(owned.path), owned.process.pid, why, stays)

    if owned.process.elsewhere:
        return say("lab", "it is of another pid namespace, as of a container, or machine: reap it there", stays=True)
    if not owned.process.running:
        return say("leftovers", "its process has ended")
    if not owned.controller:
        return say("lab", "it is being made, or its journal cannot be read", stays=True)
    if serves(Path(owned.controller)):
        return say("lab", f"the controller at {owned.controller} holds it: tcplab down", stays=True)
    return say("lab", "its controller has ended")


def _remove(owned: Owned) -> None:
    if owned.process.running and not _end(owned):
        owned.process.kill()
        owned.process.wait(_GONE_WITHIN_MS)
    bury(owned, "removed by tcplab reap")


def _end(owned: Owned) -> bool:
    """Have a lab end in order; whether it did."""
    with sockets.socket(sockets.AF_UNIX) as line:
        line.settimeout(_END_WITHIN_S)
        try:
            line.connect(str(owned.control))
            lines.send(line, {"end": True, "export": False})
            while lines.receive(line) is not None:
                pass
        except OSError:
            return False
    return owned.process.wait(_GONE_WITHIN_MS)


def make_private_directory() -> Path:
    """A directory for the calling process alone, whose name tells whose it is."""
    prefix = f"{owned_name()}-"
    path = Path(tempfile.mkdtemp(prefix=prefix))
    if len(os.fsencode(path)) > _MAX_PRIVATE:
        path.rmdir()
        path = Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))
    return path


def ended_directories() -> list[Path]:
    """Private directories of this user whose processes have ended, but for those of clients that left their controller
    to a process they had forked."""
    found = []
    for parent in {Path(tempfile.gettempdir()), Path("/tmp")}:
        for name in ended(path.name for path in parent.iterdir()):
            with contextlib.suppress(OSError):
                info = (parent / name).lstat()
                ours = stat.S_ISDIR(info.st_mode) and info.st_uid == os.geteuid()
                if ours and not serves(parent / name / SOCKET):
                    found.append(parent / name)
    return sorted(found)


def _is_stale(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(path.lstat().st_mode) and not serves(path)
    except OSError:
        return False

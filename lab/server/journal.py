"""The journal of what real-time labs own, in the state directory of a user: one directory for each lab process.

    <pid>-<start>/journal.json   whose it is, written before anything is made and never changed
    <pid>-<start>/c              socket where a controller gets hold of the lab; there since the lab takes calls
    <pid>-<start>/a              socket where the lab serves the API
    <pid>-<start>/log            what its processes printed on standard error

The name of the directory already tells the process, so that it can be removed whatever was killed when. What a lab has
in the kernel are descriptors of its processes, which end with it: only what does not is listed in the journal.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from nodes.base.errors import FailedPrecondition
from nodes.base.processes import Process, machine
from tcplab.client.address import default_socket

#: Longest path of a socket (unix(7), sun_path).
_MAX_PATH: Final = 107
_JOURNAL: Final = "journal.json"
_NAME: Final = re.compile(r"([1-9][0-9]*)-([0-9]+)")
#: Of the log, so much is looked at for its last line.
_TAIL: Final = 4096


def default_state() -> Path:
    """Where a user's journal is when no other place is named: beside the default socket."""
    return default_socket().parent / "labs"


@dataclass(frozen=True)
class Owned:
    """What one lab process owns. `controller` is the socket of the controller that made it; `keep`: whether it goes on
    without one. `run` and `directory` are its run's."""

    path: Path
    process: Process
    lab: str = ""
    run: str = ""
    directory: str = ""
    controller: str = ""
    keep: bool = False
    started: float = field(default_factory=time.time)

    @property
    def control(self) -> Path:
        return self.path / "c"

    @property
    def api(self) -> Path:
        return self.path / "a"

    @property
    def log(self) -> Path:
        return self.path / "log"

    @property
    def last_words(self) -> str:
        """The last line of the log."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
                text = file.read().decode("utf-8", "replace")
        except OSError:
            return ""
        return text.strip().rpartition("\n")[2][:500]

    def write(self) -> None:
        """Make the directory with its journal, for the calling process."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.path)  # of a process that had our number before the machine was started again
        self.path.mkdir(mode=0o700)
        content: dict[str, Any] = {**asdict(self), "path": None}
        temporary = self.path / (_JOURNAL + ".new")
        temporary.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
        temporary.replace(self.path / _JOURNAL)

    def remove(self) -> None:
        """Remove the directory. Idempotent; for a process that has ended, or the calling one."""
        shutil.rmtree(self.path, ignore_errors=True)


_FACTS: Final = tuple(one.name for one in fields(Owned) if one.name not in ("path", "process"))


def claim(state: Path, **facts: Any) -> Owned:
    """The calling process's entry, written. `facts` are fields of Owned."""
    process = Process.current()
    owned = Owned(state.absolute() / f"{process.pid}-{process.start}", process, **facts)
    if len(os.fsencode(owned.api)) > _MAX_PATH:
        raise FailedPrecondition(
            f"the journal in {state} is too deep: a socket's path has {_MAX_PATH} bytes; serve with a shorter --state"
        )
    try:
        owned.write()
    except OSError as error:
        raise FailedPrecondition(
            f"the journal in {state} cannot be written ({error.strerror}); serve with another --state"
        ) from None
    return owned


def owned_in(state: Path) -> Iterator[Owned]:
    """What is owned by lab processes that are there or were, oldest first. Raises FailedPrecondition."""
    found = []
    try:
        for path in state.absolute().iterdir():
            match = _NAME.fullmatch(path.name)
            if match is not None and path.is_dir() and not path.is_symlink():
                found.append(_read(path, Process(int(match[1]), int(match[2]), machine())))
    except FileNotFoundError:
        pass
    except OSError as error:
        raise FailedPrecondition(
            f"the journal in {state} cannot be read ({error.strerror}); give another --state"
        ) from None
    return iter(sorted(found, key=lambda one: (one.started, one.path.name)))


def owned_by(state: Path, pid: int) -> Owned | None:
    """What a process of this machine and pid namespace owns, or the last that had its number did."""
    found = [one for one in owned_in(state) if one.process.pid == pid and one.process.machine == machine()]
    return max(found, key=lambda one: one.process.start, default=None)


def _read(path: Path, named: Process) -> Owned:
    try:
        content = json.loads((path / _JOURNAL).read_text("utf-8"))
        process = Process(**content.pop("process"))
        known = {name: content[name] for name in _FACTS if name in content}  # another version may have said more
        found = Owned(**known, path=path, process=process)
        usual = Owned(path, named)
        if not all(isinstance(getattr(found, name), type(getattr(usual, name))) for name in known):
            raise TypeError
        return found
    except (OSError, ValueError, TypeError, KeyError, AttributeError):  # killed before the journal was there
        with contextlib.suppress(OSError):
            return Owned(path, named, started=path.stat().st_mtime)
        return Owned(path, named)

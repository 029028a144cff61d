"""Topologies that Mininet's command `mn` would take, `--custom FILE --topo NAME,ARGUMENTS`, as descriptions of ours.

A custom file is somebody's program: it runs in a process of its own, where what it prints goes to standard error.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from nodes.base.errors import InvalidArgument, NotFound, TcplabError, Unsupported

_IN_PROCESS: Final = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from lab.backends.mininet.read_topo import tell
tell(*sys.argv[2:])
"""
_ERRORS: Final = {one.__name__: one for one in (InvalidArgument, NotFound, Unsupported)}


def read_topo(topo: str, custom: str = "") -> tuple[dict[str, Any], list[str]]:
    """What a topology file would say for `tree,2,3`, or for a name of the Python files `custom` (several with commas):
    an entry of their `topos`, or a class. And lines about what has no counterpart.

    Raises InvalidArgument, NotFound, and Unsupported without Mininet.
    """
    read, write = os.pipe()
    command = [sys.executable, "-c", _IN_PROCESS, json.dumps(sys.path), str(write), topo, custom]
    try:
        with subprocess.Popen(command, stdout=sys.stderr.fileno(), pass_fds=(write,)) as process:
            os.close(write)
            write = -1
            with open(read, "rb") as pipe:  # noqa: PTH123
                answer = pipe.read()
    finally:
        if write >= 0:
            os.close(write)
    if not answer:
        raise InvalidArgument(f"{custom or topo}: its program ended with exit code {process.returncode}", "topo")
    said = json.loads(answer)
    if "error" in said:
        raise _ERRORS.get(said["class"], InvalidArgument)(said["error"])
    return said["topology"], said["report"]


def tell(pipe: str, topo: str, custom: str) -> None:
    """Read it here, and say what was found on a pipe."""
    from lab.backends.mininet.topo import Report, describe

    report = Report()
    try:
        name, made = _make(topo, custom)
        answer: dict[str, Any] = {"topology": describe(made, name, report), "report": report.lines}
    except TcplabError as error:
        answer = {"class": type(error).__name__, "error": str(error)}
    except Exception as error:  # whatever somebody's program raises
        answer = {"class": "InvalidArgument", "error": f"{custom or topo}: {type(error).__name__}: {error}"}
    with open(int(pipe), "w") as file:  # noqa: PTH123
        json.dump(answer, file)


def _make(text: str, custom: str) -> tuple[str, Any]:
    """The name and the Topo object. Raises NotFound."""
    from lab.backends.mininet.library import TOPOS, Topo

    known: dict[str, Any] = dict(TOPOS)
    for path in _files(custom):
        found = _run(path)
        known |= {
            name: one
            for name, one in found.items()
            if isinstance(one, type) and issubclass(one, Topo) and one is not Topo
        }
        known |= found.get("topos") or {}
    name, *words = text.split(",")
    if name not in known:
        raise NotFound(f"topo: there is no {name!r}; there are {', '.join(known)}")
    arguments = [_value(word) for word in words if "=" not in word]
    named = {key: _value(value) for key, _, value in (word.partition("=") for word in words if "=" in word)}
    return "".join(one if one.isalnum() else "-" for one in name), known[name](*arguments, **named)


def _files(custom: str) -> list[Path]:
    if not custom:
        return []
    paths = [Path(custom)] if Path(custom).is_file() else [Path(one) for one in custom.split(",")]
    for path in paths:
        if not path.is_file():
            raise NotFound(f"custom: there is no file {path}")
    return paths


def _run(path: Path) -> dict[str, Any]:
    """The names of a file, as `mn` runs it: it is not the main program."""
    sys.path.insert(0, str(path.absolute().parent))
    names: dict[str, Any] = {"__file__": str(path), "__name__": "custom"}
    exec(compile(path.read_bytes(), str(path), "exec"), names)
    return names


def _value(text: str) -> int | float | str:
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text

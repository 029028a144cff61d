"""Addresses and routes of a host of somebody's Mininet program: its own ifconfig, ip and route change them.

Beside such a host is its keeper (lab/backends/mininet/keeper.py), which listens in the host's namespace. On a node of a
lab there is none: the lab says what its addresses and routes are.
"""

from __future__ import annotations

import _socket
import os
import sys
from collections.abc import Sequence

from nodes.shims import DIRECTORY

#: Programs that the keeper is asked about.
PROGRAMS = ("ifconfig", "ip", "route")
DOOR = "\0tcplab-keeper"
_LONGEST = 1 << 16


def configure(name: str, argv: Sequence[str]) -> int | None:
    """Have the keeper do it; the exit code. None: there is no keeper, or it is only to be looked at."""
    door = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    try:
        door.connect(DOOR)
        import json  # slow to load, and mostly there is no keeper

        door.send(json.dumps([name, *argv]).encode())
        answer = json.loads(door.recv(_LONGEST))
    except (OSError, ValueError):
        return None
    finally:
        door.close()
    if answer["kernel"]:
        _run_the_kernels(name, argv)
    if not answer["handled"]:
        return None
    sys.stderr.write(answer["err"])
    return int(answer["code"])


def _run_the_kernels(name: str, argv: Sequence[str]) -> None:
    """Be the program of that name that comes after ours in PATH: the interface itself is the kernel's."""
    for place in os.environ.get("PATH", os.defpath).split(":"):
        path = os.path.join(place, name)
        if place != DIRECTORY and os.access(path, os.X_OK):
            os.execv(path, [name, *argv])

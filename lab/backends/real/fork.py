"""Makes the member processes of a lab: by fork, of a process that has everything loaded and no threads."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Iterable
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


def fork_member(main: Callable[[socket.socket], None], others: Iterable[socket.socket]) -> tuple[int, socket.socket]:
    """Fork a process that runs `main(line)`. Returns its process id and our end of the line.

    It dies with this process, whatever kills that; `others`, our ends of other lines, are closed in it.
    """
    ours, theirs = socket.socketpair()
    parent = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        theirs.close()
        return pid, ours
    status = 1
    try:
        die_with(parent)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        ours.close()
        for other in others:
            other.close()
        main(theirs)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stderr.flush()
        os._exit(status)


def die_with(parent: int) -> None:
    """Have the kernel kill this process when the thread that forked it ends (prctl PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def how_it_ended(status: int) -> str:
    """A wait status in words."""
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        return f"its process was killed by {signal.Signals(-code).name}"
    return f"its process ended with exit code {code}"

"""Where processes of labs and runs come from: one that has imported everything and never started gRPC or a thread.

The controller makes it before it starts anything itself, and asks it over a socket; a fork takes a few milliseconds.
Each child has a line of its own to the controller, a socket: the end of it means to either side that the other is gone.
When the controller is gone the nursery ends what is left and removes `directory`, where the sockets are. Children that
were asked for with `keep` it leaves alone: they know themselves what to do then.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import shutil
import signal
import socket
import struct
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Final

from nodes.base import garbage

#: From the nursery: the process id of a new child, or of one that has ended with its wait status; or the error number
#: for which there is no new one.
BORN: Final = 1
ENDED: Final = 2
FAILED: Final = 3
REPORT: Final = struct.Struct("<iii")

#: What is to become of a child when the controller is gone.
_KEEP: Final = b"k"
_END: Final = b"e"
#: Children get so long to end by themselves once the controller is gone, wall seconds.
_PATIENCE: Final = 5.0

Main = Callable[[socket.socket], None]


def start(main: Main, directory: Path) -> tuple[int, socket.socket]:
    """Fork the nursery; its children will run `main(line)`. Returns its process id and the socket to it.

    To be called before this process has threads.
    """
    ours, theirs = socket.socketpair()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        theirs.close()
        return pid, ours
    status = 1
    try:
        ours.close()
        _serve(theirs, main, directory)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def ask(nursery: socket.socket, line: socket.socket, errors: int, keep: bool = False) -> None:
    """Ask for a child that has `line` and whose standard error is the descriptor `errors`; BORN or FAILED
    answers."""
    socket.send_fds(nursery, [_KEEP if keep else _END], [line.fileno(), errors])


def _serve(control: socket.socket, main: Main, directory: Path) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    os.close(nothing)
    garbage.settle()
    wake, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    children: set[int] = set()
    kept: set[int] = set()
    poll = select.poll()
    poll.register(wake, select.POLLIN)
    poll.register(control, select.POLLIN)
    while True:
        ready = {descriptor for descriptor, _ in poll.poll()}
        if wake in ready:
            os.read(wake, 4096)
            _reap(children, control)
            kept &= children
        if control.fileno() in ready:
            try:
                asked, descriptors, _, _ = socket.recv_fds(control, 1, 2)
            except ConnectionResetError:  # it was killed before it read all of our reports
                break
            if not asked:
                break
            try:
                if len(descriptors) < 2:  # there was no room for both
                    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
                pid = os.fork()
            except OSError as error:
                _close(descriptors)
                _report(control, FAILED, 0, error.errno or 0)
                continue
            if pid == 0:
                signal.set_wakeup_fd(-1)
                for descriptor in (wake, woken):
                    os.close(descriptor)
                control.close()
                _be_child(main, *descriptors)
            _close(descriptors)
            children.add(pid)
            if asked == _KEEP:
                kept.add(pid)
            _report(control, BORN, pid, 0)
    _end(children - kept)
    shutil.rmtree(directory, ignore_errors=True)


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _be_child(main: Main, line: int, errors: int) -> None:
    status = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.dup2(errors, 2)
        os.close(errors)
        with socket.socket(fileno=line) as connection:
            main(connection)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def _reap(children: set[int], control: socket.socket) -> None:
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        children.discard(pid)
        _report(control, ENDED, pid, status)


def _report(control: socket.socket, what: int, pid: int, status: int) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # its end is seen by the next recv
        control.sendall(REPORT.pack(what, pid, status))


def _end(children: set[int]) -> None:
    """Children see the end of their lines too and end by themselves; those that do not in time are killed."""
    deadline = time.monotonic() + _PATIENCE
    while children:
        with contextlib.suppress(ChildProcessError):
            pid, _ = os.waitpid(-1, os.WNOHANG)
            if pid:
                children.discard(pid)
                continue
        if time.monotonic() > deadline:
            for pid in children:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            deadline += _PATIENCE
        select.select([], [], [], 0.01)

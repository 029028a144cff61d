"""A controller's place on its unix socket: taken when nobody serves there, and given back if it is still ours."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from nodes.base.errors import FailedPrecondition, InvalidArgument, NotFound
from tcplab.client.address import default_socket

#: A path of a unix socket has at most 107 bytes on Linux, 103 on macOS.
_MAX_PATH: Final = 103
#: Whoever has not taken a connection after so long, wall seconds, is there and has much to do.
_ANSWERS_WITHIN_S: Final = 10.0


def check_path(path: Path) -> None:
    """Raises InvalidArgument for a path that no socket can have."""
    for one in (path.absolute(), _unnamed(path)):
        if len(os.fsencode(one)) > _MAX_PATH:
            raise InvalidArgument(f"{one}: longer than the {_MAX_PATH} bytes of a socket's path", "socket")


def serves(path: Path) -> bool:
    """Whether somebody serves on a socket, whoever that is, and whether or not they would talk to us."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_ANSWERS_WITHIN_S)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError, NotADirectoryError):
            return False
        except OSError:  # it is of another type, not for us, or slow
            return True
    return True


def claim(path: Path) -> None:
    """Make the socket's directory; a socket that nobody serves any more goes away. Raises NotFound, and
    FailedPrecondition when somebody serves there."""
    if path.parent == default_socket().parent:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    elif not path.parent.is_dir():
        raise NotFound(f"{path.parent}: no such directory for the socket")
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FailedPrecondition(f"{path}: is there and is no socket; give another --socket")
    if serves(path):
        raise FailedPrecondition(f"{path}: a controller serves there already; use it, or give another --socket")
    path.unlink(missing_ok=True)


@contextlib.contextmanager
def held(path: Path, bind: Callable[[str], None]) -> Iterator[None]:
    """A socket for this user alone that `bind(address)` makes, at `path` meanwhile. Raises as `claim` does.

    It gets its name when it is there: gRPC would take the place of whoever is there, and when it ends remove whatever
    has the name it was given.
    """
    unnamed = _unnamed(path)
    before = os.umask(0o177)
    try:
        bind(f"unix:{unnamed}")
    finally:
        os.umask(before)
    try:
        claim(path)
        unnamed.rename(path)
    except BaseException:
        unnamed.unlink(missing_ok=True)
        raise
    ours = _identity(path)
    try:
        yield
    finally:
        if _identity(path) == ours:
            path.unlink(missing_ok=True)


def _unnamed(path: Path) -> Path:
    return path.absolute().parent / f".{os.getpid()}"


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        info = path.lstat()
    except OSError:
        return None
    return info.st_dev, info.st_ino

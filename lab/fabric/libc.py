"""System calls that Python 3.11's os module has not."""

from __future__ import annotations

import ctypes
import os
import struct
from typing import Final

CLONE_FS: Final = 0x00000200
CLONE_NEWNS: Final = 0x00020000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000

#: Flags of mount(2).
MS_NOSUID: Final = 2
MS_NODEV: Final = 4
MS_NOEXEC: Final = 8
MS_REC: Final = 16384
MS_SLAVE: Final = 1 << 19

_LIBC: Final = ctypes.CDLL(None, use_errno=True)

_PR_SET_DUMPABLE: Final = 4

#: System calls since Linux 5.2 have the same number everywhere.
_FSOPEN: Final = 430
_FSCONFIG: Final = 431
_FSMOUNT: Final = 432
_OPENAT2: Final = 437
_CLOEXEC: Final = 1
_CONFIG_CREATE: Final = 6
_RESOLVE_IN_ROOT: Final = 0x10
#: struct open_how: flags, mode, resolve.
_OPEN_HOW: Final = struct.Struct("=QQQ")


def unshare(flags: int) -> None:
    """Give the calling thread namespaces of its own. Raises OSError."""
    _call("unshare", flags)


def setns(descriptor: int, kind: int) -> None:
    """Move the calling thread to a namespace. Raises OSError."""
    _call("setns", descriptor, kind)


def mount(source: str, target: str, kind: str, flags: int) -> None:
    """Mount a file system, or change a mount. Raises OSError."""
    _call("mount", source.encode(), target.encode(), kind.encode(), flags, None)


def set_dumpable() -> None:
    """Have the calling process own what is in its /proc/self; a process that has changed its user does not."""
    _call("prctl", _PR_SET_DUMPABLE, 1, 0, 0, 0)


def open_filesystem(kind: str) -> int:
    """A descriptor of a file system's root, such as `tracefs`, mounted nowhere. Raises OSError."""
    context = _call("syscall", _FSOPEN, kind.encode(), _CLOEXEC)
    try:
        _call("syscall", _FSCONFIG, context, _CONFIG_CREATE, None, None, 0)
        return _call("syscall", _FSMOUNT, context, _CLOEXEC, 0)
    finally:
        os.close(context)


def open_in_root(root: int, path: str, flags: int) -> int:
    """open(2) as a process does whose root directory is `root`, a descriptor. Raises OSError."""
    how = _OPEN_HOW.pack(flags, 0, _RESOLVE_IN_ROOT)
    return _call("syscall", _OPENAT2, root, path.encode(), how, len(how))


def _call(name: str, *arguments: object) -> int:
    found: int = getattr(_LIBC, name)(*arguments)
    if found < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return found

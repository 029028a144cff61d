"""System calls that Python 3.11's os module has not."""

from __future__ import annotations

import ctypes
import os
from typing import Final

CLONE_NEWNET: Final = 0x40000000
CLONE_NEWUSER: Final = 0x10000000


def unshare(flags: int) -> None:
    """Give the calling thread namespaces of its own. Raises OSError."""
    _call("unshare", flags)


def setns(descriptor: int, kind: int) -> None:
    """Move the calling thread to a namespace. Raises OSError."""
    _call("setns", descriptor, kind)


def _call(name: str, *arguments: int) -> None:
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments):
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")

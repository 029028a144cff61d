"""Socket options as programs give them to setsockopt(2), and the names our TCP has for them."""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from typing import Final

from nodes.tcp.options import NAMES

_LINGER: Final = struct.Struct("ii")

#: (level, option) -> name in `nodes.tcp.options`, for all this platform has a number for.
NAME_OF: Final[dict[tuple[int, int], str]] = {
    (socket.SOL_SOCKET if name.startswith("SO_") else socket.IPPROTO_TCP, getattr(socket, name)): name
    for name in NAMES
    if hasattr(socket, name)
}


def decode(name: str, value: int | bytes | bytearray | memoryview) -> object:
    """What setsockopt was given, as our option has it. Raises OSError EINVAL."""
    if name == "TCP_CONGESTION":
        return value if isinstance(value, int) else bytes(value).rstrip(b"\0").decode(errors="replace")
    if name == "SO_LINGER":
        if isinstance(value, int) or len(value) < _LINGER.size:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        on, seconds = _LINGER.unpack_from(value)
        return seconds if on else -1
    return value if isinstance(value, int) else int.from_bytes(bytes(value)[:4], sys.byteorder, signed=True)


def encode(name: str, value: int | str) -> int | bytes:
    """One of our options as getsockopt gives it: an int where it is one."""
    if name == "SO_LINGER":
        return _LINGER.pack(int(int(value) >= 0), max(int(value), 0))
    return value.encode() + b"\0" if isinstance(value, str) else value

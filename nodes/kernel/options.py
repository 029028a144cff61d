"""Socket options of the kernel by name (socket(7), tcp(7), ip(7)): every int option that Python's `socket` names, and
those of Fast Open."""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping
from typing import Final

from nodes.base.errors import InvalidArgument
from nodes.kernel.failures import socket_error
from nodes.sockets.options import LEVELS, UNNAMED

_LINGER: Final = struct.Struct("=ii")
_TEXT: Final = "TCP_CONGESTION"
_NOT_INTS: Final = frozenset(
    {"TCP_INFO", "TCP_MD5SIG", "TCP_FASTOPEN_KEY", "SO_BINDTODEVICE", "SO_PEERCRED", "SO_RCVTIMEO", "SO_SNDTIMEO"}
)


def set_option(one: socket.socket, name: str, value: object) -> None:
    """Set an option. SO_LINGER is seconds, -1: off. Raises InvalidArgument, SocketError for what the kernel refuses."""
    level, number = _find(name)
    try:
        if name == _TEXT:
            one.setsockopt(level, number, str(value).encode())
            return
        wanted = _int(name, value)
        if name == "SO_LINGER":
            one.setsockopt(level, number, _LINGER.pack(int(wanted >= 0), max(wanted, 0)))
        else:
            one.setsockopt(level, number, wanted)
    except OSError as error:
        raise InvalidArgument(f"{name}: the kernel does not take {value!r}: {error.strerror}", name) from None


def set_options(one: socket.socket, options: Mapping[str, object] | None) -> None:
    """Set them all."""
    for name, value in (options or {}).items():
        set_option(one, name, value)


def get_option(one: socket.socket, name: str) -> int | str:
    """An option's value, as the kernel says it: SO_RCVBUF and SO_SNDBUF are twice what was set."""
    level, number = _find(name)
    try:
        if name == _TEXT:
            return one.getsockopt(level, number, 16).rstrip(b"\0").decode()
        if name == "SO_LINGER":
            on, seconds = _LINGER.unpack(one.getsockopt(level, number, _LINGER.size))
            return int(seconds) if on else -1
        return one.getsockopt(level, number)
    except OSError as error:
        raise socket_error(error) from None


def _find(name: str) -> tuple[int, int]:
    level = LEVELS.get(name.partition("_")[0])
    number = getattr(socket, name, UNNAMED.get(name)) if level is not None and name not in _NOT_INTS else None
    if level is None or not isinstance(number, int):
        raise InvalidArgument(f"{name}: no such option; there are those of socket(7), tcp(7) and ip(7)", name)
    return level, int(number)


def _int(name: str, value: object) -> int:
    text = str(int(value)) if isinstance(value, int) else str(value).strip()
    if not text.removeprefix("-").isdecimal() or not -(2**31) <= int(text) < 2**31:
        raise InvalidArgument(f"{name}: {value!r} is not allowed; an integer is", name)
    return int(text)

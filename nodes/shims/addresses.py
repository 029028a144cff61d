"""Addresses of the node's sockets: as programs give them, and as they stand before each datagram on its descriptor."""

from __future__ import annotations

import _socket
import socket
from typing import Any, Final

#: Host and port as programs have them; of IPv6 with flow label and scope, which are 0 here.
Address = tuple[str, int] | tuple[str, int, int, int]

#: Any address, by family.
ANY: Final = {int(socket.AF_INET): "0.0.0.0", int(socket.AF_INET6): "::"}
_LOOPBACK: Final = {int(socket.AF_INET): "127.0.0.1", int(socket.AF_INET6): "::1"}
#: Length of an address and a port before a datagram, by family.
HEADER_LEN: Final = {int(socket.AF_INET): 6, int(socket.AF_INET6): 18}
_PAIR: Final = "AF_INET address must be a pair (host, port)"
_TUPLE: Final = "AF_INET6 address must be a tuple (host, port[, flowinfo[, scopeid]])"


def given(family: int, address: Any, call: str) -> tuple[str, int]:
    """Host, in numbers, and port of what a program gave to `call`. Raises what `socket` would, gaierror too."""
    six = family == socket.AF_INET6
    if not isinstance(address, tuple):
        raise TypeError(f"{call}(): AF_INET{'6' * six} address must be tuple, not {type(address).__name__}")
    if len(address) not in ((2, 3, 4) if six else (2,)):
        raise TypeError(_TUPLE if six else _PAIR)
    host, port = address[:2]
    if not isinstance(port, int):
        raise TypeError(f"'{type(port).__name__}' object cannot be interpreted as an integer")
    if not 0 <= port <= 65535:
        raise OverflowError(f"{call}(): port must be 0-65535.")
    if host in ("", ANY[family]):
        return ANY[family], port
    if six:
        return str(socket.getaddrinfo(host, 0, socket.AF_INET6, socket.SOCK_DGRAM)[0][4][0]), port
    if host == "<broadcast>":
        return "255.255.255.255", port
    return socket.gethostbyname(host), port


def reached(family: int, host: str, port: int) -> tuple[str, int]:
    """Who is meant by an address to send to: any is this host."""
    return (_LOOPBACK[family] if host == ANY[family] else host), port


def header(family: int, host: str, port: int) -> bytes:
    """What stands before a datagram: the address it goes to."""
    return _socket.inet_pton(family, host) + port.to_bytes(2, "big")


def read_header(family: int, message: bytes | bytearray) -> tuple[str, int]:
    """The address a datagram came from; any and an errno: it is an ICMP error."""
    end = HEADER_LEN[family]
    return _socket.inet_ntop(family, message[: end - 2]), int.from_bytes(message[end - 2 : end], "big")

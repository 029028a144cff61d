"""The two families of addresses in programs that use sockets: -4, -6, and what a host means then."""

from __future__ import annotations

import socket
from typing import Any

from nodes.shims.flags import Options


def use(given: Options) -> None:
    """Have `socket` be over the node's stack; with -4 or -6 names have no address of the other family."""
    from nodes.shims.replace import replace

    replace(socket.AF_INET6 if given.ipv6 else socket.AF_INET if given.ipv4 else 0)


def to(host: str, port: int, kind: int = socket.SOCK_STREAM) -> tuple[int, Any]:
    """Family and address of who is to be reached. Raises socket.gaierror."""
    found = socket.getaddrinfo(host, port, 0, kind)[0]
    return found[0], found[4]


def here(host: str, port: int, kind: int = socket.SOCK_STREAM) -> tuple[int, Any]:
    """Family and address to listen at; "": any of IPv4, with -6 any of both. Raises socket.gaierror."""
    found = socket.getaddrinfo(host or None, port, 0, kind, 0, socket.AI_PASSIVE)[0]
    return found[0], found[4]


def shown(address: Any) -> str:
    """The host of an address, without what a socket of both families puts before one of IPv4."""
    return str(address[0]).removeprefix("::ffff:")

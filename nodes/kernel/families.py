"""Addresses of both families as the kernel's sockets give and take them.

A socket that takes both is of IPv6; there an IPv4 address stands inside an IPv6 one, ::ffff:10.0.0.1 (RFC 3493 3.7)."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any, Final

from nodes.base.errors import InvalidArgument
from nodes.packet.address import address_text, mapped, parse_address, unmapped

_ADDRESSES: Final = Path("/proc/thread-self/net/if_inet6")


def ipv6_addresses() -> list[tuple[str, bytes, int]]:
    """Interface, address and prefix length of the calling thread's network namespace."""
    try:
        lines = [line.split() for line in _ADDRESSES.read_text().splitlines()]
    except FileNotFoundError:
        return []  # a kernel without IPv6
    return [(name, bytes.fromhex(address), int(length, 16)) for address, _, length, _, _, name in lines]


def family_of(address: bytes) -> int:
    """That of a socket for an address; of b"", any, one that takes both where there is IPv6."""
    if address:
        return socket.AF_INET if len(address) == 4 else socket.AF_INET6
    return socket.AF_INET6 if ipv6_addresses() else socket.AF_INET


def make_socket(family: int, kind: int) -> socket.socket:
    """A socket that does not block; one of IPv6 takes IPv4 too."""
    one = socket.socket(family, kind | socket.SOCK_NONBLOCK)
    if family == socket.AF_INET6:
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    return one


def sockaddr(one: socket.socket, address: bytes, port: int) -> tuple[str, int]:
    """An address (b"": any) as a socket takes it."""
    return address_text(mapped(address) if one.family == socket.AF_INET6 else address), port


def address_of(given: tuple[Any, ...]) -> tuple[bytes, int]:
    """Address and port of what a socket said."""
    return unmapped(parse_address(str(given[0]).partition("%")[0])), int(given[1])


def ends_of(one: socket.socket, peer: tuple[Any, ...]) -> tuple[bytes, int, bytes, int]:
    """Local and remote address and port of a socket whose peer was said to be `peer`."""
    return (*address_of(one.getsockname()), *address_of(peer))


def check_ends(remote: bytes, remote_port: int, local: bytes, local_port: int) -> None:
    """Raises InvalidArgument for what can be no address or port."""
    for field, address, empty in (("remote", remote, False), ("local", local, True)):
        if len(address) not in (4, 16) and not (empty and not address):
            raise InvalidArgument(f"{field}: {address.hex()!r} is no IP address", field)
    if local and len(local) != len(remote):
        given = f"{address_text(local)} and {address_text(remote)}"
        raise InvalidArgument(f"local and remote: {given} are of two families; one of them is allowed", "local")
    if not 1 <= remote_port <= 65535:
        raise InvalidArgument(f"remote_port: {remote_port} is not allowed; 1 to 65535 is", "remote_port")
    if not 0 <= local_port <= 65535:
        raise InvalidArgument(f"local_port: {local_port} is not allowed; 0 to 65535 is", "local_port")

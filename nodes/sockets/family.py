"""What AF_INET and AF_INET6 mean to a program's socket, over a stack to which an address is 4 or 16 bytes."""

from __future__ import annotations

import socket
from typing import Final

from nodes.base.errors import InvalidArgument, SocketError
from nodes.packet.address import address_text, is_any, unmapped


class Family:
    """That of one socket. One of IPv6 takes IPv4 too, with addresses such as ::ffff:10.0.0.1 (RFC 3493 section 3.7),
    unless `v6only` (IPV6_V6ONLY)."""

    def __init__(self, number: int = int(socket.AF_INET)) -> None:
        """Raises InvalidArgument."""
        if number not in (socket.AF_INET, socket.AF_INET6):
            raise InvalidArgument(f"family: {number} is none; there are AF_INET and AF_INET6", "family")
        self.number = int(number)
        self.v6only = False

    @property
    def six(self) -> bool:
        """Whether it is AF_INET6."""
        return self.number == socket.AF_INET6

    @property
    def any(self) -> bytes:
        """Any address of ours, as `Tcp.listen` knows it."""
        return bytes(4) if not self.six else bytes(16) if self.v6only else b""

    def copy(self) -> Family:
        """That of a connection of this one's listener."""
        other = Family(self.number)
        other.v6only = self.v6only
        return other

    def local(self, address: bytes) -> bytes:
        """An address to bind to. Raises SocketError EAFNOSUPPORT, EINVAL."""
        return self.any if address in (b"", bytes(16)) else self._checked(address)

    def remote(self, address: bytes) -> bytes:
        """An address to send to: any is this host (Linux). Raises SocketError EAFNOSUPPORT, ENETUNREACH."""
        address = address or (bytes(16) if self.six else bytes(4))
        if is_any(address):
            return (bytes(15) + b"\1") if len(address) == 16 else b"\x7f\0\0\1"
        return self._checked(address)

    def _checked(self, address: bytes) -> bytes:
        address = unmapped(address)
        if len(address) == 16 and not self.six:
            raise SocketError("EAFNOSUPPORT", f"{address_text(address)} is not of IPv4, as the socket is")
        if len(address) == 4 and self.six and self.v6only:
            raise SocketError("ENETUNREACH", f"{address_text(address)} is not of IPv6, as the socket only is")
        return address

    def text(self, address: bytes) -> str:
        """An address as the program sees it."""
        if not self.six:
            return address_text(address or bytes(4))
        return f"::ffff:{address_text(address)}" if len(address) == 4 else address_text(address or bytes(16))


#: Level and number of the option.
V6ONLY: Final = (int(socket.IPPROTO_IPV6), int(socket.IPV6_V6ONLY))


def set_v6only(family: Family, value: int | bytes, unbound: bool) -> None:
    """setsockopt(IPV6_V6ONLY) of an AF_INET6 socket. Raises SocketError EINVAL once it is bound, and for less than an
    int."""
    if not unbound:
        raise SocketError("EINVAL", "the socket has an address")
    if not isinstance(value, int) and len(value) < 4:
        raise SocketError("EINVAL", "IPV6_V6ONLY is an int")
    family.v6only = bool(value if isinstance(value, int) else any(value))

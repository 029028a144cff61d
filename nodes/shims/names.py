"""Names of a tcplab node's world, in the place of what `socket` asks resolvers: those of the lab's nodes."""

from __future__ import annotations

import _socket
import contextlib
import socket
from typing import Any, Final

from nodes.shims.line import Lines, UnknownName

_KINDS: Final = ((socket.SOCK_STREAM, socket.IPPROTO_TCP), (socket.SOCK_DGRAM, socket.IPPROTO_UDP))


class Names:
    """Functions with the names and ways of those of `socket`."""

    replaced = (
        *("getaddrinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr", "getnameinfo"),
        *("gethostname", "has_dualstack_ipv6"),
    )

    def __init__(self, lines: Lines) -> None:
        self._lines = lines

    def getaddrinfo(
        self,
        host: bytes | str | None,
        port: bytes | str | int | None,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> list[Any]:
        """As socket.getaddrinfo, for IPv4."""
        if family not in (0, socket.AF_INET):
            raise socket.gaierror(socket.EAI_ADDRFAMILY, "Address family for hostname not supported: nodes have IPv4")
        if host is None or host == "":
            address = "0.0.0.0" if flags & socket.AI_PASSIVE else "127.0.0.1"
        elif flags & socket.AI_NUMERICHOST:
            address = self._numeric(_text(host))
        else:
            address = self.gethostbyname(_text(host))
        name = _text(host or "") if flags & socket.AI_CANONNAME else ""
        kinds = [(kind, protocol) for kind, protocol in _KINDS if type in (0, kind) and proto in (0, protocol)]
        if not kinds:
            raise socket.gaierror(socket.EAI_SOCKTYPE, "ai_socktype not supported: programs have TCP and UDP")
        ports = [_port(port, protocol) for _, protocol in kinds]
        found = [
            (socket.AF_INET, kind, protocol, name, (address, number))
            for (kind, protocol), number in zip(kinds, ports, strict=True)
            if number >= 0
        ]
        if not found:
            raise socket.gaierror(socket.EAI_SERVICE, "Servname not supported for ai_socktype")
        return found

    def gethostbyname(self, host: str) -> str:
        """The address of a node."""
        host = _text(host)
        if not host:
            return "0.0.0.0"
        with contextlib.suppress(OSError):
            return _socket.inet_ntoa(_socket.inet_pton(_socket.AF_INET, host))
        try:
            return str(self._lines.call("resolve", name=host))
        except UnknownName as error:
            raise socket.gaierror(socket.EAI_NONAME, f"Name or service not known: {error.strerror}") from None

    def gethostbyname_ex(self, host: str) -> tuple[str, list[str], list[str]]:
        """A name, no others, and its address."""
        return host, [], [self.gethostbyname(host)]

    def gethostbyaddr(self, host: str) -> tuple[str, list[str], list[str]]:
        """The node's name, no others, and its address."""
        address = self.gethostbyname(host)
        name = self._lines.call("name_of", host=address) if address != "0.0.0.0" else ""
        if not name:
            raise socket.herror(1, "Unknown host")
        return name, [], [address]

    def getnameinfo(self, address: Any, flags: int) -> tuple[str, str]:
        """The names of an address and a port."""
        host, port = self.gethostbyname(address[0]), address[1]
        if not flags & socket.NI_NUMERICHOST:
            name = self._lines.call("name_of", host=host)
            if not name and flags & socket.NI_NAMEREQD:
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            host = name or host
        service = str(port)
        if not flags & socket.NI_NUMERICSERV:
            with contextlib.suppress(OSError):
                service = socket.getservbyport(port, "udp" if flags & socket.NI_DGRAM else "tcp")
        return host, service

    def gethostname(self) -> str:
        """The name of this node."""
        return str(self._lines.call("name_of", host=""))

    def has_dualstack_ipv6(self) -> bool:
        """There is no IPv6."""
        return False

    def _numeric(self, host: str) -> str:
        try:
            return _socket.inet_ntoa(_socket.inet_pton(_socket.AF_INET, host))
        except OSError:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known") from None


def _text(value: bytes | str) -> str:
    return value.decode("idna") if isinstance(value, (bytes, bytearray)) else value


def _port(port: bytes | str | int | None, protocol: int) -> int:
    """Its number; -1 for a service that the protocol has not."""
    if port is None:
        return 0
    if isinstance(port, int):
        return port
    text = _text(port)
    if text.isdigit():
        return int(text)
    try:
        return socket.getservbyname(text, "tcp" if protocol == socket.IPPROTO_TCP else "udp")
    except OSError:
        return -1

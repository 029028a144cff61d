"""Names of a tcplab node's world, in the place of what `socket` asks resolvers: those of the lab's nodes."""

from __future__ import annotations

import _socket
import contextlib
import socket
from typing import Any, Final

from nodes.shims.line import Lines, UnknownName

_KINDS: Final = ((socket.SOCK_STREAM, socket.IPPROTO_TCP), (socket.SOCK_DGRAM, socket.IPPROTO_UDP))
_FAMILIES: Final = (0, socket.AF_INET, socket.AF_INET6)


class Names:
    """Functions with the names and ways of those of `socket`."""

    replaced = (
        *("getaddrinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr", "getnameinfo"),
        *("gethostname", "has_dualstack_ipv6"),
    )

    def __init__(self, lines: Lines, family: int = 0) -> None:
        self._lines = lines
        self._family = family

    def getaddrinfo(
        self,
        host: bytes | str | None,
        port: bytes | str | int | None,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> list[Any]:
        """As socket.getaddrinfo. A name's first address is the one that the lab means by it."""
        family = family or self._family
        if family not in _FAMILIES:
            raise socket.gaierror(socket.EAI_FAMILY, "ai_family not supported: nodes have IPv4 and IPv6")
        if host == "" or (host is None and port is None):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        if host is None:
            known = ["0.0.0.0", "::"] if flags & socket.AI_PASSIVE else ["127.0.0.1", "::1"]
            addresses = _of_family(known, family)
        else:
            addresses = self._addresses(_text(host), family, flags)
        name = _text(host or "") if flags & socket.AI_CANONNAME else ""
        kinds = [(kind, protocol) for kind, protocol in _KINDS if type in (0, kind) and proto in (0, protocol)]
        if not kinds:
            raise socket.gaierror(socket.EAI_SOCKTYPE, "ai_socktype not supported: programs have TCP and UDP")
        ports = [_port(port, protocol) for _, protocol in kinds]
        found: list[Any] = []
        for address in addresses:
            for (kind, protocol), number in zip(kinds, ports, strict=True):
                if number >= 0 and ":" in address:
                    found.append((socket.AF_INET6, kind, protocol, name, (address, number, 0, 0)))
                elif number >= 0:
                    found.append((socket.AF_INET, kind, protocol, name, (address, number)))
        if not found:
            raise socket.gaierror(socket.EAI_SERVICE, "Servname not supported for ai_socktype")
        return found

    def _addresses(self, host: str, family: int, flags: int) -> list[str]:
        """Those of a host that are of a family, 0: of both. Raises gaierror."""
        numeric = _numeric(host)
        if not numeric and flags & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        known = [numeric] if numeric else self._resolve(host)
        addresses = _of_family(known, family)
        if not addresses and family == socket.AF_INET6 and flags & socket.AI_V4MAPPED:
            addresses = [f"::ffff:{address}" for address in known]
        if not addresses:
            wrong = "Address family for hostname not supported" if numeric else "No address associated with hostname"
            raise socket.gaierror(socket.EAI_ADDRFAMILY if numeric else socket.EAI_NODATA, wrong)
        return addresses

    def _resolve(self, host: str) -> list[str]:
        try:
            return [str(address) for address in self._lines.call("resolve", name=host)]
        except UnknownName as error:
            raise socket.gaierror(socket.EAI_NONAME, f"Name or service not known: {error.strerror}") from None

    def gethostbyname(self, host: str) -> str:
        """The IPv4 address of a node."""
        host = _text(host)
        return self._addresses(host, socket.AF_INET, 0)[0] if host else "0.0.0.0"

    def gethostbyname_ex(self, host: str) -> tuple[str, list[str], list[str]]:
        """A name, no others, and its address."""
        return host, [], [self.gethostbyname(host)]

    def gethostbyaddr(self, host: str) -> tuple[str, list[str], list[str]]:
        """The node's name, no others, and its address."""
        address = self._addresses(_text(host), 0, 0)[0]
        name = self._lines.call("name_of", host=address)
        if not name:
            raise socket.herror(1, "Unknown host")
        return name, [], [address]

    def getnameinfo(self, address: Any, flags: int) -> tuple[str, str]:
        """The names of an address and a port."""
        host, port = self._addresses(address[0], 0, 0)[0], address[1]
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
        """A socket of IPv6 takes IPv4 too."""
        return True


def _of_family(addresses: list[str], family: int) -> list[str]:
    return [each for each in addresses if family in (0, socket.AF_INET6 if ":" in each else socket.AF_INET)]


def _numeric(host: str) -> str:
    """An address in text as inet_ntop writes it; "" for what is none. A scope (%eth0) means nothing here."""
    for family, text in ((socket.AF_INET, host), (socket.AF_INET6, host.partition("%")[0])):
        with contextlib.suppress(OSError):
            return _socket.inet_ntop(family, _socket.inet_pton(family, text))
    return ""


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

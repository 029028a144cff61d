"""Local addresses and ports that sockets hold (bind(2)), and when one is in another's way: as on Linux.

An address is b"" (any, both families), zeros (any of one family) or one of ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nodes.base.errors import SocketError
from nodes.base.random import RandomStream
from nodes.packet.address import overlap
from nodes.tcp import states
from nodes.tcp.parameters import Parameters
from nodes.tcp.sharing import ALONE

if TYPE_CHECKING:
    from nodes.tcp.connection import Connection
    from nodes.tcp.endpoints import Tcp


def local_ports(parameters: Parameters, stream: RandomStream) -> Iterator[int]:
    """The ports of ip_local_port_range, each once, from a random one on (RFC 6056 section 3.3.1)."""
    first, last = parameters.ip_local_port_range
    count = last - first + 1
    start = stream.below(count)
    for step in range(count):
        yield first + (start + step) % count


class Binding:
    """What one socket holds from its bind until `Ports.release`; `reuse` is its SO_REUSEADDR, `reuseport` its
    SO_REUSEPORT, `owner` the uid of whom it is."""

    __slots__ = ("local", "owner", "port", "reuse", "reuseport")

    def __init__(self, local: bytes, port: int, reuse: bool, reuseport: bool, owner: int) -> None:
        self.local = local
        self.port = port
        self.reuse = reuse
        self.reuseport = reuseport
        self.owner = owner

    @property
    def share(self) -> int:
        """As `Options.share`."""
        return self.owner if self.reuseport else ALONE


class Ports:
    """The bound ports of one host. A port is held by sockets that are bound, by listeners and by connections, those in
    TIME-WAIT included."""

    def __init__(self, tcp: Tcp) -> None:
        self._tcp = tcp
        self._bound: dict[int, list[Binding]] = {}

    def bind(self, local: bytes, port: int, reuse: bool, reuseport: bool, owner: int) -> Binding:
        """Hold a port, for 0 one that nobody holds. Raises SocketError EADDRINUSE."""
        binding = Binding(local, port or self._unheld(), reuse, reuseport, owner)
        port = binding.port
        if not port or self.taken(local, port, reuse, binding.share, None):
            raise SocketError("EADDRINUSE", f"port {port} is taken" if port else "every local port is taken")
        self._bound.setdefault(port, []).append(binding)
        return binding

    def release(self, binding: Binding) -> None:
        """Let go of a port."""
        rest = [each for each in self._bound[binding.port] if each is not binding]
        if rest:
            self._bound[binding.port] = rest
        else:
            del self._bound[binding.port]

    def bound(self, local: bytes, port: int) -> bool:
        """Whether a socket that is bound, or listens, holds a port on this address of ours."""
        if self._tcp.listener_for(local, port) is not None:
            return True
        return port in self._bound and any(overlap(local, each.local) for each in self._bound[port])

    def taken(self, local: bytes, port: int, reuse: bool, share: int, own: Binding | None) -> bool:
        """Whether somebody but `own` holds the port on an overlapping address. Two sockets with SO_REUSEADDR are not in
        each other's way, unless one listens; nor are two of the same owner with SO_REUSEPORT, whose `share` is the same
        (socket(7); inet_csk_bind_conflict)."""
        shares = share != ALONE
        for each in self._bound.get(port, ()):
            if each is own or (reuse and each.reuse) or (shares and each.share == share):
                continue
            if overlap(local, each.local):
                return True
        for listener in self._tcp.listeners.values():
            if listener.local_port != port or (shares and listener.options.share == share):
                continue
            if overlap(local, listener.local):
                return True
        for c in self._tcp.table.values():
            if c.local_port != port or (reuse and c.options.reuseaddr) or (shares and _lets_share(c, share)):
                continue
            if overlap(local, c.local):
                return True
        return False

    def _unheld(self) -> int:
        """A port of ip_local_port_range; 0: each is held."""
        tcp = self._tcp
        held = {*self._bound, *(port for _, port in tcp.listeners), *(c.local_port for c in tcp.table.values())}
        for port in local_ports(tcp.parameters, tcp.port_stream):
            if port not in held:
                return port
        return 0


def _lets_share(c: Connection, share: int) -> bool:
    """In TIME-WAIT it is nobody's any more."""
    return c.options.share == share or (c.state == states.TIME_WAIT and c.options.reuseport != 0)

"""Local addresses and ports that sockets hold (bind(2)), and when one is in another's way: as on Linux.

An address is b"" (any, both families), zeros (any of one family) or one of ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nodes.base.errors import SocketError
from nodes.base.random import RandomStream
from nodes.packet.address import overlap
from nodes.tcp.parameters import Parameters

if TYPE_CHECKING:
    from nodes.tcp.endpoints import Tcp


def local_ports(parameters: Parameters, stream: RandomStream) -> Iterator[int]:
    """The ports of ip_local_port_range, each once, from a random one on (RFC 6056 section 3.3.1)."""
    first, last = parameters.ip_local_port_range
    count = last - first + 1
    start = stream.below(count)
    for step in range(count):
        yield first + (start + step) % count


class Binding:
    """What one socket holds from its bind until `Ports.release`; `reuse` is its SO_REUSEADDR."""

    __slots__ = ("local", "port", "reuse")

    def __init__(self, local: bytes, port: int, reuse: bool) -> None:
        self.local = local
        self.port = port
        self.reuse = reuse


class Ports:
    """The bound ports of one host. A port is held by sockets that are bound, by listeners and by connections, those in
    TIME-WAIT included."""

    def __init__(self, tcp: Tcp) -> None:
        self._tcp = tcp
        self._bound: dict[int, list[Binding]] = {}

    def bind(self, local: bytes, port: int, reuse: bool) -> Binding:
        """Hold a port, for 0 one that nobody holds. Raises SocketError EADDRINUSE."""
        if not port:
            port = self._unheld()
        if not port or self.taken(local, port, reuse, None):
            raise SocketError("EADDRINUSE", f"port {port} is taken" if port else "every local port is taken")
        binding = Binding(local, port, reuse)
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

    def taken(self, local: bytes, port: int, reuse: bool, own: Binding | None) -> bool:
        """Whether somebody but `own` holds the port on an overlapping address. Two sockets with SO_REUSEADDR are not in
        each other's way, unless one listens (socket(7); inet_csk_bind_conflict)."""
        for each in self._bound.get(port, ()):
            if each is not own and not (reuse and each.reuse) and overlap(local, each.local):
                return True
        for listener in self._tcp.listeners.values():
            if listener.local_port == port and overlap(local, listener.local):
                return True
        for c in self._tcp.table.values():
            if c.local_port == port and not (reuse and c.options.reuseaddr) and overlap(local, c.local):
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

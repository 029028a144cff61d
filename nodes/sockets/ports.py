"""`BoundPorts`: local addresses and ports that programs' sockets have bound and not yet used."""

from __future__ import annotations

from nodes.base.errors import SocketError
from nodes.packet.address import address_text
from nodes.stack import Stack
from nodes.tcp import states


class BoundPorts:
    """TCP ports of one host, as bind(2) gives them. The address b"" is any."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._bound: set[tuple[bytes, int]] = set()

    def bind(self, local: bytes, port: int, reuse: bool) -> int:
        """Take a port, any free one for 0; returns it. `reuse` (SO_REUSEADDR): ports of connections, such as those in
        TIME-WAIT, are free. Raises SocketError EADDRINUSE, EADDRNOTAVAIL."""
        if local and not self._stack.is_local(local):
            raise SocketError("EADDRNOTAVAIL", f"{address_text(local)} is not an address of this host")
        tcp = self._stack.tcp
        taken = {*self._bound, *tcp.listeners}
        if not reuse or not port:
            taken |= {(c.local, c.local_port) for c in tcp.connections.values() if c.state != states.CLOSED}
        if not port:
            used = {each for _, each in taken}
            first, last = self._stack.parameters.ip_local_port_range
            port = next((each for each in range(first, last + 1) if each not in used), 0)
        if not port or any(at == port and (where == local or b"" in (where, local)) for where, at in taken):
            raise SocketError("EADDRINUSE", f"port {port} is taken")
        self._bound.add((local, port))
        return port

    def release(self, local: bytes, port: int) -> None:
        """Nothing happens when it is not bound."""
        self._bound.discard((local, port))

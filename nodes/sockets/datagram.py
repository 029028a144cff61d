"""UDP sockets for coroutines in lab time."""

from __future__ import annotations

from nodes.base.clock import NEVER
from nodes.ip.udp import Received
from nodes.packet.address import address_text
from nodes.sockets.driver import StackDriver
from nodes.sockets.gate import Gate


class DatagramSocket:
    """A bound UDP socket; port 0: an ephemeral one. Raises SocketError EADDRINUSE, EADDRNOTAVAIL."""

    def __init__(self, driver: StackDriver, port: int = 0, local: bytes = b"") -> None:
        self._driver = driver
        self._gate = Gate(driver.runner)
        self.socket = driver.stack.udp.bind(local, port)
        self.socket.on_ready = self._gate.notify

    @property
    def port(self) -> int:
        """The local port."""
        return self.socket.port

    def connect(self, remote: bytes, port: int) -> None:
        """Fix the other end. Raises SocketError ENETUNREACH."""
        self.socket.connect(remote, port)

    def send_to(self, data: bytes, remote: bytes = b"", port: int = 0) -> None:
        """Send one datagram, to the connected end when none is named. Raises SocketError."""
        try:
            self.socket.send_to(self._driver.now(), data, remote, port)
        finally:
            self._driver.flush()

    async def receive(self, timeout_ns: int = NEVER) -> Received:
        """The next datagram. Raises SocketError ECONNREFUSED (connected sockets), EBADF; TimeoutError."""
        deadline = self._driver.deadline(timeout_ns)
        while (received := self.socket.receive()) is None:
            where = address_text(self.socket.local) or "*"
            await self._gate.wait(f"datagram on {where}:{self.socket.port}", deadline)
        return received

    def close(self) -> None:
        """Unbind. Idempotent."""
        self.socket.close()

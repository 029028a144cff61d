"""UDP sockets of the kernel for coroutines in lab time, with the face of `nodes.sockets.datagram`."""

from __future__ import annotations

import contextlib
import socket

from nodes.base.clock import NEVER
from nodes.ip.udp import Received
from nodes.kernel.context import Context
from nodes.kernel.descriptor import Descriptor
from nodes.kernel.failures import socket_error
from nodes.kernel.families import address_of, family_of, make_socket, sockaddr


class KernelDatagrams:
    """A UDP socket."""

    def __init__(self, context: Context, port: int = 0) -> None:
        self._context = context
        self._socket = make_socket(family_of(b""), socket.SOCK_DGRAM)
        try:
            self._socket.bind(sockaddr(self._socket, b"", port))
        except OSError as error:
            self._socket.close()
            raise socket_error(error) from None
        self._descriptor = Descriptor(context, self._socket)
        self.port = int(self._socket.getsockname()[1])

    def connect(self, remote: bytes, port: int) -> None:
        """Fix the other end. Raises SocketError ENETUNREACH."""
        try:
            self._socket.connect(sockaddr(self._socket, remote, port))
        except OSError as error:
            raise socket_error(error) from None

    def send_to(self, data: bytes, remote: bytes = b"", port: int = 0) -> None:
        """Send one datagram, to the connected end when none is named. Lost when the send buffer is full."""
        with contextlib.suppress(BlockingIOError):
            try:
                if remote:
                    self._socket.sendto(data, sockaddr(self._socket, remote, port))
                else:
                    self._socket.send(data)
            except BlockingIOError:
                raise
            except OSError as error:
                raise socket_error(error) from None

    async def receive(self, timeout_ns: int = NEVER) -> Received:
        """The next datagram. Raises SocketError ECONNREFUSED (connected sockets), EBADF; TimeoutError."""
        deadline = self._context.deadline(timeout_ns)
        while True:
            try:
                data, given = self._socket.recvfrom(65535)
                return Received(data, *address_of(given))
            except BlockingIOError:
                await self._descriptor.readable(f"datagram on *:{self.port}", deadline)
            except OSError as error:
                raise socket_error(error) from None

    def close(self) -> None:
        """Unbind. Idempotent."""
        if self._socket.fileno() >= 0:
            self._descriptor.let_go()
            self._socket.close()

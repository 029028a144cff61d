"""Listening sockets of the kernel for coroutines in lab time, with the face of `nodes.sockets`."""

from __future__ import annotations

import socket
from collections.abc import Mapping

from nodes.base import causes
from nodes.base.clock import NEVER
from nodes.base.errors import InvalidArgument, SocketError
from nodes.base.events import CALL_ACCEPT, CALL_LISTEN
from nodes.kernel.connections import PASSIVE
from nodes.kernel.context import Context
from nodes.kernel.descriptor import Descriptor
from nodes.kernel.failures import socket_error
from nodes.kernel.families import check_ends, ends_of, family_of, make_socket, sockaddr
from nodes.kernel.options import set_options
from nodes.kernel.streams import KernelStream
from nodes.packet.address import address_text


class KernelListener:
    """A listening socket."""

    def __init__(self, context: Context, one: socket.socket, local: bytes, port: int, backlog: int) -> None:
        self.socket: socket.socket | None = one
        self.local = local
        self.port = port
        self.backlog = backlog
        self._context = context
        self._descriptor = Descriptor(context, one)
        context.listeners_made += 1
        self.number = context.listeners_made
        context.listeners[self.number] = self

    async def accept(self, timeout_ns: int = NEVER) -> KernelStream:
        """The next established connection. Raises SocketError EBADF once the listener is closed."""
        context = self._context
        deadline = context.deadline(timeout_ns)
        while True:
            if self.socket is None:
                raise SocketError("EBADF", causes.CAUSES[causes.ERROR_DOES_NOT_EXIST].words)
            try:
                one, peer = self.socket.accept()
                break
            except BlockingIOError:
                where = address_text(self.local) or "*"
                await self._descriptor.readable(f"connection to accept on {where}:{self.port}", deadline)
            except OSError as error:
                raise socket_error(error) from None
        one.setblocking(False)
        context.watch.catch_up()
        key = ends_of(one, peer)
        connection = context.connections.at(key)
        if connection is None or connection.mine:  # the handshake was not seen
            connection = context.watch.met(key, PASSIVE)
        context.called(connection.number, CALL_ACCEPT)
        return KernelStream(context, one, connection)

    def close(self) -> None:
        """Stop listening; connections not yet accepted are reset. Raises SocketError EBADF the second time."""
        if self.socket is None:
            raise SocketError("EBADF", causes.CAUSES[causes.ERROR_DOES_NOT_EXIST].words)
        self._descriptor.let_go()
        self.socket.close()
        self.socket = None
        del self._context.listeners[self.number]

    def release(self) -> None:
        """Close unless that was done."""
        if self.socket is not None:
            self.close()


def listen(
    context: Context,
    local_port: int,
    local: bytes = b"",
    backlog: int = 128,
    options: Mapping[str, object] | None = None,
) -> KernelListener:
    """Passive OPEN; `local` b"" is any of ours. Raises InvalidArgument, SocketError EADDRINUSE, EADDRNOTAVAIL."""
    check_ends(local or bytes(4), 1, local, local_port)
    if not 0 <= backlog < 2**31:
        raise InvalidArgument(f"backlog: {backlog} is not allowed; 0 and more is", "backlog")
    one = make_socket(family_of(local), socket.SOCK_STREAM)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        set_options(one, options)
        one.bind(sockaddr(one, local, local_port))
        one.listen(backlog)
    except OSError as error:
        one.close()
        raise socket_error(error) from None
    except BaseException:
        one.close()
        raise
    context.called(0, CALL_LISTEN, backlog)
    return KernelListener(context, one, local, int(one.getsockname()[1]), backlog)

"""TCP connections of the kernel for coroutines in lab time. They have the face of `nodes.sockets.stream`, so
applications run on them as on ours."""

from __future__ import annotations

import contextlib
import errno
import select
import socket
from collections.abc import Mapping
from typing import Final

from nodes.agent.payload import PLAIN, SendFlags
from nodes.base import causes
from nodes.base.clock import NEVER
from nodes.base.errors import SocketError
from nodes.base.events import (
    CALL_ABORT,
    CALL_CLOSE,
    CALL_OPEN,
    CALL_RECEIVE,
    CALL_SEND,
    CALL_SET_OPTION,
    CALL_SHUTDOWN,
)
from nodes.kernel import tcp_info
from nodes.kernel.connections import Connection
from nodes.kernel.context import Context
from nodes.kernel.descriptor import Descriptor
from nodes.kernel.failures import errno_name, socket_error, words_of
from nodes.kernel.families import check_ends, ends_of, family_of, make_socket, sockaddr
from nodes.kernel.options import get_option, set_option, set_options
from nodes.packet.address import address_text

_PIECE: Final = 1 << 18
_LINGER_ZERO: Final = b"\1\0\0\0\0\0\0\0"
_LINGER_OFF: Final = bytes(8)
_OOBINLINE: Final = (socket.SOL_SOCKET, socket.SO_OOBINLINE)


def _words(flags: SendFlags) -> int:
    words = int(socket.MSG_NOSIGNAL)
    if flags.more:
        words |= socket.MSG_MORE
    if flags.end:
        words |= socket.MSG_EOR
    if flags.urgent:
        words |= socket.MSG_OOB
    return words


class KernelStream:
    """One connection of ours."""

    def __init__(self, context: Context, one: socket.socket, connection: Connection) -> None:
        self.connection = connection
        self.number = connection.number
        self.eof = False
        #: None once it is closed.
        self.socket: socket.socket | None = one
        self._context = context
        self._descriptor = Descriptor(context, one)
        connection.mine = True
        context.streams[connection.number] = self

    @property
    def peer(self) -> str:
        """`10.0.0.2:80`."""
        return f"{address_text(self.connection.key[2])}:{self.connection.key[3]}"

    def _open(self, errno_name: str, cause: int = causes.ERROR_CLOSING) -> socket.socket:
        if self.socket is None:
            raise SocketError(errno_name, causes.CAUSES[cause].words)
        return self.socket

    def _failed(self, error: OSError) -> SocketError:
        failure = socket_error(error)
        if error.errno not in (errno.EPIPE, errno.ENOTCONN):
            self.connection.error = failure.errno_name
        return failure

    def take_error(self) -> None:
        """Raise the SocketError the connection failed with, if it did."""
        number = self._open("EBADF").getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            self.connection.error = errno_name(number)
            raise SocketError(errno_name(number), words_of(number))

    async def established(self, timeout_ns: int = NEVER) -> None:
        """Wait until the handshake is done. Raises the SocketError it failed with."""
        deadline = self._context.deadline(timeout_ns)
        what = f"ESTABLISHED of connection {self.number} to {self.peer}"
        while True:
            one = self._open("ENOTCONN", causes.ERROR_CLOSING)
            if _ready(one, select.POLLOUT):
                self.take_error()
                self._context.watch.catch_up()
                return
            await self._descriptor.writable(what, deadline)

    def send(self, data: bytes, flags: SendFlags = PLAIN) -> int:
        """SEND what the send buffer takes now; returns how many bytes. Raises SocketError."""
        try:
            sent = self._open("EPIPE").send(data, _words(flags))
        except BlockingIOError:
            return 0
        except OSError as error:
            raise self._failed(error) from None
        self._context.called(self.number, CALL_SEND, sent)
        return sent

    async def send_all(self, data: bytes, timeout_ns: int = NEVER, flags: SendFlags = PLAIN) -> None:
        """SEND all of `data`, whose last byte `flags` are of; returns when the send buffer has taken it."""
        deadline = self._context.deadline(timeout_ns)
        view = memoryview(data)
        while True:
            sent = self.send(bytes(view[:_PIECE]), flags if len(view) <= _PIECE else PLAIN)
            view = view[sent:]
            if not view:
                return
            if not sent:
                what = f"room in the send buffer of connection {self.number} to {self.peer}"
                await self._descriptor.writable(what, deadline)

    def receive(self, limit: int) -> bytes | None:
        """RECEIVE what is there; b"" at end of file, None when there is nothing yet. Raises SocketError."""
        one = self._open("EBADF")
        try:
            data = one.recv(limit)
        except BlockingIOError:
            return None
        except OSError as error:
            raise self._failed(error) from None
        if not data and limit:
            self.eof = True
        self._context.called(self.number, CALL_RECEIVE, len(data))
        return data

    async def recv(self, limit: int = 65536, timeout_ns: int = NEVER) -> bytes:
        """RECEIVE up to `limit` bytes, at least one; b"" at end of file."""
        data = self.receive(limit)
        if data is None:
            deadline = self._context.deadline(timeout_ns)
            what = f"data for connection {self.number} from {self.peer}"
            while data is None:
                await self._descriptor.readable(what, deadline)
                data = self.receive(limit)
        return data

    async def recv_urgent(self, timeout_ns: int = NEVER) -> bytes:
        """The urgent byte, apart from the stream, when it has come; b"" at end of file."""
        deadline = self._context.deadline(timeout_ns)
        what = f"urgent data for connection {self.number} from {self.peer}"
        while True:
            one = self._open("EBADF")
            try:
                data = one.recv(1, socket.MSG_OOB)
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EINVAL) or one.getsockopt(*_OOBINLINE):
                    raise self._failed(error) from None
                if _ready(one, select.POLLRDHUP):
                    return b""
            else:
                self._context.called(self.number, CALL_RECEIVE, len(data))
                return data
            await self._descriptor.urgent(what, deadline)

    async def recv_exactly(self, length: int, timeout_ns: int = NEVER) -> bytes:
        """RECEIVE `length` bytes; fewer only at end of file."""
        deadline = self._context.deadline(timeout_ns)
        parts: list[bytes] = []
        while length:
            left = NEVER if deadline == NEVER else max(deadline - self._context.scheduler.now(), 0)
            part = await self.recv(length, left)
            if not part:
                break
            parts.append(part)
            length -= len(part)
        return b"".join(parts)

    @property
    def waiting(self) -> bool:
        """Whether RECEIVE would not wait."""
        return self.socket is not None and _ready(self.socket, select.POLLIN)

    @property
    def has_room(self) -> bool:
        """Whether SEND would not wait."""
        return self.socket is not None and _ready(self.socket, select.POLLOUT)

    async def ready(self, read: bool, write: bool, timeout_ns: int = NEVER) -> tuple[bool, bool]:
        """Wait until readable or writable, whichever is asked, as select(2); returns which is."""
        deadline = self._context.deadline(timeout_ns)
        what = f"readiness of connection {self.number} to {self.peer}"
        while True:
            one = self._open("EBADF")
            readable = read and _ready(one, select.POLLIN)
            writable = write and _ready(one, select.POLLOUT)
            if readable or writable:
                return readable, writable
            if read and write:
                await self._descriptor.either(what, deadline)
            elif read:
                await self._descriptor.readable(what, deadline)
            else:
                await self._descriptor.writable(what, deadline)

    def at_eof(self) -> bool:
        """Whether a FIN is all that is left to read."""
        if self.socket is None or not self.waiting:
            return self.eof
        try:
            return not self.socket.recv(1, socket.MSG_PEEK)
        except OSError:
            return False

    def shutdown(self) -> None:
        """Half-close: FIN after what is queued. Raises SocketError ENOTCONN, EBADF."""
        one = self._open("EBADF")
        self._context.called(self.number, CALL_SHUTDOWN)
        self._context.watch.before_close(self.connection, causes.USER_SHUTDOWN)
        try:
            one.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise self._failed(error) from None
        self._context.watch.closed(self.connection, causes.USER_SHUTDOWN)

    def close(self) -> None:
        """CLOSE. Raises SocketError EBADF the second time."""
        one = self._open("EBADF")
        self._context.called(self.number, CALL_CLOSE)
        linger = int(get_option(one, "SO_LINGER"))
        if linger == 0:
            cause = causes.LINGER_ABORT
        elif _unread(one):
            cause = causes.UNREAD_DATA_AT_CLOSE
        else:
            cause = causes.USER_CLOSE
        if linger > 0:
            # It would make close(2) wait, and changes nothing else.
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_OFF)
        self._close(one, cause)

    def abort(self) -> None:
        """ABORT: RST. Raises SocketError EBADF."""
        one = self._open("EBADF")
        self._context.called(self.number, CALL_ABORT)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
        self._close(one, causes.USER_ABORT)

    def _close(self, one: socket.socket, cause: int) -> None:
        context = self._context
        self._descriptor.let_go()
        context.watch.before_close(self.connection, cause)
        self.connection.last = self.info()
        self.socket = None
        del context.streams[self.number]
        one.close()
        context.watch.closed(self.connection, cause)

    def info(self) -> tuple[bytes, str]:
        """Its struct tcp_info and the name of its congestion control; when it was closed if it is."""
        if self.socket is None:
            return self.connection.last
        data = self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, tcp_info.SIZE)
        return data, str(get_option(self.socket, "TCP_CONGESTION"))

    def release(self) -> None:
        """CLOSE unless that was done."""
        if self.socket is not None:
            self.close()

    def set_option(self, name: str, value: object) -> None:
        """Set a socket option. Raises InvalidArgument, SocketError EBADF."""
        set_option(self._open("EBADF"), name, value)
        self._context.called(self.number, CALL_SET_OPTION)


def open_stream(
    context: Context,
    remote: bytes,
    remote_port: int,
    local: bytes = b"",
    local_port: int = 0,
    options: Mapping[str, object] | None = None,
) -> KernelStream:
    """Active OPEN: the SYN is sent now. Raises InvalidArgument, SocketError."""
    check_ends(remote, remote_port, local, local_port)
    one = make_socket(family_of(remote), socket.SOCK_STREAM)
    try:
        set_options(one, options)
        context.watch.catch_up()
        if local or local_port:
            one.bind(sockaddr(one, local, local_port))
        now = context.scheduler.real_now()
        with contextlib.suppress(BlockingIOError):
            one.connect(sockaddr(one, remote, remote_port))
        connection = context.watch.opened(now, ends_of(one, (address_text(remote), remote_port)))
    except OSError as error:
        one.close()
        raise socket_error(error) from None
    except BaseException:
        one.close()
        raise
    context.sink.call(now, context.node, connection.number, CALL_OPEN, 0)
    return KernelStream(context, one, connection)


def _ready(one: socket.socket, events: int) -> bool:
    poll = select.poll()
    poll.register(one, events)
    return any(said & (events | select.POLLERR | select.POLLHUP) for _, said in poll.poll(0))


def _unread(one: socket.socket) -> bool:
    try:
        return bool(one.recv(1, socket.MSG_PEEK))
    except OSError:
        return False

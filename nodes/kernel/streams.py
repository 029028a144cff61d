"""Sockets of the kernel for coroutines in lab time. They have the faces of `nodes.sockets`, so applications run on them
as on ours."""

from __future__ import annotations

import contextlib
import errno
import select
import socket
from collections.abc import Mapping
from typing import Any, Final

from nodes.base import causes
from nodes.base.clock import NEVER
from nodes.base.errors import InvalidArgument, SocketError
from nodes.base.events import (
    CALL_ABORT,
    CALL_ACCEPT,
    CALL_CLOSE,
    CALL_LISTEN,
    CALL_OPEN,
    CALL_RECEIVE,
    CALL_SEND,
    CALL_SET_OPTION,
    CALL_SHUTDOWN,
    EventSink,
)
from nodes.base.real import RealScheduler
from nodes.base.tasks import TaskRunner
from nodes.ip.udp import Received
from nodes.kernel import tcp_info
from nodes.kernel.connections import PASSIVE, Connection, Connections, Key
from nodes.kernel.failures import errno_name, socket_error, words_of
from nodes.kernel.families import address_of, family_of, make_socket, sockaddr
from nodes.kernel.options import get_option, set_option, set_options
from nodes.kernel.watch import CallWatch
from nodes.packet.address import address_text
from nodes.sockets.gate import Gate

_PIECE: Final = 1 << 18
_LINGER_ZERO: Final = b"\1\0\0\0\0\0\0\0"
_LINGER_OFF: Final = bytes(8)


class Context:
    """What all sockets of a node share; `watch` is told of calls that change states, before they are made."""

    def __init__(
        self,
        scheduler: RealScheduler,
        runner: TaskRunner,
        sink: EventSink,
        node: int,
        connections: Connections,
        watch: CallWatch,
    ) -> None:
        self.scheduler = scheduler
        self.runner = runner
        self.sink = sink
        self.node = node
        self.connections = connections
        self.watch = watch
        #: The sockets of connections of ours that are not closed, and open listeners.
        self.streams: dict[int, KernelStream] = {}
        self.listeners: dict[int, KernelListener] = {}
        self.listeners_made = 0

    def called(self, connection: int, call: int, length: int = 0) -> None:
        """Record a user call."""
        self.sink.call(self.scheduler.real_now(), self.node, connection, call, length)

    def deadline(self, timeout_ns: int) -> int:
        """The instant `timeout_ns` from now; NEVER stays NEVER."""
        return NEVER if timeout_ns == NEVER else self.scheduler.now() + timeout_ns


_OOBINLINE: Final = (socket.SOL_SOCKET, socket.SO_OOBINLINE)


class Descriptor:
    """Waits for a socket to become readable or writable; it is watched only while somebody waits."""

    def __init__(self, context: Context, one: socket.socket) -> None:
        self._scheduler = context.scheduler
        self._number = one.fileno()
        self._reads = Gate(context.runner)
        self._writes = Gate(context.runner)

    async def readable(self, what: str, deadline: int) -> None:
        """Raises TimeoutError."""
        self._scheduler.add_reader(self._number, self._on_readable)
        await self._reads.wait(what, deadline)

    async def urgent(self, what: str, deadline: int) -> None:
        """Until urgent data has come, or the end of the stream. Raises TimeoutError."""
        with select.epoll() as epoll:
            epoll.register(self._number, select.EPOLLPRI | select.EPOLLRDHUP)
            self._scheduler.add_reader(epoll.fileno(), self._reads.notify)
            try:
                await self._reads.wait(what, deadline)
            finally:
                self._scheduler.remove_reader(epoll.fileno())

    async def writable(self, what: str, deadline: int) -> None:
        """Raises TimeoutError."""
        self._scheduler.add_writer(self._number, self._on_writable)
        await self._writes.wait(what, deadline)

    async def either(self, what: str, deadline: int) -> None:
        """Both at once. Raises TimeoutError."""
        self._scheduler.add_writer(self._number, self._on_both)
        self._scheduler.add_reader(self._number, self._on_both)
        await self._reads.wait(what, deadline)

    def let_go(self) -> None:
        """Watch nothing any more; who waits looks again. To be called before the socket is closed."""
        self._on_both()

    def _on_readable(self) -> None:
        self._scheduler.remove_reader(self._number)
        self._reads.notify()

    def _on_writable(self) -> None:
        self._scheduler.remove_writer(self._number)
        self._writes.notify()

    def _on_both(self) -> None:
        self._on_readable()
        self._on_writable()


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

    def send(self, data: bytes, urgent: bool = False) -> int:
        """SEND what the send buffer takes now; returns how many bytes. `urgent`: MSG_OOB. Raises SocketError."""
        try:
            sent = self._open("EPIPE").send(data, socket.MSG_NOSIGNAL | (socket.MSG_OOB if urgent else 0))
        except BlockingIOError:
            return 0
        except OSError as error:
            raise self._failed(error) from None
        self._context.called(self.number, CALL_SEND, sent)
        return sent

    async def send_all(self, data: bytes, timeout_ns: int = NEVER, urgent: bool = False) -> None:
        """SEND all of `data`; returns when the send buffer has taken it. `urgent`: its last byte is."""
        deadline = self._context.deadline(timeout_ns)
        view = memoryview(data)
        while True:
            sent = self.send(bytes(view[:_PIECE]), urgent and len(view) <= _PIECE)
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
        key = _key(one, peer)
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
        connection = context.watch.opened(now, _key(one, (address_text(remote), remote_port)))
    except OSError as error:
        one.close()
        raise socket_error(error) from None
    except BaseException:
        one.close()
        raise
    context.sink.call(now, context.node, connection.number, CALL_OPEN, 0)
    return KernelStream(context, one, connection)


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


def check_ends(remote: bytes, remote_port: int, local: bytes, local_port: int) -> None:
    """Raises InvalidArgument for what can be no address or port."""
    for field, address, empty in (("remote", remote, False), ("local", local, True)):
        if len(address) not in (4, 16) and not (empty and not address):
            raise InvalidArgument(f"{field}: {address.hex()!r} is no IP address", field)
    if local and len(local) != len(remote):
        given = f"{address_text(local)} and {address_text(remote)}"
        raise InvalidArgument(f"local and remote: {given} are of two families; one of them is allowed", "local")
    if not 1 <= remote_port <= 65535:
        raise InvalidArgument(f"remote_port: {remote_port} is not allowed; 1 to 65535 is", "remote_port")
    if not 0 <= local_port <= 65535:
        raise InvalidArgument(f"local_port: {local_port} is not allowed; 0 to 65535 is", "local_port")


def _key(one: socket.socket, peer: tuple[Any, ...]) -> Key:
    return (*address_of(one.getsockname()), *address_of(peer))


def _ready(one: socket.socket, events: int) -> bool:
    poll = select.poll()
    poll.register(one, events)
    return any(said & (events | select.POLLERR | select.POLLHUP) for _, said in poll.poll(0))


def _unread(one: socket.socket) -> bool:
    try:
        return bool(one.recv(1, socket.MSG_PEEK))
    except OSError:
        return False

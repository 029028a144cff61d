"""The system calls of a script, on our stack. A call is a generator: it yields while it would block."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Final

from lab.packetdrill import buffers, polling, sockopts
from lab.packetdrill import flow as flows
from lab.packetdrill.arguments import Arguments, CallFailed
from lab.packetdrill.config import Config
from lab.packetdrill.descriptors import Socket
from lab.packetdrill.epoll import Epoll
from lab.packetdrill.flow import Flow
from lab.packetdrill.problem import Mismatch
from lab.packetdrill.script import Expression, Name
from lab.packetdrill.wire import Wire
from nodes.base.errors import SocketError
from nodes.tcp import states
from nodes.tcp.connection import Connection
from nodes.tcp.parameters import FAST_OPEN_CLIENT

#: A running system call; what it returns is its result.
Running = Generator[None, None, int]

_OPENING: Final = (states.SYN_SENT, states.SYN_RECEIVED)


class Calls:
    """The process of one script: its descriptors, and the flow its packets are about."""

    def __init__(self, config: Config, wire: Wire) -> None:
        self.flow: Flow | None = None
        self._config = config
        self._wire = wire
        self._sockets: dict[int, Socket] = {}
        self._epolls: dict[int, Epoll] = {}
        wire.on_settled = self._look

    def start(self, call: Arguments, result: Expression) -> Running:
        """A call that should have `result`, which numbers the descriptor it makes. Raises NotExpressible."""
        method = _METHODS.get(call.name)
        if method is None:
            raise call.refuse("no such system call here")
        returned = method(self, call, result if isinstance(result, int) else -1)
        return returned if isinstance(returned, int) else (yield from returned)

    # Descriptors.

    def _socket_of(self, call: Arguments) -> Socket:
        socket = self._sockets.get(call.number(0))
        if socket is None:
            raise CallFailed("EBADF")
        return socket

    def _socket(self, call: Arguments, result: int) -> int:
        if "SOCK_STREAM" not in call.names(1) or not call.names(1) <= {"SOCK_STREAM", "SOCK_NONBLOCK", "SOCK_CLOEXEC"}:
            raise call.refuse(f"type {call.at(1)}")
        if call.at(2) not in (Name("IPPROTO_TCP"), 0):
            raise call.refuse(f"protocol {call.at(2)}")
        if result >= 0:
            self.flow = Flow(self._config)
            self._sockets[result] = Socket(self.flow, "SOCK_NONBLOCK" in call.names(1))
        return result

    def _bind(self, call: Arguments, result: int) -> int:
        self._socket_of(call).port = self._config.bind_port
        return 0

    def _listen(self, call: Arguments, result: int) -> int:
        socket = self._socket_of(call)
        if socket.listener is None:
            socket.listener = self._wire.stack.tcp.listen(
                self._wire.now, b"", socket.port or self._config.bind_port, call.number(1), socket.options
            )
        socket.flow.state = flows.LISTENING
        self.flow = socket.flow
        return 0

    def _accept(self, call: Arguments, result: int) -> Running:
        socket = self._socket_of(call)
        if socket.listener is None:
            raise CallFailed("EINVAL")
        while (connection := socket.listener.accept(self._wire.now)) is None:
            yield from _block(socket.nonblocking)
        flow = self.flow
        if flow is None or (flow.local_port, flow.remote_port) != (connection.local_port, connection.remote_port):
            flow = Flow(self._config, flows.OPEN)
        flow.connection = connection
        accepted = Socket(flow, connection=connection, connected=True, zero_copy=socket.zero_copy)
        if call.name == "accept4":
            accepted.nonblocking = "SOCK_NONBLOCK" in call.names(3)
        self._sockets[result] = accepted
        return result

    def _connect(self, call: Arguments, result: int) -> Running:
        socket = self._socket_of(call)
        connection = socket.connection
        if connection is None:
            connection = self._open(socket, socket.options)
            if _deferred(connection):
                socket.connected = True
            elif socket.nonblocking:
                raise CallFailed("EINPROGRESS")
        elif socket.connected:
            raise CallFailed("EISCONN")
        elif connection.state in _OPENING:
            raise CallFailed("EALREADY")
        if not socket.connected:
            yield from self._opened(connection)
            socket.connected = True
        return 0

    def _open(self, socket: Socket, options: dict[str, object]) -> Connection:
        connection = self._wire.stack.tcp.open(
            self._wire.now,
            self._config.remote_ip,
            self._config.connect_port,
            local_port=socket.port,
            options=options,
        )
        socket.connection = socket.flow.connection = connection
        socket.flow.state = flows.CONNECTING
        self.flow = socket.flow
        return connection

    def _opened(self, connection: Connection) -> Generator[None, None, None]:
        """Wait for the end of the handshake. Raises CallFailed when it fails."""
        while connection.state in _OPENING:
            yield
        if connection.state == states.CLOSED:
            raise CallFailed(connection.take_error() or "ECONNABORTED")

    def _close(self, call: Arguments, result: int) -> int:
        if self._epolls.pop(call.number(0), None) is not None:
            return 0
        socket = self._socket_of(call)
        for epoll in self._epolls.values():
            epoll.forget(call.number(0))
        del self._sockets[call.number(0)]
        if socket.connection is not None:
            socket.connection.close(self._wire.now)
        elif socket.listener is not None:
            socket.listener.close(self._wire.now)
        return 0

    def _shutdown(self, call: Arguments, result: int) -> int:
        socket = self._socket_of(call)
        how = call.name_at(1)
        if socket.connection is None:
            raise CallFailed("ENOTCONN")
        if how in ("SHUT_RD", "SHUT_RDWR"):
            socket.receiving_shut = True
        elif how != "SHUT_WR":
            raise call.refuse(how)
        if how != "SHUT_RD":
            socket.connection.shutdown(self._wire.now)
        return 0

    # Data.

    def _write(self, call: Arguments, result: int) -> Running:
        return (yield from self._send(call, buffers.buffer(call), frozenset()))

    def _send_to(self, call: Arguments, result: int) -> Running:
        return (yield from self._send(call, buffers.buffer(call), buffers.flags(call, 3, buffers.SEND_FLAGS)))

    def _write_vector(self, call: Arguments, result: int) -> Running:
        return (yield from self._send(call, buffers.vector(call, call.at(1)), frozenset()))

    def _send_message(self, call: Arguments, result: int) -> Running:
        message = call.struct(1)
        if message.get("msg_control") is not None:
            raise call.refuse("msg_control")
        return (
            yield from self._send(
                call, buffers.vector(call, message.get("msg_iov")), buffers.flags(call, 2, buffers.SEND_FLAGS)
            )
        )

    def _look(self) -> None:
        """Something may have been sent or acknowledged of which a socket is to tell."""
        for socket in self._sockets.values():
            if socket.connection is not None:
                socket.errors.look(self._wire.now, socket.connection)

    def _send(self, call: Arguments, size: int, flags: frozenset[str]) -> Running:
        socket = self._socket_of(call)
        sent = yield from self._put(call, socket, size, flags)
        if sent and socket.connection is not None:
            socket.errors.sent(socket.connection, socket.zero_copy and "MSG_ZEROCOPY" in flags)
            self._look()
        return sent

    def _put(self, call: Arguments, socket: Socket, size: int, flags: frozenset[str]) -> Running:
        dont_wait = socket.nonblocking or "MSG_DONTWAIT" in flags
        if "MSG_FASTOPEN" in flags and len(call) > 4 and call.at(4) == Name("AF_UNSPEC"):
            raise CallFailed("EOPNOTSUPP")
        sent = yield from self._send_opening(socket, size, dont_wait, "MSG_FASTOPEN" in flags)
        if sent and dont_wait:
            return sent
        connection = socket.connection
        if connection is None:
            raise CallFailed("EPIPE")
        while connection.opening:
            yield from _block(dont_wait)
        while sent < size:
            now, more, end, urgent = self._wire.now, "MSG_MORE" in flags, "MSG_EOR" in flags, "MSG_OOB" in flags
            taken = connection.send(now, bytes(size - sent), more, end, urgent)
            sent += taken
            socket.full = socket.full or connection.blocked
            self._wire.settle()
            if sent < size:
                if sent and dont_wait:
                    return sent
                yield from _block(dont_wait)
                while connection.blocked and not connection.writable:
                    yield
        return sent

    def _send_opening(self, socket: Socket, size: int, dont_wait: bool, fast: bool) -> Running:
        """What of `size` a SYN carries (RFC 7413), which it waits to see answered unless `dont_wait`."""
        connection = socket.connection
        if fast and not self._wire.stack.parameters.tcp_fastopen & FAST_OPEN_CLIENT:
            raise CallFailed("EOPNOTSUPP")
        if fast and connection is not None and connection.opening:
            raise CallFailed("EALREADY")
        opens = fast and connection is None
        if opens:
            connection = self._open(socket, {**socket.options, "TCP_FASTOPEN_CONNECT": 1})
        if connection is None or not (opens or _deferred(connection)):
            return 0
        sent = 0
        if _deferred(connection):
            sent = connection.send(self._wire.now, bytes(size))
            self._wire.settle()
        if not dont_wait:
            connection.write_waits = sent < size
            yield from self._opened(connection)
            connection.write_waits = False
        elif not sent:
            raise CallFailed("EINPROGRESS")
        return sent

    def _read(self, call: Arguments, result: int) -> Running:
        return (yield from self._receive(call, buffers.buffer(call), frozenset()))

    def _receive_from(self, call: Arguments, result: int) -> Running:
        return (yield from self._receive(call, buffers.buffer(call), buffers.flags(call, 3, buffers.RECEIVE_FLAGS)))

    def _read_vector(self, call: Arguments, result: int) -> Running:
        return (yield from self._receive(call, buffers.vector(call, call.at(1)), frozenset()))

    def _receive_message(self, call: Arguments, result: int) -> Running:
        message = call.struct(1)
        if "MSG_ERRQUEUE" in call.names(2, buffers.BITS):
            if buffers.vector(call, message.get("msg_iov")):
                raise call.refuse("a buffer for what the error queue has")
            return self._socket_of(call).errors.read(call, self._config.tolerance)
        left = buffers.left(call, message.get("msg_control"), self._socket_of(call))
        size = yield from self._receive(
            call, buffers.vector(call, message.get("msg_iov")), buffers.flags(call, 2, buffers.RECEIVE_FLAGS)
        )
        connection = self._socket_of(call).connection
        if left >= 0 and connection is not None:
            # As Linux has it, an end of file counts as one byte.
            actual = connection.buffered or int(connection.fin_received)
            if left != actual:
                raise Mismatch(call.line, f"recvmsg gives TCP_CM_INQ {actual} instead of {left}")
        return size

    def _receive(self, call: Arguments, size: int, flags: frozenset[str]) -> Running:
        socket = self._socket_of(call)
        connection = socket.connection
        if connection is None:
            raise CallFailed("ENOTCONN")
        if "MSG_OOB" in flags:
            return len(connection.receive_urgent(self._wire.now, "MSG_PEEK" in flags)[: max(size, 0)])
        while not connection.readable and not socket.receiving_shut:
            yield from _block(socket.nonblocking or "MSG_DONTWAIT" in flags)
        if size <= 0 or (socket.receiving_shut and not connection.buffered):
            return 0
        if connection.buffered and call.name != "recvmsg" and call.null(1):
            raise CallFailed("EFAULT")
        take = connection.peek if "MSG_PEEK" in flags else connection.receive
        return len(take(self._wire.now, size))

    # The rest.

    def _fcntl(self, call: Arguments, result: int) -> int:
        socket = self._socket_of(call)
        command = call.name_at(1)
        if command == "F_GETFL":
            return 0x802 if socket.nonblocking else 2
        if command != "F_SETFL":
            raise call.refuse(command)
        socket.nonblocking = "O_NONBLOCK" in call.names(2)
        return 0

    def _ioctl(self, call: Arguments, result: int) -> int:
        connection = self._socket_of(call).connection
        request = call.name_at(1)
        if connection is None or request not in ("SIOCINQ", "FIONREAD", "SIOCOUTQ", "SIOCATMARK"):
            raise call.refuse(request)
        if request == "SIOCATMARK":
            actual = int(connection.at_mark)
        elif request == "SIOCOUTQ":
            actual = connection.snd_queue.length + connection.snd_nxt - connection.snd_una
        else:
            actual = connection.unread
        sockopts.compare(call, 2, actual)
        return 0

    def _set_option(self, call: Arguments, result: int) -> int:
        sockopts.set_option(call, self._socket_of(call), self._wire.now, self._wire.stack.parameters)
        return 0

    def _get_option(self, call: Arguments, result: int) -> int:
        sockopts.get_option(call, self._socket_of(call), self._wire.stack.parameters)
        return 0

    def _poll(self, call: Arguments, result: int) -> Running:
        timeout = call.number(2)
        deadline = self._wire.now + timeout * 1_000_000
        while not (ready := polling.poll(call, self._sockets)) and (timeout < 0 or self._wire.now < deadline):
            yield
        return ready

    def _epoll_create(self, call: Arguments, result: int) -> int:
        self._epolls[result] = Epoll()
        return result

    def _epoll_control(self, call: Arguments, result: int) -> int:
        socket = self._sockets.get(call.number(2))
        if socket is None:
            raise CallFailed("EBADF")
        return self._epoll_of(call).control(call, socket)

    def _epoll_wait(self, call: Arguments, result: int) -> Running:
        epoll = self._epoll_of(call)
        timeout = call.number(3)
        deadline = self._wire.now + timeout * 1_000_000
        while not (ready := epoll.wait(call)) and (timeout < 0 or self._wire.now < deadline):
            yield
        return ready

    def _epoll_of(self, call: Arguments) -> Epoll:
        epoll = self._epolls.get(call.number(0))
        if epoll is None:
            raise CallFailed("EBADF")
        return epoll


def _block(dont_wait: bool) -> Generator[None, None, None]:
    if dont_wait:
        raise CallFailed("EAGAIN")
    yield


def _deferred(connection: Connection) -> bool:
    """Whether the connection's SYN waits for data to carry."""
    return connection.fast is not None and connection.fast.deferred


def finish(running: Running) -> int | None:
    """Let a call go on; its result, or None while it blocks. Raises CallFailed."""
    try:
        next(running)
    except StopIteration as end:
        result: int = end.value
        return result
    except SocketError as error:
        raise CallFailed(error.errno_name) from None
    return None


_METHODS: Final[dict[str, Callable[[Calls, Arguments, int], Running | int]]] = {
    "socket": Calls._socket,
    "bind": Calls._bind,
    "listen": Calls._listen,
    "accept": Calls._accept,
    "accept4": Calls._accept,
    "connect": Calls._connect,
    "close": Calls._close,
    "shutdown": Calls._shutdown,
    "read": Calls._read,
    "readv": Calls._read_vector,
    "recv": Calls._receive_from,
    "recvfrom": Calls._receive_from,
    "recvmsg": Calls._receive_message,
    "write": Calls._write,
    "writev": Calls._write_vector,
    "send": Calls._send_to,
    "sendto": Calls._send_to,
    "sendmsg": Calls._send_message,
    "fcntl": Calls._fcntl,
    "ioctl": Calls._ioctl,
    "epoll_create": Calls._epoll_create,
    "epoll_create1": Calls._epoll_create,
    "epoll_ctl": Calls._epoll_control,
    "epoll_wait": Calls._epoll_wait,
    "setsockopt": Calls._set_option,
    "getsockopt": Calls._get_option,
    "poll": Calls._poll,
}

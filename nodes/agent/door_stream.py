"""A TCP socket of a program: one end of a pair of unix stream sockets, whose other end the program has.

Bytes are shuttled between our end and the connection, and only as fast as either side takes them. The program's
descriptor is a real one: its end of file is the peer's FIN, its shutdown(2) and close(2) are ours, whatever makes them
(the end of the program too). What a descriptor cannot say, the errno a connection ended with, is asked for (`error`).
"""

from __future__ import annotations

import contextlib
import fcntl
import select
import socket
from collections.abc import Callable
from typing import Any, Final

from nodes.agent.descriptors import Descriptors
from nodes.base.clock import NEVER
from nodes.base.errors import SocketError
from nodes.base.real import RealScheduler
from nodes.sockets import options
from nodes.sockets.driver import StackDriver
from nodes.sockets.family import V6ONLY, Family, set_v6only
from nodes.sockets.stream import StreamListener, StreamSocket, listen, open_stream, stream_of
from nodes.tcp import states
from nodes.tcp.connection import Connection
from nodes.tcp.ports import Binding

#: Most that is moved at once, bytes.
PIECE: Final = 1 << 16
#: What our end holds for a program that does not read, bytes as the kernel counts them: twice this (SO_SNDBUF).
_HELD: Final = 1 << 16
_OPENING: Final = (states.SYN_SENT, states.SYN_RECEIVED)
_ENDED: Final = select.EPOLLRDHUP
_SIOCATMARK: Final = 0x8905
_INT: Final = bytes(4)
#: What a program reads from a listening socket for each connection it may accept.
_TOKEN: Final = b"."

#: How a socket of a program is known: address in text, port.
Name = list[Any]


class StreamEnd:
    """Our end. `number` names it for programs, `inode` is that of the program's end, `owner` says who made it,
    of user `uid`.

    It begins unconnected, then either listens or is connected, and is over when the program's end or the connection
    is; `on_over(self)` is called then.
    """

    kind = "stream"

    def __init__(
        self,
        driver: StackDriver,
        scheduler: RealScheduler,
        descriptors: Descriptors,
        number: int,
        inode: int,
        owner: str,
        uid: int,
        end: socket.socket,
        family: Family,
        on_over: Callable[[StreamEnd], None],
    ) -> None:
        self.number = number
        self.family = family
        self.inode = inode
        self.owner = owner
        self._uid = uid
        #: Errno name the connection ended with, once, for `take_error`.
        self.error = ""
        self.over = False
        self.stream: StreamSocket | None = None
        self.listener: StreamListener | None = None
        self._driver = driver
        self._scheduler = scheduler
        self._descriptors = descriptors
        self._on_over = on_over
        self._end = end
        self._options: dict[str, object] = {}
        self._binding: Binding | None = None
        #: Bytes the program has put in its own way, so that it is not writable while it connects.
        self._plug = 0
        self._connected = False
        self._tokens = 0
        self._program_ended = False
        self._peer_ended = False
        self._pump_due = False
        self._flags = _ENDED
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _HELD)
        with contextlib.suppress(OSError):  # a kernel without urgent data on unix sockets (before 5.15)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
        descriptors.add(end.fileno(), _ENDED, self._on_events)

    # What it is.

    @property
    def role(self) -> str:
        """new, listening, connecting, connected or over."""
        if self.over:
            return "over"
        if self.listener is not None:
            return "listening"
        if self.stream is None:
            return "new"
        return "connected" if self._connected else "connecting"

    @property
    def name(self) -> Name:
        """getsockname(2)."""
        if self.stream is not None:
            c = self.stream.connection
            return [self.family.text(c.local), c.local_port]
        one = self._binding
        return [self.family.text(one.local), one.port] if one is not None else [self.family.text(b""), 0]

    @property
    def peer(self) -> Name | None:
        """getpeername(2); None without one."""
        if self.stream is None:
            return None
        c = self.stream.connection
        return [self.family.text(c.remote), c.remote_port]

    # What a program asks.

    def bind(self, local: bytes, port: int) -> Name:
        """bind(2). Raises SocketError."""
        if self._binding is not None or self.stream is not None or self.listener is not None:
            raise SocketError("EINVAL", "the socket has an address")
        reuse, reuseport = (bool(self._options.get(name)) for name in ("SO_REUSEADDR", "SO_REUSEPORT"))
        self._binding = self._driver.stack.tcp.bind(self.family.local(local), port, reuse, reuseport, self._uid)
        return self.name

    def connect(self, remote: bytes, port: int, plug: int, fast: bool = False) -> Name:
        """connect(2), without waiting: the handshake has begun; `fast`: or waits for data to go along, where there is a
        cookie. Raises SocketError."""
        if self.listener is not None:
            raise SocketError("EISCONN", "the socket listens")
        if self.stream is not None:
            raise SocketError("EISCONN" if self._connected else "EALREADY", "the socket has a connection")
        one = self._binding
        local, local_port = (one.local, one.port) if one is not None else (b"", 0)
        self._plug = plug
        chosen = {**self._options, "TCP_FASTOPEN_CONNECT": 1} if fast else self._options
        self._take(open_stream(self._driver, self.family.remote(remote), port, local, local_port, chosen, one))
        return self.name

    async def open(self, remote: bytes, port: int, data: bytes, wait: bool, plug: int) -> list[Any]:
        """sendto(2) with MSG_FASTOPEN: our address, and how much was taken, without `wait` what the SYN carries. Raises
        SocketError."""
        self.connect(remote, port, plug, fast=True)
        stream = self.stream
        assert stream is not None
        sent = 0 if stream.connection.opening else stream.send(data)
        if wait:
            await self.established()
            await stream.send_all(data[sent:])
            sent = len(data)
        return [self.name, sent]

    async def established(self) -> Name:
        """Wait for the handshake. Raises the SocketError it failed with; the socket may connect again then."""
        stream = self.stream
        assert stream is not None
        while stream.connection.opening:
            await stream.gate.wait(f"ESTABLISHED of connection {stream.number} to {stream.peer}", NEVER)
        self._look()
        if not self._connected:
            self.stream = None
            raise SocketError(self.take_error() or "ECONNREFUSED", "the connection was not established")
        return self.name

    def listen(self, backlog: int) -> Name:
        """listen(2). Raises SocketError."""
        if self.stream is not None:
            raise SocketError("EINVAL", "the socket has a connection")
        if self.listener is None:
            if self._binding is None:
                self.bind(b"", 0)
            one = self._binding
            assert one is not None
            self.listener = listen(self._driver, one.port, one.local, max(backlog, 0), self._options, one)
            self.listener.gate.on_change = self._announce
        else:
            self.listener.listener.backlog = min(max(backlog, 0), self._driver.stack.parameters.somaxconn)
        return self.name

    def accept(self) -> StreamSocket:
        """The next connection, for which the program has read a token. Raises SocketError EAGAIN, EINVAL."""
        if self.listener is None:
            raise SocketError("EINVAL", "the socket does not listen")
        connection = self.listener.listener.accept(self._driver.now())
        self._tokens = max(self._tokens - 1, 0)
        if connection is None:
            raise SocketError("EAGAIN", "there is no connection to accept")
        self._announce()
        return stream_of(self._driver, connection.number)

    def give_back(self) -> None:
        """The program has read a token, but there can be no descriptor for its connection now: tell of it again."""
        self._tokens = max(self._tokens - 1, 0)
        self._announce()

    def adopt(self, stream: StreamSocket, listener: StreamEnd) -> None:
        """Be the socket of a connection that `listener` accepted."""
        self._options = dict(listener._options)
        self._take(stream)
        self._look()

    def succeed(self, other: StreamEnd) -> None:
        """Be in the place of a socket whose connection was refused: its options stay, and its address if it had been
        bound. Raises SocketError."""
        self._options = dict(other._options)
        self.family = other.family.copy()
        if other._binding is not None:
            self.bind(other._binding.local, other._binding.port)

    def set_option(self, level: int, name: int, value: int | bytes) -> None:
        """setsockopt(2), after all that was written before. Raises SocketError ENOPROTOOPT, InvalidArgument, OSError
        EINVAL."""
        options.check_level(level, self.family.six, "ENOPROTOOPT")
        if (level, name) == V6ONLY:
            set_v6only(self.family, value, self.role == "new" and self._binding is None)
            return
        option = _option(level, name)
        chosen = options.decode(option, value)
        self._look()
        parameters = self._driver.stack.parameters
        options.check(parameters, option, chosen)
        if self.stream is not None and self.stream.connection.state != states.CLOSED:
            self.stream.set_option(option, chosen)
        elif self.listener is not None:
            self.listener.listener.set_option(self._driver.now(), option, chosen)
        self._options[option] = chosen
        if option == "SO_REUSEADDR" and self._binding is not None:
            self._binding.reuse = bool(chosen)
        if option == "SO_REUSEPORT" and self._binding is not None:
            self._binding.reuseport = bool(chosen)
        if option == "SO_RCVBUF" and isinstance(chosen, int) and not self.over:
            self._end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, min(chosen, _HELD))

    def get_option(self, level: int, name: int) -> int | bytes:
        """getsockopt(2), for what only the stack knows, after all that was written before. Raises SocketError."""
        if (level, name) == (socket.SOL_SOCKET, socket.SO_ERROR):
            return options.errno_of(self.take_error())
        options.check_level(level, self.family.six, "EOPNOTSUPP")
        if (level, name) == V6ONLY:
            return int(self.family.v6only)
        self._look()
        if (level, name) == (socket.IPPROTO_TCP, socket.TCP_INFO):
            if self.stream is None:
                return options.info_without_connection(self.listener is not None)
            return options.info_bytes(self._driver.now(), self.stream.connection)
        option = _option(level, name)
        parameters = self._driver.stack.parameters
        if self.stream is not None:
            return options.encode(option, options.told(parameters, option, self.stream.connection.get_option(option)))
        return options.encode(option, options.value_of(parameters, self._options, option))

    async def send(self, data: bytes, more: bool, end: bool, urgent: bool, wait: bool) -> int:
        """send(2) with MSG_MORE or MSG_EOR, which the program's descriptor cannot pass on, and MSG_OOB perhaps: after
        all that was written there. Returns how much was taken, without `wait` perhaps not all. Raises SocketError
        EAGAIN, EPIPE ..."""
        stream = self.stream
        if stream is None or not self._connected or self.over:
            raise SocketError("EPIPE", "the socket has no connection")
        c = stream.connection
        while True:
            self._to_peer(c)
            if self._program_ended:
                raise SocketError("EPIPE", "the socket was shut down")
            if c.send_room > 0:
                break
            if not wait:
                raise SocketError("EAGAIN", "the send buffer is full")
            await stream.ready(False, True)
        if not wait:
            return stream.send(data, more, end, urgent)
        await stream.send_all(data, NEVER, more, end, urgent)
        return len(data)

    def take_error(self) -> str:
        """The errno name the connection ended with, which nobody is told any more; "" for none."""
        error, self.error = self.error, ""
        return error

    # Between the two.

    def _take(self, stream: StreamSocket) -> None:
        self.stream = stream
        # Urgent data passes here at its place in the stream; what the program's descriptor does with it the kernel
        # knows, whose unix sockets have it too.
        stream.connection.options.oobinline = 1
        stream.gate.on_change = self._on_change

    def _on_change(self) -> None:
        """The connection may have changed: looked at once all that came with this frame, and the next, is handled."""
        if not self._pump_due and not self.over:
            self._pump_due = True
            self._scheduler.post(self._scheduler.real_now(), self._pump, None)

    def _pump(self, _: Any) -> None:
        self._pump_due = False
        if not self.over:
            self._look()
            self._driver.flush()

    def _look(self) -> None:
        """See what the connection has for the program, and the other way."""
        if self.over or self.stream is None:
            return
        c = self.stream.connection
        if not self._connected:
            if c.opening:
                return
            if not c.synchronized and c.state not in _OPENING:
                self._fail_opening(c)
                return
            self._connected = True
            self._pull_plug()
        try:
            blocked = self._to_program(c)
            if not self.over:
                self._to_peer(c)
        except SocketError as error:
            self._finish(error.errno_name if error.errno_name not in ("EPIPE", "EBADF") else "")
        if not self.over:
            reads = not self._program_ended and c.send_room > 0
            self._watch(
                (0 if self._program_ended else _ENDED)
                | (select.EPOLLIN if reads else 0)
                | (select.EPOLLOUT if blocked else 0)
            )

    def _fail_opening(self, c: Connection) -> None:
        self.error = c.take_error() or c.error or "ECONNREFUSED"
        if self._plug:
            self._finish(self.error)  # the program's descriptor becomes ready, and its error is asked for

    def _pull_plug(self) -> None:
        while self._plug > 0:
            try:
                self._plug -= len(self._end.recv(min(self._plug, PIECE))) or self._plug
            except OSError:
                break

    def _to_program(self, c: Connection) -> bool:
        """Give it what has come; whether it must read first before there is room for more."""
        now = self._driver.now()
        while c.buffered:
            urgent = c.at_mark
            flags = socket.MSG_NOSIGNAL | socket.MSG_OOB if urgent else socket.MSG_NOSIGNAL
            try:
                taken = self._end.send(c.peek(now, 1 if urgent else PIECE), flags)
            except BlockingIOError:
                return True
            except OSError:
                return False  # it reads no more; what is left waits for its close
            c.receive(now, taken)
        if c.state == states.CLOSED and c.error_pending:
            self._finish(c.take_error())
        elif (c.fin_received or c.state == states.CLOSED) and not self._peer_ended:
            self._peer_ended = True
            self._end.shutdown(socket.SHUT_WR)
        return False

    def _to_peer(self, c: Connection) -> None:
        """Take what the program has written, as far as there is room in the send buffer. Raises SocketError."""
        while not self._program_ended and (room := c.send_room) > 0:
            try:
                urgent = _at_mark(self._end)
                data = self._end.recv(1 if urgent else min(room, PIECE))
            except BlockingIOError:
                return
            except ConnectionResetError:
                self._close(c, unread=True)
                return
            if not data:
                return  # end of file: told by the events
            c.send(self._driver.now(), data, urgently=urgent)

    def _on_events(self, flags: int) -> None:
        c = self.stream.connection if self.stream is not None and self._connected else None
        if flags & (select.EPOLLHUP | select.EPOLLERR):
            if c is None:
                self._abandon()
            else:
                unread = self._end.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0
                self._close(c, unread or c.buffered > 0)
        elif c is None:
            self._watch(0)  # it has shut down what has no connection; its close is still told
        elif flags & _ENDED and not self._program_ended:
            self._program_ended = True
            self._swallow(c)
            if not c.fin_queued and c.state != states.CLOSED:
                self._act(c.shutdown)
            self._look()
        else:
            self._look()
        self._driver.flush()

    def _swallow(self, c: Connection) -> None:
        """Take all that the program has written before its end of file; the send buffer grows for it, by less than the
        kernel lets a unix socket hold."""
        parts = []
        try:
            while data := self._end.recv(PIECE):
                parts.append(data)
        except OSError:
            pass
        rest = b"".join(parts)
        if rest:
            c.options.sndbuf = max(c.options.sndbuf, c.options.sndbuf - c.send_room + len(rest))
            self._act(lambda now: c.send(now, rest))

    def _close(self, c: Connection, unread: bool) -> None:
        """The program has closed its end, or is gone."""
        if not unread and not self._program_ended and c.options.linger != 0:
            self._swallow(c)
        if not c.user_closed:
            self._act(lambda now: c.close(now, unread))
        self._finish("")

    def _abandon(self) -> None:
        """The program has closed what was never connected."""
        if self.listener is not None:
            self.listener.release()
        elif self.stream is not None:
            self.stream.release()
        self._finish("")

    def _act(self, call: Callable[[int], object]) -> None:
        with contextlib.suppress(SocketError):  # the connection has ended meanwhile, and the program looks no more
            call(self._driver.now())

    def _announce(self) -> None:
        """A token for each connection in the accept queue, as many as the program's descriptor holds."""
        listener = self.listener
        if listener is None or self.over:
            return
        while self._tokens < len(listener.listener.accept_queue):
            try:
                self._end.send(_TOKEN, socket.MSG_NOSIGNAL)
            except OSError:
                return
            self._tokens += 1

    def _watch(self, flags: int) -> None:
        if flags != self._flags and not self.over:
            self._flags = flags
            self._descriptors.change(self._end.fileno(), flags)

    def _finish(self, error: str) -> None:
        """Nothing more passes here; the program's end sees it."""
        if self.over:
            return
        self.over = True
        self.error = error
        for gate in (self.stream and self.stream.gate, self.listener and self.listener.gate):
            if gate:
                gate.on_change = None
        if self._binding is not None:
            self._driver.stack.tcp.ports.release(self._binding)
        self._descriptors.remove(self._end.fileno())
        self._end.close()
        self._on_over(self)

    def close(self) -> None:
        """The agent ends."""
        self._finish("ENETDOWN")


def _at_mark(end: socket.socket) -> bool:
    """Whether the next byte is urgent data."""
    try:
        return fcntl.ioctl(end, _SIOCATMARK, _INT) != _INT
    except OSError:
        return False


def _option(level: int, name: int) -> str:
    known = options.NAME_OF.get((level, name))
    if known is None:
        raise SocketError("ENOPROTOOPT", f"this TCP has no option {name} of level {level}")
    return known

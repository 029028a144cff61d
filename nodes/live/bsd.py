"""TCP sockets with the interface of Python's `socket.socket`, over a stack of ours.

What is here behaves as there: time-outs in seconds, errors as OSError with their errno, `fileno()` for select, poll,
epoll and asyncio. What a program hands on as a descriptor (os.read, subprocess, ssl) cannot work and is not here.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import IO, Any, Final, TypeVar

from nodes.base.clock import NEVER, SECOND
from nodes.base.errors import FailedPrecondition, InvalidArgument, NotFound, SocketError
from nodes.live.calls import Calls
from nodes.live.readiness import Readiness
from nodes.sockets import options
from nodes.sockets.family import V6ONLY, Family, set_v6only
from nodes.tcp import states
from nodes.tcp.info import TcpInfo

T = TypeVar("T")
Address = tuple[str, int]
Buffer = bytes | bytearray | memoryview

_UNCONNECTED: Final = (states.SYN_SENT, states.SYN_RECEIVED, states.CLOSED)
#: MSG_NOSIGNAL is how we always are.
_SEND_FLAGS: Final = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL | socket.MSG_MORE | socket.MSG_EOR | socket.MSG_OOB
_RECEIVE_FLAGS: Final = (
    socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL | socket.MSG_PEEK | socket.MSG_WAITALL | socket.MSG_OOB
)


_TOO_SMALL: Final = "buffer too small for requested bytes"


class Socket:
    """A TCP socket of the stack behind `calls`. Made by `LiveStack.socket` and `accept`."""

    type = socket.SOCK_STREAM
    proto = socket.IPPROTO_TCP

    def __init__(
        self,
        calls: Calls,
        connection: int = 0,
        chosen: Mapping[str, object] | None = None,
        family: Family | None = None,
    ) -> None:
        self._calls = calls
        self._family = family or Family()
        #: Numbers; 0: none. `_connecting`: connect has begun and its end was not told.
        self._connection = connection
        self._listener = 0
        self._connecting = False
        #: What it is bound to: number of the binding, address, port.
        self._bound: tuple[int, bytes, int] | None = None
        #: Options set on it or on its listener, by name.
        self._options = dict(chosen or {})
        self._timeout = None if connection else socket.getdefaulttimeout()
        self._listener_shut = False
        self._closed = False
        self._readiness: Readiness | None = None
        # `socket.SocketIO`, which makefile uses, counts itself here.
        self._io_refs = 0

    # Opening.

    def bind(self, address: Address) -> None:
        """Choose the local address and port; port 0: any free one."""
        self._check_open()
        if self._bound is not None or self._connection or self._listener:
            raise _os_error("EINVAL")
        local, port = self._address(address, self._family.local)
        reuse, reuseport = (bool(self._options.get(name)) for name in ("SO_REUSEADDR", "SO_REUSEPORT"))
        number, port = self._call(lambda: self._calls.bind(local, port, reuse, reuseport))
        self._bound = number, local, port

    def connect(self, address: Address) -> None:
        """Open a connection and wait for its handshake; without waiting: BlockingIOError EINPROGRESS."""
        self._check_open()
        if self._listener:
            raise _os_error("EISCONN")
        if not self._connection:
            self._open(address, self._options)
            if self._timeout == 0:
                raise _os_error("EINPROGRESS")
        elif not self._connecting:
            raise _os_error("EISCONN")
        try:
            self._establish(self._timeout_ns())
        except BlockingIOError:
            raise _os_error("EALREADY") from None

    def _open(self, address: Address, options: Mapping[str, object]) -> None:
        remote, port = self._address(address, self._family.remote)
        binding = self._bound[0] if self._bound is not None else 0
        chosen = dict(options)
        self._connection = self._call(lambda: self._calls.open(remote, port, binding, chosen))
        self._connecting = True
        self._watch()

    def _establish(self, timeout_ns: int) -> None:
        """Wait for the end of the handshake. Raises BlockingIOError when there is no time for that."""
        try:
            self._call(lambda: self._calls.established(self._connection, timeout_ns))
        except BlockingIOError:
            raise
        except TimeoutError as error:
            if error.errno is None:
                raise  # ours; the handshake goes on
            self._forget()
            raise
        except OSError as error:
            self._forget()
            if error.errno == errno.ENOTCONN:  # its error was told by SO_ERROR
                raise _os_error("ECONNABORTED") from None
            raise
        self._connecting = False

    def connect_ex(self, address: Address) -> int:
        """As `connect`, but errors are returned, as an errno."""
        try:
            self.connect(address)
        except TimeoutError as error:
            return error.errno or errno.EAGAIN
        except OSError as error:
            if error.errno is None or isinstance(error, socket.gaierror):
                raise
            return error.errno
        return 0

    def _forget(self) -> None:
        """The connection has failed; the socket may connect again."""
        number, self._connection, self._connecting = self._connection, 0, False
        with contextlib.suppress(FailedPrecondition):  # of a stack that has ended
            self._calls.watch(number, None)
            self._calls.close(number)
        if self._readiness is not None:
            self._readiness.set(True, True)

    def listen(self, backlog: int = 128) -> None:
        """Take connections. Once more: nothing happens."""
        self._check_open()
        if self._connection:
            raise _os_error("EINVAL")
        if not self._listener:
            if self._bound is None:
                self.bind(("", 0))
            assert self._bound is not None
            binding, backlog = self._bound[0], max(backlog, 0)
            self._listener = self._call(lambda: self._calls.listen(binding, backlog, self._options))
            self._watch()

    def accept(self) -> tuple[Socket, Any]:
        """The next connection, as a socket that blocks, and its peer."""
        self._check_open()
        self._check_listens()
        try:
            number = self._call(lambda: self._calls.accept(self._listener, self._timeout_ns()))
        except OSError:
            self._check_listens()
            raise
        accepted = Socket(self._calls, number, self._options, self._family.copy())
        # Linux gives the address of a connection that has ended since, too.
        info = accepted.info()
        return accepted, self._name(info.remote_address, info.remote_port)

    # Sending and receiving.

    def send(self, data: Buffer, flags: int = 0) -> int:
        """Send some of `data`; returns how many bytes."""
        number = self._sending(flags)
        data = _bytes(data)
        if not data:
            return 0
        return self._call(lambda: self._calls.send(number, data, self._timeout_ns(flags), *_ends(flags)))

    def sendall(self, data: Buffer, flags: int = 0) -> None:
        """Send all of `data`. After an error nobody knows how much was sent."""
        number = self._sending(flags)
        data = _bytes(data)
        if data:
            self._call(lambda: self._calls.send_all(number, data, self._timeout_ns(flags), *_ends(flags)))

    def sendmsg(
        self, buffers: Iterable[Buffer], ancdata: Iterable[Any] = (), flags: int = 0, address: Any = None
    ) -> int:
        """`send` of several buffers, or `sendto` for `address`; there is no ancillary data."""
        if list(ancdata):
            raise _os_error("EOPNOTSUPP")
        data = b"".join(map(_bytes, buffers))
        return self._send_opening(data, flags, address) if flags & socket.MSG_FASTOPEN else self.send(data, flags)

    def sendto(self, data: Buffer, *more: Any) -> int:
        """`sendto(data, address)`, `sendto(data, flags, address)`: as `send`, for TCP takes no address from anybody but
        with MSG_FASTOPEN: connect there, with the data in the SYN where that may be (RFC 7413)."""
        if len(more) not in (1, 2):
            raise TypeError(f"sendto() takes 2 or 3 arguments ({1 + len(more)} given)")
        flags, address = more if len(more) == 2 else (0, *more)
        return (
            self._send_opening(_bytes(data), flags, address) if flags & socket.MSG_FASTOPEN else self.send(data, flags)
        )

    def _send_opening(self, data: bytes, flags: int, address: Address | None) -> int:
        self._check_open()
        if self._connection or self._listener:
            raise _os_error("EALREADY" if self._connecting else "EISCONN")
        if address is None:
            raise _os_error("EINVAL")
        flags &= ~socket.MSG_FASTOPEN
        timeout_ns = self._timeout_ns(flags)
        self._open(address, {**self._options, "TCP_FASTOPEN_CONNECT": 1})
        try:
            self._establish(timeout_ns)  # at once with a cookie: the SYN waits for the data
            sent = self.send(data, flags)
            self._connecting = True
            if timeout_ns:
                self._establish(timeout_ns)
        except BlockingIOError:
            raise _os_error("EINPROGRESS") from None
        return sent

    def sendfile(self, file: IO[bytes], offset: int = 0, count: int | None = None) -> int:
        """Send what is in a file from `offset`, at most `count` bytes; returns how many."""
        if self._timeout == 0:
            raise ValueError("non-blocking sockets are not supported")
        file.seek(offset)
        total = 0
        while count is None or total < count:
            piece = file.read(1 << 18 if count is None else min(1 << 18, count - total))
            if not piece:
                break
            self.sendall(piece)
            total += len(piece)
        return total

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        """Receive 1 to `bufsize` bytes; b"" at end of file."""
        if bufsize < 0:
            raise ValueError("negative buffersize in recv")
        self._check_open()
        if flags & ~_RECEIVE_FLAGS:
            raise _os_error("EOPNOTSUPP")
        number = self._connection
        if not number:
            raise _os_error("ENOTCONN")
        if not bufsize:
            return b""
        if flags & socket.MSG_OOB:
            return self._call(lambda: self._calls.receive_urgent(number, bool(flags & socket.MSG_PEEK)))
        take = self._calls.peek if flags & socket.MSG_PEEK else self._calls.receive
        timeout_ns = self._timeout_ns(flags)
        data = self._call(lambda: take(number, bufsize, timeout_ns))
        if flags & socket.MSG_WAITALL and not flags & socket.MSG_PEEK and timeout_ns:
            with contextlib.suppress(OSError):  # what has come is given first
                while len(data) < bufsize:
                    size = bufsize - len(data)
                    more = self._call(partial(take, number, size, timeout_ns))
                    if not more:
                        break
                    data += more
        return data

    def sockatmark(self) -> bool:
        """Whether the next byte to read is where urgent data was (sockatmark(3)), which `recv` stops at."""
        self._check_open()
        return self._connection != 0 and self._call(lambda: self._calls.at_mark(self._connection))

    def recv_into(self, buffer: bytearray | memoryview, nbytes: int = 0, flags: int = 0) -> int:
        """Receive into `buffer`; returns how many bytes."""
        with memoryview(buffer) as view, view.cast("B") as target:
            if not 0 <= nbytes <= len(target):
                raise ValueError("negative buffersize in recv_into" if nbytes < 0 else _TOO_SMALL)
            data = self.recv(nbytes or len(target), flags)
            target[: len(data)] = data
            return len(data)

    def recvfrom(self, bufsize: int, flags: int = 0) -> tuple[bytes, None]:
        """`recv`; on a connection no address comes with it."""
        return self.recv(bufsize, flags), None

    def recvfrom_into(self, buffer: bytearray | memoryview, nbytes: int = 0, flags: int = 0) -> tuple[int, None]:
        """`recv_into`; on a connection no address comes with it."""
        if nbytes > memoryview(buffer).nbytes:
            raise ValueError("nbytes is greater than the length of the buffer")
        return self.recv_into(buffer, nbytes, flags), None

    def recvmsg(self, bufsize: int, ancbufsize: int = 0, flags: int = 0) -> tuple[bytes, list[Any], int, None]:
        """`recv`; there is no ancillary data."""
        if bufsize < 0:
            raise ValueError("negative buffer size in recvmsg()")
        if ancbufsize < 0:
            raise ValueError("invalid ancillary data buffer length")
        return self.recv(bufsize, flags), [], 0, None

    def recvmsg_into(
        self, buffers: Iterable[bytearray | memoryview], ancbufsize: int = 0, flags: int = 0
    ) -> tuple[int, list[Any], int, None]:
        """`recvmsg` into several buffers, one after the other."""
        views = [memoryview(one).cast("B") for one in buffers]
        data = self.recvmsg(sum(map(len, views)), ancbufsize, flags)[0]
        taken = 0
        for view in views:
            piece = data[taken : taken + len(view)]
            view[: len(piece)] = piece
            taken += len(piece)
        return taken, [], 0, None

    def makefile(
        self,
        mode: str = "r",
        buffering: int | None = None,
        *,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> Any:
        """A file over the socket, which stays open until file and socket are closed."""
        make: Callable[..., Any] = socket.socket.makefile
        return make(self, mode, buffering, encoding=encoding, errors=errors, newline=newline)

    # Closing.

    def shutdown(self, how: int) -> None:
        """SHUT_WR: end of file for the peer after what is queued. SHUT_RD: nobody waits in `recv` or `accept` any
        more."""
        self._check_open()
        if how not in (socket.SHUT_RD, socket.SHUT_WR, socket.SHUT_RDWR):
            raise _os_error("EINVAL")
        if self._listener:
            if how != socket.SHUT_WR and not self._listener_shut:
                self._listener_shut = True
                self._call(lambda: self._calls.close_listener(self._listener))
                self._watch()
            return
        self.getpeername()
        if how != socket.SHUT_RD:
            self._call(lambda: self._calls.shutdown(self._connection))
        if how != socket.SHUT_WR:
            self._call(lambda: self._calls.shut_read(self._connection))

    def close(self) -> None:
        """Close. With SO_LINGER wait until all is acknowledged, that long at most. Idempotent."""
        if not self._closed:
            self._closed = True
            if self._io_refs <= 0:
                self._close()

    def _decref_socketios(self) -> None:
        self._io_refs -= 1
        if self._io_refs <= 0 and self._closed:
            self._close()

    def _close(self) -> None:
        self._release()
        linger = self._options.get("SO_LINGER", -1)
        if self._connection and isinstance(linger, int) and linger > 0 and self._timeout != 0:
            with contextlib.suppress(TimeoutError, FailedPrecondition):
                self._calls.delivered(self._connection, linger * SECOND)

    def _release(self) -> None:
        """Let go of everything without waiting."""
        with contextlib.suppress(FailedPrecondition):  # of a stack that has ended
            if self._listener:
                self._calls.watch_listener(self._listener, None)
                self._calls.close_listener(self._listener)
            if self._connection:
                self._calls.watch(self._connection, None)
                self._calls.close(self._connection)
            if self._bound is not None:
                self._calls.unbind(self._bound[0])
        if self._readiness is not None:
            self._readiness.close()

    def __enter__(self) -> Socket:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if not self._closed:
            self._closed = True
            warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)
            self._release()

    def __repr__(self) -> str:
        what = f"listener {self._listener}" if self._listener else f"connection {self._connection or None}"
        return f"<{type(self).__name__} {what}{' closed' if self._closed else ''}>"

    # What it is.

    @property
    def family(self) -> socket.AddressFamily:
        """AF_INET or AF_INET6."""
        return socket.AddressFamily(self._family.number)

    def fileno(self) -> int:
        """A descriptor to wait with, and nothing else; -1 once closed."""
        if self._closed and self._io_refs <= 0:
            return -1
        if self._readiness is None:
            self._readiness = Readiness()
            self._watch()
        return self._readiness.fileno()

    def _watch(self) -> None:
        readiness = self._readiness
        if readiness is None:
            return
        try:
            if self._listener_shut:
                readiness.set(True, True)
            elif self._listener:
                self._calls.watch_listener(self._listener, readiness.set)
            elif self._connection:
                self._calls.watch(self._connection, readiness.set)
        except FailedPrecondition:
            readiness.set(True, True)  # the stack has ended: every call says so at once

    def getsockname(self) -> Any:
        """Local address and port."""
        self._check_open()
        if self._connection:
            info = self.info()
            return self._name(info.local_address, info.local_port)
        _, local, port = self._bound or (0, b"", 0)
        return self._name(local, port)

    def getpeername(self) -> Any:
        """The peer's address and port."""
        self._check_open()
        if not self._connection:
            raise _os_error("ENOTCONN")
        info = self.info()
        if info.state in _UNCONNECTED:
            raise _os_error("ENOTCONN")
        return self._name(info.remote_address, info.remote_port)

    def info(self) -> TcpInfo:
        """STATUS of the connection, closed or not: TCP_INFO. Raises OSError ENOTCONN without one."""
        if not self._connection:
            raise _os_error("ENOTCONN")
        return self._call(lambda: self._calls.status(self._connection))

    def settimeout(self, value: float | None) -> None:
        """Seconds that calls may wait; None: no limit; 0: they do not wait (BlockingIOError)."""
        if value is not None and value < 0:
            raise ValueError("Timeout value out of range")
        self._timeout = None if value is None else float(value)

    def gettimeout(self) -> float | None:
        """What `settimeout` was given."""
        return self._timeout

    def setblocking(self, flag: bool) -> None:
        """`settimeout(None)` or `settimeout(0)`."""
        self._timeout = None if flag else 0.0

    def getblocking(self) -> bool:
        """Whether calls wait."""
        return self._timeout != 0

    @property
    def timeout(self) -> float | None:
        """As `gettimeout`."""
        return self._timeout

    # Options.

    def setsockopt(self, level: int, optname: int, value: int | Buffer) -> None:
        """Set an option: those of `nodes.tcp.options`, and IPV6_V6ONLY."""
        self._check_open()
        self._call(lambda: options.check_level(level, self._family.six, "ENOPROTOOPT"))
        if (level, optname) == V6ONLY:
            given = value if isinstance(value, int) else bytes(value)
            unbound = not (self._bound or self._connection or self._listener)
            self._call(lambda: set_v6only(self._family, given, unbound))
            return
        name = _option_name(level, optname)
        chosen = options.decode(name, value)
        self._call(lambda: self._calls.check_option(name, chosen))
        if self._connection:
            self._call(lambda: self._calls.set_option(self._connection, name, chosen))
        elif self._listener:
            self._call(lambda: self._calls.set_listener_option(self._listener, name, chosen))
        self._options[name] = chosen

    def getsockopt(self, level: int, optname: int, buflen: int = 0) -> int | bytes:
        """An option's value, as bytes when `buflen` is given."""
        self._check_open()
        value = self._option(level, optname)
        if isinstance(value, int):
            return value.to_bytes(4, sys.byteorder, signed=True)[:buflen] if buflen else value
        return value[:buflen] if buflen else int.from_bytes(value[:4], sys.byteorder)

    def _option(self, level: int, optname: int) -> int | bytes:
        self._call(lambda: options.check_level(level, self._family.six, "EOPNOTSUPP"))
        if (level, optname) == V6ONLY:
            return int(self._family.v6only)
        if level == socket.SOL_SOCKET:
            if optname == socket.SO_ERROR:
                name = self._call(lambda: self._calls.take_error(self._connection)) if self._connection else ""
                return getattr(errno, name) if name else 0
            known = {
                socket.SO_TYPE: int(self.type),
                socket.SO_DOMAIN: int(self.family),
                socket.SO_PROTOCOL: int(self.proto),
                socket.SO_ACCEPTCONN: int(self._listener != 0 and not self._listener_shut),
            }
            if optname in known:
                return known[optname]
        name = _option_name(level, optname)
        if not self._connection and name in self._options:
            return options.encode(name, self._call(lambda: self._calls.chosen(self._options, name)))
        return options.encode(name, self._call(lambda: self._calls.get_option(self._connection, name)))

    # Helpers.

    def _check_open(self) -> None:
        if self._closed and self._io_refs <= 0:
            raise _os_error("EBADF")

    def _check_listens(self) -> None:
        if not self._listener or self._listener_shut:
            raise _os_error("EINVAL")

    def _sending(self, flags: int) -> int:
        """The connection's number, if it may send."""
        self._check_open()
        if flags & ~_SEND_FLAGS:
            raise _os_error("EOPNOTSUPP")
        if not self._connection:
            raise _os_error("EPIPE")
        return self._connection

    def _address(self, address: Address | tuple[Any, ...], use: Callable[[bytes], bytes]) -> tuple[bytes, int]:
        """Host and port of what a program gives, the host as `use` has it; flow label and scope mean nothing here."""
        host, port = address[:2]
        if not 0 <= port <= 65535:
            raise OverflowError("port must be 0-65535.")
        try:
            found = self._calls.resolve(host, self._family.six)
        except NotFound as error:
            raise socket.gaierror(socket.EAI_NONAME, str(error)) from None
        return self._call(lambda: use(found)), port

    def _name(self, address: bytes, port: int) -> Any:
        """An address as the program gets it."""
        text = self._family.text(address)
        return (text, port, 0, 0) if self._family.six else (text, port)

    def _timeout_ns(self, flags: int = 0) -> int:
        if flags & socket.MSG_DONTWAIT:
            return 0
        return NEVER if self._timeout is None else round(self._timeout * SECOND)

    def _call(self, call: Callable[[], T]) -> T:
        """Make a call; its errors become OSErrors."""
        try:
            return call()
        except SocketError as error:
            raise _os_error(error.errno_name) from None
        except InvalidArgument as error:
            raise OSError(errno.EINVAL, str(error)) from None
        except FailedPrecondition as error:
            raise OSError(errno.ENETDOWN, str(error)) from error
        except NotFound:
            raise _os_error("EBADF") from None  # it ended so long ago that nothing is known of it
        except TimeoutError:
            raise TimeoutError("timed out") from None


def _os_error(name: str) -> OSError:
    number = getattr(errno, name)
    return OSError(number, os.strerror(number))


def _option_name(level: int, optname: int) -> str:
    name = options.NAME_OF.get((level, optname))
    if name is None:
        raise _os_error("ENOPROTOOPT")
    return name


def _ends(flags: int) -> tuple[bool, bool, bool]:
    """Whether what is sent is to be continued, or ends a record, or in urgent data."""
    return bool(flags & socket.MSG_MORE), bool(flags & socket.MSG_EOR), bool(flags & socket.MSG_OOB)


def _bytes(data: Buffer) -> bytes:
    return data if isinstance(data, bytes) else bytes(memoryview(data))

"""`socket.socket` over the stack of a tcplab node.

The descriptor of such a socket is one end of a pair of unix sockets; the node's agent has the other, and shuttles
between it and the TCP connection. So what is done with descriptors (send and recv, select, epoll, asyncio, ssl, dup,
subprocesses) is done by the kernel, and only what concerns addresses, options and errors is asked of the agent.
"""

from __future__ import annotations

import _socket
import contextlib
import errno
import operator
import os
import select
import socket
import struct
import sys
from collections.abc import Iterable
from typing import Any, Final

from nodes.shims import addresses
from nodes.shims.addresses import ANY, HEADER_LEN, Address
from nodes.shims.known import DATAGRAM, STREAM, Known, Shared
from nodes.shims.line import NotAtNode

_INET: Final = int(socket.AF_INET)
_INET6: Final = int(socket.AF_INET6)
#: Of the kernel's flags of a socket's kind, those that are no kind.
_FLAGS: Final = int(socket.SOCK_NONBLOCK) | int(socket.SOCK_CLOEXEC)
_PLUG: Final = bytes(1 << 16)
_MAX_DATAGRAM: Final = {_INET: 65507, _INET6: 65527}
_LINGER: Final = struct.Struct("ii")
#: What the kernel does with the descriptor itself.
_KERNEL_OPTIONS: Final = frozenset(
    (socket.SOL_SOCKET, getattr(socket, name))
    for name in ("SO_RCVTIMEO", "SO_SNDTIMEO", "SO_RCVLOWAT", "SO_OOBINLINE", "SO_INCOMING_CPU")
    if hasattr(socket, name)
)
_ERROR: Final = (int(socket.SOL_SOCKET), int(socket.SO_ERROR))
#: What we know ourselves.
_OWN: Final = frozenset((socket.SO_TYPE, socket.SO_DOMAIN, socket.SO_PROTOCOL, socket.SO_ACCEPTCONN))
#: What says how what is sent goes on.
_ENDS: Final = int(socket.MSG_MORE) | int(socket.MSG_EOR)
#: The most of it that the agent is given at once.
_PIECE: Final = 1 << 16


class Socket(socket.socket):
    """TCP and UDP are the node's; other kinds (unix, netlink, packet) are the kernel's, as ever."""

    # What programs print, in repr(socket) and warnings, is what it is to them.
    __module__ = "socket"
    __qualname__ = "socket"

    known: Known
    _shared: Shared | None = None

    def __init__(self, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None) -> None:
        if fileno is not None:
            shared = self.known.find(fileno) if family in (-1, _INET, _INET6) else None
            if shared is None:
                super().__init__(family, type, proto, fileno)
            else:
                super().__init__(-1, -1, -1, fileno)
                self._shared = shared
            return
        if family == -1:
            family = _INET
        if family not in ANY:
            super().__init__(family, type, proto)
            return
        kind = socket.SOCK_STREAM if type == -1 else type & ~_FLAGS
        if kind == socket.SOCK_STREAM and proto in (-1, 0, socket.IPPROTO_TCP):
            descriptor, self_shared = self.known.make(STREAM, int(family), max(proto, 0))
        elif kind == socket.SOCK_DGRAM and proto in (-1, 0, socket.IPPROTO_UDP):
            descriptor, self_shared = self.known.make(DATAGRAM, int(family), max(proto, 0))
        else:
            raise OSError(errno.EPROTONOSUPPORT, "Protocol not supported: programs on a tcplab node have TCP and UDP")
        super().__init__(-1, -1, -1, descriptor)
        self._shared = self_shared
        if type != -1 and type & socket.SOCK_NONBLOCK:
            self.setblocking(False)

    # What it is.

    @property
    def family(self) -> Any:
        """AF_INET or AF_INET6."""
        return super().family if self._shared is None else socket.AddressFamily(self._shared.family)

    @property
    def type(self) -> Any:
        """SOCK_STREAM or SOCK_DGRAM."""
        if self._shared is None:
            return super().type
        return socket.SOCK_STREAM if self._shared.kind == STREAM else socket.SOCK_DGRAM

    @property
    def proto(self) -> int:
        """As it was asked for."""
        return super().proto if self._shared is None else self._shared.proto

    def dup(self) -> Socket:
        """Another descriptor of the same socket."""
        one = type(self)(fileno=os.dup(self.fileno())) if self._shared is not None else None
        if one is None:
            return super().dup()
        one.settimeout(self.gettimeout())
        return one

    def getsockname(self) -> Any:
        """Local address and port."""
        shared = self._shared
        if shared is None:
            return super().getsockname()
        self._check_open()
        return shared.name

    def getpeername(self) -> Any:
        """The peer's address and port."""
        shared = self._shared
        if shared is None:
            return super().getpeername()
        self._check_open()
        if not self._is_connected() or shared.peer is None:
            raise _os_error(errno.ENOTCONN)
        return shared.peer

    # Opening.

    def bind(self, address: Any, /) -> None:
        """Choose the local address and port."""
        shared = self._shared
        if shared is None:
            super().bind(address)
            return
        self._check_open()
        host, port = addresses.given(shared.family, address, "bind")
        shared.name = shared.address(self._call("bind", number=shared.number, host=host, port=port))
        if shared.kind == DATAGRAM:
            shared.role = "bound"

    def listen(self, backlog: int = 128, /) -> None:
        """Take connections."""
        shared = self._shared
        if shared is None:
            super().listen(backlog)
            return
        self._check_open()
        if shared.kind != STREAM:
            raise _os_error(errno.EOPNOTSUPP)
        backlog = operator.index(backlog)
        shared.name = shared.address(self._call("listen", number=shared.number, backlog=backlog))
        shared.role = "listening"

    def accept(self) -> tuple[socket.socket, Any]:
        """The next connection and its peer."""
        shared = self._shared
        if shared is None:
            return super().accept()
        self._check_open()
        if shared.kind != STREAM:
            raise _os_error(errno.EOPNOTSUPP)
        if shared.role != "listening":
            raise _os_error(errno.EINVAL)
        # A byte for each connection waits in the descriptor; reading it is waiting for one.
        if not super().recv(1):
            self._need_agent()
            raise _os_error(errno.EINVAL)
        (number, inode, name, peer), descriptor = self.known.lines.call_with_descriptor(
            "accept", number=shared.number, owner=self.known.owner()
        )
        accepted = Shared(number, STREAM, shared.family, "connected", name, peer, shared.proto)
        self.known.add(inode, accepted)
        return Socket(fileno=descriptor), accepted.peer

    def connect(self, address: Any, /) -> None:
        """Open a connection; of UDP, fix the other end."""
        shared = self._shared
        if shared is None:
            super().connect(address)
            return
        self._check_open()
        host, port = addresses.given(shared.family, address, "connect")
        if shared.kind == DATAGRAM:
            number = shared.number
            shared.name = shared.address(self._call("connect", number=number, host=host, port=port, wait=False, plug=0))
            shared.peer, shared.role = shared.address(addresses.reached(shared.family, host, port)), "connected"
            return
        if shared.role == "connecting":
            self._has_connected()
            if shared.role == "connecting":
                raise _os_error(errno.EALREADY)
        if shared.unreported:
            shared.unreported = False
            if shared.role == "connected":
                return  # what was begun is done
            raise self._end(errno.ECONNABORTED)
        if shared.role == "connected":
            raise _os_error(errno.EISCONN)
        if shared.role == "over":
            self._renew()
            shared = self._shared
            assert shared is not None
        timeout = self.gettimeout()
        peer = shared.address(addresses.reached(shared.family, host, port))
        plug = self._plug() if timeout is not None else 0
        number = shared.number
        name = self._call("connect", number=number, host=host, port=port, wait=timeout is None, plug=plug)
        shared.name, shared.peer = shared.address(name), peer
        if timeout is None:
            shared.role = "connected"
            return
        shared.role, shared.unreported = "connecting", True
        if timeout == 0:
            raise _os_error(errno.EINPROGRESS)
        self._await_connection()
        shared.unreported = False

    def connect_ex(self, address: Any, /) -> int:
        """As `connect`, but errors are returned, as an errno."""
        if self._shared is None:
            return super().connect_ex(address)
        try:
            Socket.connect(self, address)
        except socket.gaierror:
            raise
        except TimeoutError as error:
            return error.errno or errno.EAGAIN
        except OSError as error:
            if error.errno is None:
                raise
            return error.errno
        return 0

    def _plug(self) -> int:
        """Fill the descriptor until it is not writable: the agent takes it out when the connection is there."""
        total = 0
        poll = select.poll()
        poll.register(self.fileno(), select.POLLOUT)
        while poll.poll(0):
            total += super().send(_PLUG)
        return total

    def _has_connected(self) -> bool:
        """Whether a connection that was being opened is there. Raises nothing: its error is SO_ERROR."""
        shared = self._shared
        assert shared is not None
        poll = select.poll()
        poll.register(self.fileno(), select.POLLOUT)
        for _, event in poll.poll(0):
            # What has ended since, with something to read, was there.
            shared.role = "connected" if not event & select.POLLHUP or self._holds_data() else "over"
        return shared.role == "connected"

    def _holds_data(self) -> bool:
        try:
            return bool(super().recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except OSError:
            return False

    def _renew(self) -> None:
        """Another socket in the place of one whose connection was refused."""
        assert self._shared is not None
        one = self._shared
        descriptor, self._shared = self.known.make(STREAM, one.family, one.proto, one.number)
        try:
            os.dup2(descriptor, self.fileno(), False)
        finally:
            os.close(descriptor)
        self._shared.linger = one.linger
        os.set_blocking(self.fileno(), self.gettimeout() is None)

    # Sending and receiving.

    def send(self, data: Any, flags: int = 0, /) -> int:
        """Send some of `data`."""
        shared = self._shared
        if shared is None:
            return super().send(data, flags)
        if shared.kind == DATAGRAM:
            return self._send_datagram(data, flags, None)
        if flags & socket.MSG_FASTOPEN:
            return self._send_opening(data, flags, None)
        self._need_connection(errno.EPIPE)
        if flags & _ENDS:
            return self._send_marked(data, flags)
        try:
            return super().send(data, flags)
        except (BrokenPipeError, ConnectionResetError):
            raise self._end(errno.EPIPE) from None

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        """Send all of `data`."""
        shared = self._shared
        if shared is None:
            super().sendall(data, flags)
            return
        if shared.kind == DATAGRAM:
            self._send_datagram(data, flags, None)
            return
        self._need_connection(errno.EPIPE)
        if flags & _ENDS:
            if self._send_marked(data, flags) < memoryview(data).nbytes:
                raise _os_error(errno.EAGAIN)
            return
        try:
            super().sendall(data, flags)
        except (BrokenPipeError, ConnectionResetError):
            raise self._end(errno.EPIPE) from None

    def _send_marked(self, data: Any, flags: int) -> int:
        """Send with MSG_MORE or MSG_EOR: no flag passes through the descriptor, so the agent is told."""
        shared = self._shared
        assert shared is not None
        payload = bytes(memoryview(data))
        timeout = self.gettimeout()
        wait = timeout != 0 and not flags & socket.MSG_DONTWAIT
        taken = 0
        while taken < len(payload):
            piece = payload[taken : taken + _PIECE]
            last = taken + len(piece) == len(payload)
            marks = {
                "more": not last or bool(flags & socket.MSG_MORE),
                "end": last and bool(flags & socket.MSG_EOR),
                "urgent": last and bool(flags & socket.MSG_OOB),
            }
            try:
                sent = self._call("send", timeout, number=shared.number, data=piece, wait=wait, **marks)
            except OSError as error:
                if taken and error.errno == errno.EAGAIN:
                    break
                raise
            taken += sent
            if sent < len(piece):
                break
        return taken

    def _send_opening(self, data: Any, flags: int, address: Any) -> int:
        """Send with MSG_FASTOPEN: connect, with the data in the SYN where that may be (RFC 7413)."""
        shared = self._shared
        assert shared is not None
        if shared.role in ("connecting", "connected", "listening"):
            raise _os_error(errno.EALREADY if shared.role == "connecting" else errno.EISCONN)
        if address is None:
            raise _os_error(errno.EINVAL)
        host, port = addresses.given(shared.family, address, "sendto")
        if shared.role == "over":
            self._renew()
            shared = self._shared
            assert shared is not None
        timeout = self.gettimeout()
        wait = timeout != 0 and not flags & socket.MSG_DONTWAIT
        plug = 0 if wait else self._plug()
        payload = bytes(memoryview(data)[:_PIECE])
        name, sent = self._call(
            "open", timeout, number=shared.number, host=host, port=port, data=payload, wait=wait, plug=plug
        )
        shared.name, shared.peer = shared.address(name), shared.address(addresses.reached(shared.family, host, port))
        shared.role, shared.unreported = "connected" if wait else "connecting", not wait
        if not sent:
            raise _os_error(errno.EINPROGRESS)
        return int(sent)

    def sendto(self, data: Any, *more: Any) -> int:
        """Send a datagram to an address."""
        shared = self._shared
        if shared is None:
            return super().sendto(data, *more)
        flags, address = more if len(more) == 2 else (0, *more)
        if shared.kind == STREAM:
            opens = flags & socket.MSG_FASTOPEN
            return self._send_opening(data, flags, address) if opens else Socket.send(self, data, flags)
        return self._send_datagram(data, flags, address)

    def sendmsg(
        self, buffers: Iterable[Any], ancdata: Iterable[Any] = (), flags: int = 0, address: Any = None, /
    ) -> int:
        """Send several buffers; descriptors cannot go along."""
        if self._shared is None:
            return super().sendmsg(buffers, ancdata, flags, address)
        if list(ancdata):
            raise _os_error(errno.EOPNOTSUPP)
        data = b"".join(bytes(memoryview(one).cast("B")) for one in buffers)
        if self._shared.kind == DATAGRAM:
            return self._send_datagram(data, flags, address)
        if flags & socket.MSG_FASTOPEN:
            return self._send_opening(data, flags, address)
        return Socket.send(self, data, flags)

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """Receive up to `bufsize` bytes; b"" at end of file."""
        shared = self._shared
        if shared is None:
            return super().recv(bufsize, flags)
        if shared.kind == DATAGRAM:
            return Socket.recvfrom(self, bufsize, flags)[0]
        if not self._may_receive(flags):
            return b""
        try:
            data = super().recv(bufsize, flags)
        except ConnectionResetError:
            data = b""
        if not data and bufsize and not shared.ended:
            self._raise_end()
        return data

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0, /) -> int:
        """Receive into `buffer`."""
        shared = self._shared
        if shared is None:
            return super().recv_into(buffer, nbytes, flags)
        if shared.kind == DATAGRAM:
            return Socket.recvfrom_into(self, buffer, nbytes, flags)[0]
        if not self._may_receive(flags):
            return 0
        try:
            count = super().recv_into(buffer, nbytes, flags)
        except ConnectionResetError:
            count = 0
        if not count and not shared.ended and memoryview(buffer).nbytes:
            self._raise_end()
        return count

    def recvfrom(self, bufsize: int, flags: int = 0, /) -> tuple[bytes, Any]:
        """Receive a datagram and who sent it."""
        if self._shared is None:
            return super().recvfrom(bufsize, flags)
        if self._shared.kind == DATAGRAM:
            if not bufsize:
                return b"", None
            data, _, address = self._receive_datagram(bufsize, flags)
            return data, address
        return Socket.recv(self, bufsize, flags), None

    def recvfrom_into(self, buffer: Any, nbytes: int = 0, flags: int = 0, /) -> tuple[int, Any]:
        """Receive a datagram into `buffer`."""
        if self._shared is None:
            return super().recvfrom_into(buffer, nbytes, flags)
        with memoryview(buffer) as view, view.cast("B") as target:
            if nbytes > len(target):
                raise ValueError("nbytes is greater than the length of the buffer")
            if self._shared.kind == STREAM:
                return Socket.recv_into(self, target, nbytes, flags), None
            data, length, address = self._receive_datagram(nbytes or len(target), flags)
            target[: len(data)] = data
        return length if flags & socket.MSG_TRUNC else len(data), address

    def recvmsg(self, bufsize: int, ancbufsize: int = 0, flags: int = 0, /) -> Any:
        """Receive; nothing comes along."""
        if self._shared is None:
            return super().recvmsg(bufsize, ancbufsize, flags)
        if self._shared.kind == STREAM:
            return Socket.recv(self, bufsize, flags), [], 0, None
        data, length, address = self._receive_datagram(bufsize, flags)
        return data, [], socket.MSG_TRUNC if length > len(data) else 0, address

    def recvmsg_into(self, buffers: Iterable[Any], ancbufsize: int = 0, flags: int = 0, /) -> Any:
        """Receive into several buffers; nothing comes along."""
        if self._shared is None:
            return super().recvmsg_into(buffers, ancbufsize, flags)
        views = [memoryview(one).cast("B") for one in buffers]
        data, _, said, address = Socket.recvmsg(self, sum(map(len, views)), 0, flags)
        rest = data
        for view in views:
            view[: len(rest[: len(view)])] = rest[: len(view)]
            rest = rest[len(view) :]
        return len(data), [], said, address

    def _send_datagram(self, data: Any, flags: int, address: Any) -> int:
        shared = self._shared
        assert shared is not None
        self._check_open()
        if not shared.may_send:
            raise _os_error(errno.EPIPE)
        if shared.peer is not None and (number := self._take_failure()):
            raise _os_error(number)
        if address is None:
            if shared.peer is None:
                raise _os_error(errno.EDESTADDRREQ)
            host, port = shared.peer[:2]
        else:
            host, port = addresses.reached(shared.family, *addresses.given(shared.family, address, "sendto"))
            if shared.reachable != host:
                shared.name = shared.address(self._call("prepare", number=shared.number, host=host))
                shared.reachable = host
        if not port:
            raise _os_error(errno.EINVAL)
        payload = bytes(memoryview(data))
        if len(payload) > _MAX_DATAGRAM[shared.family]:
            raise _os_error(errno.EMSGSIZE)
        super().send(addresses.header(shared.family, host, port) + payload, flags)
        return len(payload)

    def _receive_datagram(self, bufsize: int, flags: int) -> tuple[bytes, int, Address | None]:
        """What there is room for of the next one, its length, and who sent it."""
        shared = self._shared
        assert shared is not None
        self._check_open()
        if flags & socket.MSG_ERRQUEUE:
            raise _os_error(errno.EAGAIN)  # there never is anything in it
        header = HEADER_LEN[shared.family]
        message = bytearray(header + bufsize)
        length = super().recv_into(message, 0, flags | socket.MSG_TRUNC)
        if length < header:
            if length or self._hung_up():
                self._need_agent()
            return b"", 0, None  # it was shut down
        host, port = addresses.read_header(shared.family, message)
        if host == ANY[shared.family]:
            if flags & socket.MSG_PEEK:
                super().recv(1)
            raise _os_error(port)  # an ICMP error
        return bytes(message[header:length]), length - header, shared.address((host, port))

    def _take_failure(self) -> int:
        """The errno of an ICMP error that is next to be read, once; 0 for none."""
        shared = self._shared
        assert shared is not None
        try:
            message = super().recv(HEADER_LEN[shared.family], socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except OSError:
            return 0
        if len(message) < HEADER_LEN[shared.family]:
            return 0
        host, number = addresses.read_header(shared.family, message)
        if host != ANY[shared.family]:
            return 0
        super().recv(1)
        return number

    # Closing.

    def shutdown(self, how: int, /) -> None:
        """SHUT_WR: end of file for the peer after what was sent."""
        shared = self._shared
        if shared is None:
            super().shutdown(how)
            return
        self._check_open()
        if how not in (socket.SHUT_RD, socket.SHUT_WR, socket.SHUT_RDWR):
            raise _os_error(errno.EINVAL)
        if shared.role == "listening":
            if how != socket.SHUT_WR:
                shared.role = "over"
                super().shutdown(socket.SHUT_RDWR)
            return
        if shared.kind == DATAGRAM:
            # Who waits for a datagram is woken in any case (inet_shutdown).
            shared.may_send = shared.may_send and how == socket.SHUT_RD
            if how != socket.SHUT_WR:
                super().shutdown(socket.SHUT_RD)
        if not self._is_connected():
            raise _os_error(errno.ENOTCONN)
        if shared.kind == STREAM:
            super().shutdown(how)

    def _real_close(self, _ss: Any = _socket.socket) -> None:
        shared = self._shared
        lingers = shared is not None and shared.linger > 0 and self.gettimeout() != 0
        super()._real_close(_ss)  # type: ignore[misc]
        if lingers and shared is not None:
            with contextlib.suppress(OSError):
                self._call("delivered", number=shared.number, timeout_ns=shared.linger * 10**9)

    # Options.

    def setsockopt(self, level: int, optname: int, value: Any, optlen: int | None = None, /) -> None:
        """Set an option of the node's TCP, or of the descriptor."""
        shared = self._shared
        if shared is None or (level, optname) in _KERNEL_OPTIONS:
            super().setsockopt(level, optname, value) if optlen is None else super().setsockopt(
                level, optname, value, optlen
            )
            return
        self._check_open()
        given = int(value) if isinstance(value, int) else bytes(value)
        self._call("set_option", number=shared.number, level=int(level), name=int(optname), value=given)
        if (level, optname) == (socket.SOL_SOCKET, socket.SO_LINGER) and isinstance(given, bytes):
            on, seconds = _LINGER.unpack_from(given)
            shared.linger = seconds if on else 0
        elif (level, optname) == (socket.SOL_SOCKET, socket.SO_SNDBUF) and shared.kind == STREAM:
            super().setsockopt(level, optname, value)

    def getsockopt(self, level: int, optname: int, buflen: int = 0, /) -> Any:
        """An option's value, as bytes when `buflen` is given."""
        shared = self._shared
        if shared is None or (level, optname) in _KERNEL_OPTIONS:
            return super().getsockopt(level, optname, buflen) if buflen else super().getsockopt(level, optname)
        self._check_open()
        value: int | bytes
        if (level, optname) == _ERROR and shared.role == "connecting" and not self._has_connected():
            value = self._pending() if shared.role == "over" else 0
        elif (level, optname) == _ERROR and shared.kind == DATAGRAM:
            value = self._take_failure()
        elif level == socket.SOL_SOCKET and optname in _OWN:
            value = self._own(optname)
        else:
            value = self._call("get_option", number=shared.number, level=int(level), name=int(optname))
        if isinstance(value, int):
            return value.to_bytes(4, sys.byteorder, signed=True)[:buflen] if buflen else value
        return value[:buflen] if buflen else int.from_bytes(value[:4], sys.byteorder)

    def _own(self, optname: int) -> int:
        shared = self._shared
        assert shared is not None
        return {
            int(socket.SO_TYPE): int(self.type),
            int(socket.SO_DOMAIN): shared.family,
            int(socket.SO_PROTOCOL): self.proto,
            int(socket.SO_ACCEPTCONN): int(shared.role == "listening"),
        }[optname]

    # Helpers.

    def _check_open(self) -> None:
        if self.fileno() < 0:
            raise _os_error(errno.EBADF)

    def _may_receive(self, flags: int) -> bool:
        """False: this is the end, for good. Raises what there is to raise instead."""
        shared = self._shared
        assert shared is not None
        if flags & socket.MSG_ERRQUEUE:
            self._check_open()
            raise _os_error(errno.EAGAIN)  # there never is anything in it
        if shared.role == "connecting":
            self._has_connected()
        if shared.role == "over" and not shared.ended:
            self._raise_end()
        if shared.role == "over" and self.fileno() >= 0:
            return False
        self._need_connection(errno.ENOTCONN)
        return True

    def _is_connected(self) -> bool:
        """Whether there is a connection whose end, if it has had one, was not yet seen by either side."""
        shared = self._shared
        assert shared is not None
        if shared.role == "connecting":
            self._has_connected()
        if shared.role != "connected":
            return False
        return shared.kind == DATAGRAM or not self._hung_up() or self._call("is_connected", number=shared.number)

    def _hung_up(self) -> bool:
        poll = select.poll()
        poll.register(self.fileno(), 0)
        return bool(poll.poll(0))

    def _need_agent(self) -> None:
        """End the program when the node's agent has ended: it would be as on a machine without power, and many servers
        go on for ever with what raises OSError."""
        try:
            self.known.lines.call("name_of", host="")
        except NotAtNode:
            sys.stderr.write("the agent of this tcplab node has ended, and so does this program\n")
            raise SystemExit(1) from None

    def _need_connection(self, number: int) -> None:
        shared = self._shared
        assert shared is not None
        if shared.role != "connected":
            self._check_open()
            if shared.role == "connecting":
                if self._has_connected():
                    return
                if shared.role == "connecting":
                    if self.gettimeout() == 0:
                        raise _os_error(errno.EAGAIN)
                    self._await_connection()
                    return
                self._raise_end()
            raise _os_error(number)

    def _await_connection(self) -> None:
        poll = select.poll()
        poll.register(self.fileno(), select.POLLOUT)
        timeout = self.gettimeout()
        if not poll.poll(None if timeout is None else timeout * 1000):
            raise TimeoutError("timed out")
        if not self._has_connected():
            self._raise_end()

    def _pending(self) -> int:
        """The errno the connection ended with, once; 0 for none."""
        shared = self._shared
        assert shared is not None
        name = self._call("error", number=shared.number)
        return int(getattr(errno, name, errno.EIO)) if name else 0

    def _raise_end(self) -> None:
        """At the end of a connection: raise its error, once, if it has one."""
        shared = self._shared
        assert shared is not None
        shared.ended = True
        number = self._pending()
        if number:
            raise _os_error(number)

    def _end(self, otherwise: int) -> OSError:
        return _os_error(self._pending() or otherwise)

    def _call(self, call: str, timeout: float | None = None, /, **arguments: Any) -> Any:
        return self.known.lines.call(call, timeout=timeout or None, **arguments)


def _os_error(number: int) -> OSError:
    return OSError(number, os.strerror(number))

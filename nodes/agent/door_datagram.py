"""A UDP socket of a program: one end of a pair of unix SEQPACKET sockets, whose other end the program has.

Each message between them is a datagram after the other side's address, of the socket's family, and port; what comes
from the address of zeros is no datagram: in the place of the port it has the errno of an ICMP error.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from typing import Any, Final

from nodes.agent.descriptors import Descriptors
from nodes.base.errors import SocketError
from nodes.ip.udp import MAX_PAYLOAD_IPV6, RECEIVE_BUFFER, UdpSocket
from nodes.packet.address import mapped, unmapped
from nodes.sockets import options
from nodes.sockets.driver import StackDriver
from nodes.sockets.family import V6ONLY, Family, set_v6only

#: Datagrams taken from a program before others have their turn.
_BUDGET: Final = 64

Name = list[Any]


class DatagramEnd:
    """Our end. It is over when the program's is; `on_over(self)` is called then."""

    kind = "datagram"

    def __init__(
        self,
        driver: StackDriver,
        descriptors: Descriptors,
        number: int,
        inode: int,
        owner: str,
        uid: int,
        end: socket.socket,
        family: Family,
        on_over: Callable[[DatagramEnd], None],
    ) -> None:
        self.family = family
        #: Length of an address in a message, and of what stands before its data.
        self._width = 16 if family.six else 4
        self._header = self._width + 2
        self._nobody = bytes(self._width)
        self.number = number
        self.inode = inode
        self.owner = owner
        self._uid = uid
        self.over = False
        self.socket: UdpSocket | None = None
        self._driver = driver
        self._descriptors = descriptors
        self._on_over = on_over
        self._end = end
        self._blocked = False
        #: As getsockopt gives them.
        self._options = dict.fromkeys(("SO_RCVBUF", "SO_SNDBUF"), RECEIVE_BUFFER)
        self._options |= {
            "SO_BROADCAST": 0,
            "SO_REUSEADDR": 0,
            "SO_REUSEPORT": 0,
            "IP_TOS": 0,
            "IPV6_TCLASS": 0,
            "IP_TTL": 0,
            "IPV6_UNICAST_HOPS": 0,
        }
        end.setblocking(False)
        descriptors.add(end.fileno(), select.EPOLLIN, self._on_events)

    @property
    def role(self) -> str:
        """new, bound, connected or over."""
        if self.over:
            return "over"
        if self.socket is None:
            return "new"
        return "connected" if self.socket.remote else "bound"

    @property
    def name(self) -> Name:
        """getsockname(2)."""
        one = self.socket
        return [self.family.text(one.local), one.port] if one is not None else [self.family.text(b""), 0]

    @property
    def peer(self) -> Name | None:
        """getpeername(2)."""
        one = self.socket
        return [self.family.text(one.remote), one.remote_port] if one is not None and one.remote else None

    def bind(self, local: bytes, port: int) -> Name:
        """bind(2). Raises SocketError."""
        if self.socket is not None:
            raise SocketError("EINVAL", "the socket has an address")
        reuse, reuseport = (bool(self._options[name]) for name in ("SO_REUSEADDR", "SO_REUSEPORT"))
        self.socket = self._driver.stack.udp.bind(self.family.local(local), port, reuse, reuseport, self._uid)
        self.socket.on_ready = self._to_program
        self._apply()
        return self.name

    def connect(self, remote: bytes, port: int) -> Name:
        """connect(2). Raises SocketError ENETUNREACH."""
        remote = self.family.remote(remote)
        self.prepare(remote)
        assert self.socket is not None
        self.socket.connect(remote, port)
        return self.name

    def prepare(self, remote: bytes) -> Name:
        """Be bound, and have a way to an address. Raises SocketError ENETUNREACH, EACCES for a broadcast address."""
        stack = self._driver.stack
        remote = self.family.remote(remote)
        stack.source_for(remote)
        if stack.is_broadcast(remote) and not self._options["SO_BROADCAST"]:
            raise SocketError("EACCES", "a broadcast address needs SO_BROADCAST")
        if self.socket is None:
            self.bind(b"", 0)
        return self.name

    def set_option(self, level: int, name: int, value: int | bytes) -> None:
        """setsockopt(2). SO_SNDBUF has no meaning here (what is sent leaves at once). Raises SocketError ENOPROTOOPT,
        InvalidArgument, OSError EINVAL."""
        options.check_level(level, self.family.six, "ENOPROTOOPT")
        if (level, name) == V6ONLY:
            set_v6only(self.family, value, self.socket is None)
            return
        option = _option(level, name)
        parameters = self._driver.stack.parameters
        # SO_BROADCAST is a switch as the other one.
        like = "SO_REUSEADDR" if option == "SO_BROADCAST" else option
        chosen = options.decode(like, value)
        options.check(parameters, like, chosen)
        assert isinstance(chosen, int)
        if option == "SO_RCVBUF":
            chosen = 2 * min(chosen, parameters.rmem_max)
        elif option == "SO_SNDBUF":
            chosen = 2 * min(chosen, parameters.wmem_max)
        chosen = max(chosen, 0)  # -1 of IPv6's: as it was at first
        self._options[option] = chosen
        self._apply()

    def _apply(self) -> None:
        if self.socket is not None:
            self.socket.rcvbuf = self._options["SO_RCVBUF"]
            self.socket.reuse = bool(self._options["SO_REUSEADDR"])
            self.socket.reuseport = bool(self._options["SO_REUSEPORT"])
            self.socket.ttl = self._options["IPV6_UNICAST_HOPS"] or self._options["IP_TTL"]
            self.socket.tos = self._options["IPV6_TCLASS" if self.family.six else "IP_TOS"]

    def get_option(self, level: int, name: int) -> int | bytes:
        """getsockopt(2), for what only the stack knows. Raises SocketError."""
        if (level, name) == (socket.SOL_SOCKET, socket.SO_ERROR):
            return options.errno_of(self.take_error())
        options.check_level(level, self.family.six, "EOPNOTSUPP")
        if (level, name) == V6ONLY:
            return int(self.family.v6only)
        option = _option(level, name)
        return options.encode(option, options.told(self._driver.stack.parameters, option, self._options[option]))

    def take_error(self) -> str:
        """The errno name of a pending error, which nobody is told any more; "" for none."""
        one = self.socket
        if one is None:
            return ""
        error, one.error = one.error, ""
        return error

    def _on_events(self, flags: int) -> None:
        if flags & select.EPOLLOUT:
            self._to_program()
        if flags & ~select.EPOLLOUT:
            self._from_program()
            self._driver.flush()  # also what a program sent that has ended since

    def _from_program(self) -> None:
        for _ in range(_BUDGET):
            try:
                message = self._end.recv(self._header + MAX_PAYLOAD_IPV6 + 1)
            except BlockingIOError:
                break
            except OSError:
                message = b""  # it was closed with something unread
            if not message:
                self.close()
                return
            remote, port = message[: self._width], int.from_bytes(message[self._width : self._header], "big")
            self._send(unmapped(remote), port, message[self._header :])

    def _send(self, remote: bytes, port: int, data: bytes) -> None:
        try:
            remote = self.family.remote(remote)
            if self.socket is None:
                self.prepare(remote)
            assert self.socket is not None
            self.socket.send_to(self._driver.now(), data, remote, port)
        except SocketError as error:
            self._say(self._failure(error.errno_name))

    def _to_program(self) -> None:
        one = self.socket
        if one is None or self.over:
            return
        while one.error or one.readable:
            if one.error:
                message = self._failure(self.take_error())
            else:
                received = one.look()
                if received is None:
                    break
                address = mapped(received.address) if self.family.six else received.address
                message = address + received.port.to_bytes(2, "big") + received.data
            if not self._say(message):
                break
            if not message.startswith(self._nobody):
                one.receive()

    def _say(self, message: bytes) -> bool:
        """Whether the program's end took it; if not, we wait until it reads."""
        try:
            self._end.send(message, socket.MSG_NOSIGNAL)
            blocked = False
        except BlockingIOError:
            blocked = True
        except OSError:
            return False
        if blocked != self._blocked:
            self._blocked = blocked
            self._descriptors.change(self._end.fileno(), select.EPOLLIN | (select.EPOLLOUT if blocked else 0))
        return not blocked

    def _failure(self, errno_name: str) -> bytes:
        return self._nobody + options.errno_of(errno_name).to_bytes(2, "big")

    def close(self) -> None:
        """Unbind; what is queued is lost. Idempotent."""
        if not self.over:
            self.over = True
            if self.socket is not None:
                self.socket.on_ready = None
                self.socket.close()
            self._descriptors.remove(self._end.fileno())
            self._end.close()
            self._on_over(self)


_OF_IPV6: Final = ("IPV6_TCLASS", "IPV6_UNICAST_HOPS")
_OPTIONS: Final = {
    (options.LEVELS[name.partition("_")[0]], int(getattr(socket, name))): name
    for name in (
        "SO_RCVBUF",
        "SO_SNDBUF",
        "SO_BROADCAST",
        "SO_REUSEADDR",
        "SO_REUSEPORT",
        "IP_TTL",
        "IP_TOS",
        *_OF_IPV6,
    )
}


def _option(level: int, name: int) -> str:
    known = _OPTIONS.get((level, name))
    if known is None:
        raise SocketError("ENOPROTOOPT", f"this UDP has no option {name} of level {level}")
    return known

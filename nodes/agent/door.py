"""`Door`: how programs on a node use its stack, over a unix socket with the abstract name `tcplab` in the network
namespace of the node: only what runs there can reach it, and nothing of it is left on the machine.

It speaks the language of a line (line.py): a program makes calls, each is answered. Descriptors go along with a call
(`socket`, which gives us one end of the program's new socket) or an answer (`accept`, which gives the program one).
"""

from __future__ import annotations

import contextlib
import errno
import inspect
import os
import resource
import socket
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Mapping, Sequence
from select import EPOLLIN
from typing import Any, Final

from nodes.agent.descriptors import Descriptors
from nodes.agent.door_datagram import DatagramEnd
from nodes.agent.door_line import DoorLine, Echoes
from nodes.agent.door_stream import StreamEnd
from nodes.agent.door_views import Views
from nodes.agent.line import Message
from nodes.agent.stack_host import StackHost
from nodes.base.errors import AlreadyExists, InvalidArgument, NotFound, SocketError
from nodes.base.real import RealScheduler
from nodes.base.tasks import TaskRunner
from nodes.packet import ipv6
from nodes.packet.address import address_text, parse_address, unmapped
from nodes.sockets.family import Family
from nodes.tcp import states

#: The abstract name, which is one of the network namespace.
NAME: Final = "\0tcplab"
#: Sockets that are over and whose errors are still known.
_ENDED_KEPT: Final = 1024
#: Descriptors the process may have, where the machine allows so many: each socket of a program takes one.
_DESCRIPTORS: Final = 1 << 16

#: getpeername(2) knows no peer of what is in one of these (TIME-WAIT is none of the socket's on Linux).
_GONE: Final = (states.CLOSED, states.TIME_WAIT)

End = StreamEnd | DatagramEnd


class Door:
    """Open until `close`. `names` are the nodes' addresses, the first of each is what its name means.

    To be made by a thread in the node's network namespace. Raises AlreadyExists when there is a door.
    """

    def __init__(
        self, host: StackHost, scheduler: RealScheduler, runner: TaskRunner, names: Mapping[str, Sequence[bytes]]
    ) -> None:
        self._host = host
        self._scheduler = scheduler
        self._runner = runner
        self._names = names
        self._door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            self._door.bind(NAME)
            self._door.listen(1024)
        except OSError as error:
            self._door.close()
            if error.errno != errno.EADDRINUSE:
                raise
            raise AlreadyExists("this network namespace has a tcplab node's agent already") from None
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if 0 <= soft < _DESCRIPTORS:
            most = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        self._descriptors = Descriptors(scheduler)
        self._lines: set[DoorLine] = set()
        self._ends: dict[int, End] = {}
        self._ended: OrderedDict[int, End] = OrderedDict()
        self._count = 0
        self._calls: dict[str, Callable[..., Any]] = {
            name: getattr(self, f"_call_{name}")
            for name in (
                *("socket", "find", "bind", "connect", "listen", "accept", "prepare", "send", "error", "delivered"),
                *("open", "is_connected", "set_option", "get_option", "resolve", "name_of", "echo_open", "echo"),
            )
        }
        views = Views(host, self._owners, lambda: list(self._ends.values()))
        self._calls |= {name: getattr(views, name) for name in views.offered}
        self._descriptors.add(self._door.fileno(), EPOLLIN, self._on_program)

    def close(self) -> None:
        """Close it and every socket of a program. Idempotent."""
        for line in list(self._lines):
            line.close()
        for end in list(self._ends.values()):
            end.close()
        self._host.driver.flush()
        self._descriptors.close()
        self._door.close()

    def _on_program(self, _: int) -> None:
        try:
            connection, _ = self._door.accept()
        except OSError:
            return  # it has gone already, or there are too many of them
        self._lines.add(DoorLine(connection, self._descriptors, self._call, self._lines.discard))

    # Calls.

    def _call(self, line: DoorLine, message: Message) -> None:
        """Make a call and answer it, now or when its coroutine ends."""
        number = message["id"]
        try:
            call = self._calls.get(message["call"])
            if call is None:
                raise NotFound(f"the agent of this node offers no call {message['call']!r}")
            arguments: dict[str, Any] = message.get("args", {})
            value = call(line, **arguments)
        except Exception as error:
            self._host.driver.flush()
            line.answer_error(number, error)
            return
        self._host.driver.flush()
        if inspect.iscoroutine(value):
            line.await_task(number, self._runner.spawn(self._host.order, message["call"], value))
        else:
            line.answer(number, value)

    def _call_socket(self, line: DoorLine, kind: str, family: int, inode: int, owner: str, like: int = 0) -> int:
        """A new socket of a program, whose end comes along; with the name and options of one that is over, `like`."""
        if kind not in ("stream", "datagram"):
            raise InvalidArgument(f"kind: {kind!r} is none; there are stream and datagram", "kind")
        end = line.take_socket()
        self._count += 1
        number = self._count
        made: End
        if kind == "stream":
            made = self._stream_end(number, inode, owner, line.uid, end, Family(family))
        else:
            driver, descriptors = self._host.driver, self._descriptors
            made = DatagramEnd(driver, descriptors, number, inode, owner, line.uid, end, Family(family), self._on_over)
        self._ends[number] = made
        if isinstance(made, StreamEnd) and isinstance(old := self._ended.get(like), StreamEnd):
            made.succeed(old)
        return number

    def _stream_end(
        self, number: int, inode: int, owner: str, uid: int, end: socket.socket, family: Family
    ) -> StreamEnd:
        driver, descriptors, on_over = self._host.driver, self._descriptors, self._on_over
        return StreamEnd(driver, self._scheduler, descriptors, number, inode, owner, uid, end, family, on_over)

    def _on_over(self, end: End) -> None:
        del self._ends[end.number]
        self._ended[end.number] = end
        if len(self._ended) > _ENDED_KEPT:
            self._ended.popitem(last=False)

    def _call_find(self, line: DoorLine, inode: int) -> list[Any]:
        """What a program's descriptor is, by its inode number: a program may have got it from another."""
        for end in self._ends.values():
            if end.inode == inode:
                return [end.number, end.kind, end.family.number, end.role, end.name, end.peer]
        raise NotFound("the descriptor is no socket of this node")

    def _call_bind(self, line: DoorLine, number: int, host: str, port: int) -> list[Any]:
        return self._open(number).bind(_address(host), port)

    def _call_connect(
        self, line: DoorLine, number: int, host: str, port: int, wait: bool, plug: int
    ) -> list[Any] | Coroutine[Any, Any, list[Any]]:
        end = self._open(number)
        if isinstance(end, DatagramEnd):
            return end.connect(_address(host), port)
        name = end.connect(_address(host), port, plug)
        return end.established() if wait else name

    def _call_open(
        self, line: DoorLine, number: int, host: str, port: int, data: bytes, wait: bool, plug: int
    ) -> Coroutine[Any, Any, list[Any]]:
        """Connect, and send (MSG_FASTOPEN): our address, and how much was taken."""
        return self._stream(number).open(_address(host), port, data, wait, plug)

    def _call_listen(self, line: DoorLine, number: int, backlog: int) -> list[Any]:
        return self._stream(number).listen(backlog)

    def _call_accept(self, line: DoorLine, number: int, owner: str) -> list[Any]:
        """Number, inode, address and peer of a connection; a descriptor for the program goes along."""
        listener = self._stream(number)
        try:
            ours, theirs = socket.socketpair()
        except OSError:
            listener.give_back()
            raise
        try:
            stream = listener.accept()
        except BaseException:
            ours.close()
            theirs.close()
            raise
        self._count += 1
        inode = os.fstat(theirs.fileno()).st_ino
        family = listener.family.copy()
        end = self._ends[self._count] = self._stream_end(self._count, inode, owner, line.uid, ours, family)
        line.give_socket(theirs)
        end.adopt(stream, listener)
        return [end.number, inode, end.name, end.peer]

    def _call_prepare(self, line: DoorLine, number: int, host: str) -> list[Any]:
        """A datagram may be sent to that address."""
        end = self._open(number)
        if not isinstance(end, DatagramEnd):
            raise SocketError("EISCONN", "the socket is not UDP's")
        return end.prepare(_address(host))

    def _call_send(
        self, line: DoorLine, number: int, data: bytes, more: bool, end: bool, urgent: bool, wait: bool
    ) -> Coroutine[Any, Any, int]:
        """Send what is to be continued, or ends a record, in urgent data perhaps."""
        return self._stream(number).send(data, more, end, urgent, wait)

    def _call_error(self, line: DoorLine, number: int) -> str:
        """The errno name a socket's connection ended with, once."""
        end = self._ends.get(number) or self._ended.get(number)
        return end.take_error() if end is not None else ""

    def _call_is_connected(self, line: DoorLine, number: int) -> bool:
        """Whether TCP has not yet ended a connection."""
        end = self._ends.get(number)
        return isinstance(end, StreamEnd) and end.stream is not None and end.stream.connection.state not in _GONE

    def _call_delivered(self, line: DoorLine, number: int, timeout_ns: int) -> Coroutine[Any, Any, None]:
        """Wait until what was sent before close is acknowledged (SO_LINGER)."""
        end = self._ends.get(number) or self._ended.get(number)

        async def delivered() -> None:
            if isinstance(end, StreamEnd) and end.stream is not None:
                with contextlib.suppress(TimeoutError):
                    await end.stream.delivered(timeout_ns)

        return delivered()

    def _call_set_option(self, line: DoorLine, number: int, level: int, name: int, value: int | bytes) -> None:
        self._known(number).set_option(level, name, value)

    def _call_get_option(self, line: DoorLine, number: int, level: int, name: int) -> int | bytes:
        return self._known(number).get_option(level, name)

    def _open(self, number: int) -> End:
        end = self._ends.get(number)
        if end is None and number in self._ended:
            raise SocketError("EINVAL", "the socket was shut down")
        if end is None:
            raise SocketError("EBADF", "the socket is closed")
        return end

    def _stream(self, number: int) -> StreamEnd:
        end = self._open(number)
        if not isinstance(end, StreamEnd):
            raise SocketError("EOPNOTSUPP", "the socket is UDP's")
        return end

    def _known(self, number: int) -> End:
        return self._ended.get(number) or self._open(number)

    def _owners(self) -> dict[int, str]:
        """Who has a connection, by its number; who listens, by the negative one."""
        owners = {}
        for end in self._ends.values():
            if isinstance(end, StreamEnd):
                if end.stream is not None:
                    owners[end.stream.number] = end.owner
                if end.listener is not None:
                    owners[-end.listener.number] = end.owner
        return owners

    # Names.

    def _call_resolve(self, line: DoorLine, name: str) -> list[str]:
        """The addresses of a node, or of what is one in text: the one that is meant first, then the others."""
        if name == "localhost":
            return [address_text(self._host.stack.loopback.address), address_text(ipv6.LOOPBACK)]
        known = self._names.get(name)
        if known:
            return [address_text(address) for address in known]
        try:
            return [address_text(parse_address(name))]
        except InvalidArgument:
            raise NotFound(f"{name}: there is no such node; there are {', '.join(self._names)}") from None

    def _call_name_of(self, line: DoorLine, host: str) -> str:
        """The node with an address, "" for none; that of this node for ""."""
        if not host:
            return self._host.name
        address = _address(host)
        if address in (self._host.stack.loopback.address, ipv6.LOOPBACK):
            return "localhost"
        return next((name for name, known in self._names.items() if address in known), "")

    # Echo requests.

    def _call_echo_open(self, line: DoorLine, host: str) -> list[Any]:
        """A series of echo requests, for as long as the line: its number, its ICMP identifier, our address."""
        address = _address(host)
        source = self._host.stack.source_for(address)
        echoes = Echoes(self._host, self._runner, address)
        return [line.keep(echoes), echoes.ping.identifier, address_text(source)]

    def _call_echo(
        self, line: DoorLine, series: int, sequence: int, size: int, ttl: int, timeout_ns: int
    ) -> Coroutine[Any, Any, list[Any] | None]:
        """Send one, and wait for its answer: address, ICMP type and code, ns, TTL, size; None when there is none."""
        return line.kept(series).send(sequence, size, ttl, timeout_ns)


def _address(host: str) -> bytes:
    """b"" for any of the socket's."""
    return unmapped(parse_address(host)) if host else b""

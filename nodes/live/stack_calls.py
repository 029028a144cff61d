"""The calls of sockets, made on a stack that lives in a `Loop` of this process."""

from __future__ import annotations

import socket
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

from nodes.base.errors import InvalidArgument, NotFound, SocketError
from nodes.live.calls import Calls, Watch
from nodes.live.loop import Loop
from nodes.packet import ipv6
from nodes.packet.address import parse_address
from nodes.sockets.driver import StackDriver
from nodes.sockets.options import check, told, value_of
from nodes.sockets.stream import StreamListener, StreamSocket, listen, open_stream, stream_of
from nodes.tcp.info import TcpInfo, info
from nodes.tcp.ports import Binding


class StackCalls(Calls):
    """Public methods are called in the programs' threads; what they hand to the loop runs in the stack's."""

    def __init__(self, loop: Loop, driver: StackDriver, hosts: Mapping[str, Sequence[bytes]]) -> None:
        self._loop = loop
        self._driver = driver
        self._stack = driver.stack
        self._hosts = hosts
        self._bindings: dict[int, Binding] = {}
        self._bound = 0
        self._watches: dict[int, Watch] = {}
        self._listener_watches: dict[int, Watch] = {}

    # Names and ports.

    def resolve(self, name: str, six: bool) -> bytes:
        if name in self._hosts:
            found = self._hosts[name]
            return next((address for address in found if (len(address) == 16) is six), found[0])
        if name == "":
            return b""
        if name == "localhost":
            return ipv6.LOOPBACK if six else self._stack.loopback.address
        try:
            return parse_address(name.partition("%")[0])
        except InvalidArgument:
            known = ", ".join(self._hosts) or "none"
            raise NotFound(f"no host is called {name!r}; names known: {known}") from None

    def family_of(self, name: str) -> int:
        try:
            return int(socket.AF_INET6 if len(self.resolve(name, False)) == 16 else socket.AF_INET)
        except NotFound:
            return int(socket.AF_INET)  # connect says what is wrong

    def bind(self, local: bytes, port: int, reuse: bool, reuseport: bool) -> tuple[int, int]:
        def work() -> tuple[int, int]:
            binding = self._stack.tcp.bind(local, port, reuse, reuseport)
            self._bound += 1
            self._bindings[self._bound] = binding
            return self._bound, binding.port

        return self._loop.call(work)

    def unbind(self, binding: int) -> None:
        self._loop.post(lambda: self._stack.tcp.ports.release(self._bindings.pop(binding)))

    # Opening.

    def open(self, remote: bytes, remote_port: int, binding: int, options: Mapping[str, object]) -> int:
        def work() -> int:
            bound = self._bindings.get(binding)
            local, port = (bound.local, bound.port) if bound is not None else (b"", 0)
            return open_stream(self._driver, remote, remote_port, local, port, options, bound).number

        return self._loop.call(work)

    def established(self, connection: int, timeout_ns: int) -> None:
        def begin() -> Coroutine[Any, None, None] | None:
            stream = self._stream(connection)
            if not timeout_ns and stream.connection.opening:
                raise _would_block()
            return stream.established(timeout_ns)

        self._loop.wait(begin)

    def listen(self, binding: int, backlog: int, options: Mapping[str, object]) -> int:
        def work() -> int:
            bound = self._bindings[binding]
            return listen(self._driver, bound.port, bound.local, backlog, options, bound).number

        return self._loop.call(work)

    def accept(self, listener: int, timeout_ns: int) -> int:
        async def later(one: StreamListener) -> int:
            accepted = await one.accept(timeout_ns)
            self._tell_listener(one)
            return accepted.number

        def begin() -> int | Coroutine[Any, None, int]:
            one = self._listener(listener)
            if one.ready or timeout_ns:
                return later(one)
            raise _would_block()

        return self._loop.wait(begin)

    # Sending and receiving.

    def send(self, connection: int, data: bytes, timeout_ns: int, more: bool, end: bool, urgent: bool) -> int:
        async def later(stream: StreamSocket) -> int:
            sent = 0
            while not sent:
                await stream.ready(False, True, timeout_ns)
                sent = stream.send(data, more, end, urgent)
            self._tell(stream)
            return sent

        def begin() -> int | Coroutine[Any, None, int]:
            stream = self._stream(connection)
            try:
                sent = stream.send(data, more, end, urgent)
                if not sent and not timeout_ns:
                    raise _would_block()
            finally:
                self._tell(stream)
            return sent or later(stream)

        return self._loop.wait(begin)

    def send_all(self, connection: int, data: bytes, timeout_ns: int, more: bool, end: bool, urgent: bool) -> None:
        async def later(stream: StreamSocket, rest: bytes) -> None:
            try:
                await stream.send_all(rest, timeout_ns, more, end, urgent)
            finally:
                self._tell(stream)

        def begin() -> Coroutine[Any, None, None] | None:
            stream = self._stream(connection)
            try:
                sent = stream.send(data, more, end, urgent)
            finally:
                self._tell(stream)
            if sent == len(data):
                return None
            if not timeout_ns:
                raise _would_block()
            return later(stream, data[sent:])

        self._loop.wait(begin)

    def receive(self, connection: int, limit: int, timeout_ns: int) -> bytes:
        async def later(stream: StreamSocket) -> bytes:
            data = await stream.recv(limit, timeout_ns)
            self._tell(stream)
            return data

        def begin() -> bytes | Coroutine[Any, None, bytes]:
            stream = self._stream(connection)
            if stream.connection.readable or timeout_ns or stream.read_shut:
                return later(stream)
            raise _would_block()

        return self._loop.wait(begin)

    def peek(self, connection: int, limit: int, timeout_ns: int) -> bytes:
        async def later(stream: StreamSocket) -> bytes:
            await stream.ready(True, False, timeout_ns)
            return stream.connection.peek(self._driver.now(), limit)

        def begin() -> bytes | Coroutine[Any, None, bytes]:
            stream = self._stream(connection)
            if stream.connection.readable or timeout_ns or stream.read_shut:
                return later(stream)
            raise _would_block()

        return self._loop.wait(begin)

    def receive_urgent(self, connection: int, peek: bool) -> bytes:
        return self._loop.call(lambda: self._stream(connection).connection.receive_urgent(self._driver.now(), peek))

    def at_mark(self, connection: int) -> bool:
        return self._loop.call(lambda: self._stream(connection).connection.at_mark)

    # Closing.

    def shutdown(self, connection: int) -> None:
        def work() -> None:
            stream = self._stream(connection)
            stream.shutdown()
            self._tell(stream)

        self._loop.call(work)

    def shut_read(self, connection: int) -> None:
        def work() -> None:
            stream = self._stream(connection)
            stream.shut_read()
            self._tell(stream)

        self._loop.call(work)

    def close(self, connection: int) -> None:
        def work() -> None:
            if connection in self._stack.tcp.connections:
                self._stream(connection).release()

        self._loop.post(work)

    def delivered(self, connection: int, timeout_ns: int) -> None:
        def begin() -> Coroutine[Any, None, None] | None:
            return self._stream(connection).delivered(timeout_ns)

        self._loop.wait(begin)

    def close_listener(self, listener: int) -> None:
        def work() -> None:
            one = self._driver.listeners.get(listener)
            if one is not None:
                one.close()

        self._loop.post(work)

    # Options and state.

    def set_option(self, connection: int, name: str, value: object) -> None:
        self._loop.call(lambda: self._stream(connection).set_option(name, value))

    def set_listener_option(self, listener: int, name: str, value: object) -> None:
        self._loop.call(lambda: self._listener(listener).listener.set_option(self._driver.now(), name, value))

    def check_option(self, name: str, value: object) -> None:
        check(self._stack.parameters, name, value)

    def chosen(self, options: Mapping[str, object], name: str) -> int | str:
        return value_of(self._stack.parameters, options, name)

    def get_option(self, connection: int, name: str) -> int | str:
        parameters = self._stack.parameters
        if not connection:
            return value_of(parameters, {}, name)
        return told(parameters, name, self._loop.call(lambda: self._stream(connection).connection.get_option(name)))

    def take_error(self, connection: int) -> str:
        return self._loop.call(lambda: self._stream(connection).connection.take_error())

    def status(self, connection: int) -> TcpInfo:
        return self._loop.call(lambda: info(self._stream(connection).connection, self._driver.now()))

    # Readiness.

    def watch(self, connection: int, watch: Watch | None) -> None:
        def work() -> None:
            if watch is None:
                self._watches.pop(connection, None)
            elif connection in self._stack.tcp.connections:
                self._watches[connection] = watch
                stream = self._stream(connection)
                stream.gate.on_change = lambda: self._tell(stream)
                self._tell(stream)

        (self._loop.post if watch is None else self._loop.call)(work)

    def watch_listener(self, listener: int, watch: Watch | None) -> None:
        def work() -> None:
            one = self._driver.listeners.get(listener)
            if watch is None:
                self._listener_watches.pop(listener, None)
            elif one is not None:
                self._listener_watches[listener] = watch
                one.gate.on_change = lambda: self._tell_listener(one)
                self._tell_listener(one)

        (self._loop.post if watch is None else self._loop.call)(work)

    def _tell(self, stream: StreamSocket) -> None:
        watch = self._watches.get(stream.number)
        if watch is not None:
            watch(stream.connection.readable or stream.read_shut, stream.connection.writable)

    def _tell_listener(self, listener: StreamListener) -> None:
        watch = self._listener_watches.get(listener.number)
        if watch is not None:
            watch(listener.ready, False)

    def _stream(self, number: int) -> StreamSocket:
        return stream_of(self._driver, number)

    def _listener(self, number: int) -> StreamListener:
        listener = self._driver.listeners.get(number)
        if listener is None:
            raise SocketError("EBADF", "the listener is closed")
        return listener


def _would_block() -> SocketError:
    return SocketError("EAGAIN", "it would have to wait")

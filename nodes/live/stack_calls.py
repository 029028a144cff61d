"""The calls of sockets, made on a stack that lives in a `Loop` of this process."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from typing import Any

from nodes.base.errors import InvalidArgument, NotFound, SocketError
from nodes.live.calls import Calls, Watch
from nodes.live.loop import Loop
from nodes.packet.address import parse_address
from nodes.sockets.driver import StackDriver
from nodes.sockets.ports import BoundPorts
from nodes.sockets.stream import StreamListener, StreamSocket, listen, open_stream, stream_of
from nodes.tcp.info import TcpInfo, info
from nodes.tcp.options import Options


class StackCalls(Calls):
    """Public methods are called in the programs' threads; what they hand to the loop runs in the stack's."""

    def __init__(self, loop: Loop, driver: StackDriver, hosts: Mapping[str, bytes]) -> None:
        self._loop = loop
        self._driver = driver
        self._stack = driver.stack
        self._hosts = hosts
        self._ports = BoundPorts(driver.stack)
        self._watches: dict[int, Watch] = {}
        self._listener_watches: dict[int, Watch] = {}

    # Names and ports.

    def resolve(self, name: str) -> bytes:
        if name in self._hosts:
            return self._hosts[name]
        if name in ("", "0.0.0.0"):
            return b""
        if name == "localhost":
            return self._stack.loopback.address
        try:
            return parse_address(name)
        except InvalidArgument:
            known = ", ".join(self._hosts) or "none"
            raise NotFound(f"no host is called {name!r}; names known: {known}") from None

    def bind(self, local: bytes, port: int, reuse: bool) -> int:
        return self._loop.call(lambda: self._ports.bind(local, port, reuse))

    def unbind(self, local: bytes, port: int) -> None:
        self._loop.post(lambda: self._ports.release(local, port))

    # Opening.

    def open(
        self, remote: bytes, remote_port: int, local: bytes, local_port: int, options: Mapping[str, object]
    ) -> int:
        # To "any" is to this host, as on Linux.
        remote = remote or self._stack.loopback.address
        return self._loop.call(
            lambda: open_stream(self._driver, remote, remote_port, local, local_port, options).number
        )

    def established(self, connection: int, timeout_ns: int) -> None:
        def begin() -> Coroutine[Any, None, None] | None:
            stream = self._stream(connection)
            if not timeout_ns and stream.connection.opening:
                raise _would_block()
            return stream.established(timeout_ns)

        self._loop.wait(begin)

    def listen(self, local: bytes, port: int, backlog: int, options: Mapping[str, object]) -> int:
        return self._loop.call(lambda: listen(self._driver, port, local, backlog, options).number)

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

    def send(self, connection: int, data: bytes, timeout_ns: int) -> int:
        async def later(stream: StreamSocket) -> int:
            sent = 0
            while not sent:
                await stream.ready(False, True, timeout_ns)
                sent = stream.send(data)
            self._tell(stream)
            return sent

        def begin() -> int | Coroutine[Any, None, int]:
            stream = self._stream(connection)
            try:
                sent = stream.send(data)
                if not sent and not timeout_ns:
                    raise _would_block()
            finally:
                self._tell(stream)
            return sent or later(stream)

        return self._loop.wait(begin)

    def send_all(self, connection: int, data: bytes, timeout_ns: int) -> None:
        async def later(stream: StreamSocket, rest: bytes) -> None:
            try:
                await stream.send_all(rest, timeout_ns)
            finally:
                self._tell(stream)

        def begin() -> Coroutine[Any, None, None] | None:
            stream = self._stream(connection)
            try:
                sent = stream.send(data)
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
            if stream.connection.readable or timeout_ns:
                return later(stream)
            raise _would_block()

        return self._loop.wait(begin)

    def peek(self, connection: int, limit: int, timeout_ns: int) -> bytes:
        async def later(stream: StreamSocket) -> bytes:
            await stream.ready(True, False, timeout_ns)
            return stream.connection.peek(self._driver.now(), limit)

        def begin() -> bytes | Coroutine[Any, None, bytes]:
            stream = self._stream(connection)
            if stream.connection.readable or timeout_ns:
                return later(stream)
            raise _would_block()

        return self._loop.wait(begin)

    # Closing.

    def shutdown(self, connection: int) -> None:
        def work() -> None:
            stream = self._stream(connection)
            stream.shutdown()
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
        Options(self._stack.parameters).set(self._stack.parameters, name, value)

    def get_option(self, connection: int, name: str) -> int | str:
        if not connection:
            return Options(self._stack.parameters).get(name)
        return self._loop.call(lambda: self._stream(connection).connection.get_option(name))

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

        self._loop.post(work)

    def watch_listener(self, listener: int, watch: Watch | None) -> None:
        def work() -> None:
            one = self._driver.listeners.get(listener)
            if watch is None:
                self._listener_watches.pop(listener, None)
            elif one is not None:
                self._listener_watches[listener] = watch
                one.gate.on_change = lambda: self._tell_listener(one)
                self._tell_listener(one)

        self._loop.post(work)

    def _tell(self, stream: StreamSocket) -> None:
        watch = self._watches.get(stream.number)
        if watch is not None:
            watch(stream.connection.readable, stream.connection.writable)

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

"""TCP sockets for coroutines in lab time: as blocking BSD sockets, but waiting takes lab time only.

Every wait has a `timeout_ns` of lab time (NEVER: none), after which TimeoutError is raised; the connection lives on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

from nodes.base.clock import NEVER, SECOND
from nodes.base.errors import NotFound, SocketError
from nodes.packet.address import address_text
from nodes.sockets.driver import StackDriver
from nodes.sockets.gate import Gate
from nodes.tcp import states
from nodes.tcp.connection import Connection
from nodes.tcp.listener import Listener
from nodes.tcp.ports import Binding

_OPENING: Final = (states.SYN_SENT, states.SYN_RECEIVED)
#: What is sent after CLOSE, our FIN included, is not all acknowledged.
LEAVING: Final = (states.FIN_WAIT_1, states.CLOSING, states.LAST_ACK)
#: Most that is given to one SEND, bytes: a long `data` is not copied anew for every piece of room.
_PIECE: Final = 1 << 20
#: The options of servers: one that is started again finds its port free though connections are in TIME-WAIT there.
REUSED: Final[Mapping[str, object]] = {"SO_REUSEADDR": 1}


class StreamSocket:
    """One connection; there is one socket for it (`stream_of`). Any number of tasks may use it at once, e.g. one that
    reads and one that writes."""

    def __init__(self, driver: StackDriver, connection: Connection) -> None:
        self._driver = driver
        self.gate = Gate(driver.runner)
        self.connection = connection
        #: SHUT_RD: who reads waits no more.
        self.read_shut = False
        self._awaited_data = f"data for connection {connection.number} from {self.peer}"
        connection.on_ready = self.gate.notify
        known = driver.stack.tcp.connections
        if len(driver.streams) > 2 * len(known) + 64:
            driver.streams = {number: stream for number, stream in driver.streams.items() if number in known}
        driver.streams[connection.number] = self

    @property
    def number(self) -> int:
        """The connection's number on its node."""
        return self.connection.number

    @property
    def peer(self) -> str:
        """`10.0.0.2:80`."""
        return f"{address_text(self.connection.remote)}:{self.connection.remote_port}"

    async def established(self, timeout_ns: int = NEVER) -> None:
        """Wait until the handshake is done. Raises the SocketError it failed with (ECONNREFUSED, ETIMEDOUT ...)."""
        c = self.connection
        deadline = self._driver.deadline(timeout_ns)
        while c.opening:
            await self.gate.wait(f"ESTABLISHED of connection {c.number} to {self.peer}", deadline)
        if not c.synchronized and c.state not in _OPENING:
            # RECEIVE takes the pending error off the connection, as connect(2) does.
            c.receive(self._driver.now(), 1)
            raise SocketError("ENOTCONN", "connection closed before it was established")

    def send(self, data: bytes, more: bool = False, end: bool = False, urgent: bool = False) -> int:
        """SEND what the send buffer takes of `data` now; returns how many bytes. `more`, `end` and `urgent` are as
        in `Connection.send`. Raises SocketError."""
        if len(data) > _PIECE:
            data = data[:_PIECE]
            more = end = urgent = False
        try:
            return self.connection.send(self._driver.now(), data, more, end, urgent)
        finally:
            self._driver.flush()

    async def send_all(
        self,
        data: bytes,
        timeout_ns: int = NEVER,
        more: bool = False,
        end: bool = False,
        urgent: bool = False,
    ) -> None:
        """SEND all of `data`; returns when the send buffer has taken it. A timeout leaves what it took so far queued.
        `urgent`: its last byte is urgent data (MSG_OOB).

        `more` and `end` are as in `Connection.send`, of the last byte. Raises SocketError EPIPE, ECONNRESET ...
        """
        driver = self._driver
        c = self.connection
        deadline = driver.deadline(timeout_ns)
        taken = 0
        while True:
            piece = data[taken : taken + _PIECE] if taken or len(data) > _PIECE else data
            last = taken + len(piece) == len(data)
            accepted = c.send(driver.now(), piece, more and last, end and last, urgent and last)
            driver.flush()
            taken += accepted
            if taken == len(data):
                return
            if accepted < len(piece):
                # As a blocked write(2): woken when a good part of the buffer is free, not for every ACK.
                what = f"room in the send buffer of connection {c.number} to {self.peer}"
                c.write_waits = True
                try:
                    await self.gate.wait(what, deadline)
                    while not c.writable:
                        await self.gate.wait(what, deadline)
                finally:
                    c.write_waits = False

    async def recv(self, limit: int = 65536, timeout_ns: int = NEVER) -> bytes:
        """RECEIVE up to `limit` bytes, at least one, or SO_RCVLOWAT if that is more; fewer at end of file or when the
        time is over, b"" at end of file. Raises SocketError ECONNRESET ..."""
        driver = self._driver
        c = self.connection
        if c.options.rcvlowat > 1:
            deadline = driver.deadline(timeout_ns)
            await self._low_water(limit, deadline)
            timeout_ns = NEVER if deadline == NEVER else max(deadline - driver.now(), 0)
        data = c.receive(driver.now(), limit)
        if not data and not c.eof:
            deadline = driver.deadline(timeout_ns)
            while not data and not c.eof and not self.read_shut:
                if deadline == NEVER:
                    await self.gate.next(self._awaited_data)
                else:
                    await self.gate.wait(self._awaited_data, deadline)
                data = c.receive(driver.now(), limit)
        driver.flush()
        return data

    async def recv_urgent(self, timeout_ns: int = NEVER) -> bytes:
        """The urgent byte, apart from the stream (MSG_OOB), when it has come; b"" when it cannot come any more. Raises
        SocketError EINVAL where SO_OOBINLINE leaves it in the stream."""
        c = self.connection
        deadline = self._driver.deadline(timeout_ns)
        what = f"urgent data for connection {c.number} from {self.peer}"
        while not c.urgent_pending and not c.options.oobinline and not c.fin_received and c.state != states.CLOSED:
            await self.gate.wait(what, deadline)
        if not c.urgent_pending and not c.options.oobinline:
            return b""
        return c.receive_urgent(self._driver.now())

    async def _low_water(self, limit: int, deadline: int) -> None:
        """Wait until there are SO_RCVLOWAT bytes, or `limit`, or no more can come."""
        c = self.connection
        while not c.readable and c.buffered < limit and not self.read_shut:
            try:
                await self.gate.wait(self._awaited_data, deadline)
            except TimeoutError:
                if not c.buffered:
                    raise
                return

    async def recv_exactly(self, length: int, timeout_ns: int = NEVER) -> bytes:
        """RECEIVE `length` bytes; fewer only at end of file. A timeout leaves what came so far read."""
        deadline = self._driver.deadline(timeout_ns)
        parts: list[bytes] = []
        while length:
            left = NEVER if deadline == NEVER else max(deadline - self._driver.now(), 0)
            part = await self.recv(length, left)
            if not part:
                break
            parts.append(part)
            length -= len(part)
        return b"".join(parts)

    async def ready(self, read: bool, write: bool, timeout_ns: int = NEVER) -> tuple[bool, bool]:
        """Wait until readable or writable, whichever is asked, as select(2); returns which is."""
        c = self.connection
        deadline = self._driver.deadline(timeout_ns)
        while not (read and (c.readable or self.read_shut)) and not (write and c.writable):
            await self.gate.wait(f"readiness of connection {c.number} to {self.peer}", deadline)
        return read and (c.readable or self.read_shut), write and c.writable

    async def closed(self, timeout_ns: int = NEVER) -> None:
        """Wait until the connection is CLOSED, TIME-WAIT included."""
        c = self.connection
        deadline = self._driver.deadline(timeout_ns)
        while c.state != states.CLOSED:
            await self.gate.wait(f"CLOSED of connection {c.number} to {self.peer}", deadline)

    async def delivered(self, timeout_ns: int = NEVER) -> None:
        """Wait until everything we have sent after CLOSE, our FIN included, is acknowledged or given up."""
        c = self.connection
        deadline = self._driver.deadline(timeout_ns)
        while c.state in LEAVING:
            await self.gate.wait(f"the last ACK of connection {c.number} to {self.peer}", deadline)

    async def finished(self, timeout_ns: int = NEVER) -> None:
        """Wait until our FIN is acknowledged and the peer's has come: TIME-WAIT or CLOSED."""
        c = self.connection
        deadline = self._driver.deadline(timeout_ns)
        while c.state != states.CLOSED and c.state != states.TIME_WAIT:
            await self.gate.wait(f"the end of connection {c.number} to {self.peer}", deadline)

    def shutdown(self) -> None:
        """Half-close: FIN after what is queued. Raises SocketError ENOTCONN, EBADF."""
        self._call(self.connection.shutdown)

    def shut_read(self) -> None:
        """As shutdown(SHUT_RD): `recv` gives what there is, and then the end of file, without waiting."""
        self.read_shut = True
        self.gate.notify()

    def close(self) -> None:
        """CLOSE. Raises SocketError EBADF the second time."""
        self._call(self.connection.close)

    async def linger(self) -> None:
        """CLOSE as close(2) with SO_LINGER: wait until all is acknowledged, the FIN too, but no longer than that
        option's seconds; what is not acknowledged by then is still sent. Raises SocketError EBADF the second time."""
        self.close()
        seconds = self.connection.options.linger
        if seconds > 0:
            with suppress(TimeoutError):
                await self.delivered(seconds * SECOND)

    def abort(self) -> None:
        """ABORT: RST. Raises SocketError ENOTCONN, EBADF."""
        self._call(self.connection.abort)

    def set_option(self, name: str, value: object) -> None:
        """Set a socket option. Raises InvalidArgument, SocketError EBADF."""
        try:
            self.connection.set_option(self._driver.now(), name, value)
        finally:
            self._driver.flush()

    def release(self) -> None:
        """Let go without an error: CLOSE unless that was done. What an application does at its end."""
        if not self.connection.user_closed:
            self.close()

    def _call(self, call: Callable[[int], None]) -> None:
        try:
            call(self._driver.now())
        finally:
            self._driver.flush()


class StreamListener:
    """A listening socket. `number` is its own on its node (1, 2, ...)."""

    def __init__(self, driver: StackDriver, listener: Listener) -> None:
        self._driver = driver
        self.gate = Gate(driver.runner)
        self.listener = listener
        listener.on_ready = self.gate.notify
        driver.listeners_made += 1
        self.number = driver.listeners_made
        driver.listeners[self.number] = self

    @property
    def ready(self) -> bool:
        """Whether `accept` would not wait."""
        return bool(self.listener.accept_queue) or self.listener.state == states.CLOSED

    async def accept(self, timeout_ns: int = NEVER) -> StreamSocket:
        """The next established connection. Raises SocketError EBADF once the listener is closed."""
        listener = self.listener
        deadline = self._driver.deadline(timeout_ns)
        while (connection := listener.accept(self._driver.now())) is None:
            where = address_text(listener.local) or "*"
            await self.gate.wait(f"connection to accept on {where}:{listener.local_port}", deadline)
        return stream_of(self._driver, connection.number)

    def close(self) -> None:
        """Stop listening; connections not yet accepted are reset. Raises SocketError EBADF the second time."""
        try:
            self.listener.close(self._driver.now())
        finally:
            self._driver.flush()
        del self._driver.listeners[self.number]

    def release(self) -> None:
        """Close unless that was done."""
        if self.number in self._driver.listeners:
            self.close()


def stream_of(driver: StackDriver, number: int) -> StreamSocket:
    """The socket of a connection by its number on the node. Raises NotFound."""
    connection = driver.stack.tcp.connections.get(number)
    if connection is None:
        driver.streams.pop(number, None)
        raise NotFound(f"{driver.stack.name} has no connection {number}")
    return driver.streams.get(number) or StreamSocket(driver, connection)


def open_stream(
    driver: StackDriver,
    remote: bytes,
    remote_port: int,
    local: bytes = b"",
    local_port: int = 0,
    options: Mapping[str, object] | None = None,
    binding: Binding | None = None,
) -> StreamSocket:
    """Active OPEN: the SYN is sent now; `established` waits for the rest. `binding` is that of `local` and
    `local_port`, where there is one. Raises InvalidArgument, SocketError."""
    tcp = driver.stack.tcp
    try:
        connection = tcp.open(driver.now(), remote, remote_port, local, local_port, dict(options or {}), binding)
    finally:
        driver.flush()
    return StreamSocket(driver, connection)


async def connect(
    driver: StackDriver,
    remote: bytes,
    remote_port: int,
    local: bytes = b"",
    local_port: int = 0,
    options: Mapping[str, object] | None = None,
    timeout_ns: int = NEVER,
) -> StreamSocket:
    """Active OPEN, and wait for the handshake. Raises SocketError ECONNREFUSED, ETIMEDOUT ..."""
    socket = open_stream(driver, remote, remote_port, local, local_port, options)
    await socket.established(timeout_ns)
    return socket


def listen(
    driver: StackDriver,
    local_port: int,
    local: bytes = b"",
    backlog: int = 128,
    options: Mapping[str, object] | None = None,
    binding: Binding | None = None,
) -> StreamListener:
    """Passive OPEN; `local` b"" is any of ours, zeros any of that family. Raises InvalidArgument, SocketError
    EADDRINUSE, EADDRNOTAVAIL."""
    listener = driver.stack.tcp.listen(driver.now(), local, local_port, backlog, dict(options or {}), binding)
    return StreamListener(driver, listener)

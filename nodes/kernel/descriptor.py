"""`Descriptor`: how a coroutine waits for a socket of the kernel."""

from __future__ import annotations

import select
import socket

from nodes.kernel.context import Context
from nodes.sockets.gate import Gate


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

"""The controller's side of processes: making them by the nursery, adopting those of an earlier controller, hearing from
them, learning how they ended."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

from lab.server import line as lines
from lab.server import nursery
from nodes.base.errors import ResourceExhausted
from nodes.base.processes import Process

#: After the end of a child's line its exit status follows within this, wall seconds.
_STATUS_WITHIN: Final = 5.0

log = logging.getLogger("tcplab")


class Child:
    """A process of a lab or a run, and the line to it. What it prints on standard error is logged; `last_words` is its
    last line. `kill` ends it at once, `status` becomes its wait status, None when nobody can tell."""

    def __init__(
        self,
        name: str,
        pid: int,
        kill: Callable[[], None],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        status: asyncio.Future[int | None],
    ) -> None:
        self.name = name
        self.pid = pid
        self.last_words = ""
        self._kill = kill
        self._reader = reader
        self._writer = writer
        self._status = status
        self._errors: asyncio.Task[None] | None = None

    async def heard(self) -> dict[str, Any] | None:
        """What it says next; None: it has ended, or is about to."""
        return await lines.read(self._reader)

    def tell(self, message: dict[str, Any]) -> None:
        """Say something to it; nothing happens when it has ended."""
        if not self._writer.is_closing():
            self._writer.write(lines.pack(message))

    def kill(self) -> None:
        """End it at once."""
        if not self._status.done():
            self._kill()

    async def ended(self) -> str:
        """Wait until it has ended; how it did, in words with its last ones."""
        status = await asyncio.shield(self._status)
        if self._errors is not None:
            await asyncio.wait([self._errors], timeout=_STATUS_WITHIN)
        self._writer.close()
        if status is None:
            return _with("its process has ended", self.last_words)
        code = os.waitstatus_to_exitcode(status)
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return _with(f"its process {how}", self.last_words)

    def listen(self, errors: asyncio.StreamReader) -> None:
        """Log what it prints."""
        self._errors = asyncio.create_task(self._log(errors))

    async def _log(self, errors: asyncio.StreamReader) -> None:
        while True:
            try:
                text = (await errors.readline()).decode("utf-8", "replace")
            except ValueError:  # a line longer than the reader's limit; what is left of it follows
                continue
            if not text:
                return
            if text.strip():
                self.last_words = text.strip()[:500]
                log.warning("%s: %s", self.name, text.rstrip())


def _with(how: str, last_words: str) -> str:
    return f"{how}: {last_words}" if last_words else how


async def adopt(name: str, process: Process, control: Path) -> Child:
    """The line to a process that an earlier controller made. Raises OSError when it does not take one."""
    reader, writer = await asyncio.open_unix_connection(control)
    ended: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
    _watch_end(process, ended)
    return Child(name, process.pid, process.kill, reader, writer, ended)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _watch_end(process: Process, ended: asyncio.Future[int | None]) -> None:
    """Have `ended` done when a process has ended that is not ours to wait for."""
    loop = asyncio.get_running_loop()
    descriptor = process.open()
    if descriptor is None:
        ended.set_result(None)
        return

    def on_end(descriptor: int) -> None:
        loop.remove_reader(descriptor)
        os.close(descriptor)
        if not ended.done():
            ended.set_result(None)

    loop.add_reader(descriptor, on_end, descriptor)


class Nursery:
    """Makes children by the nursery process `pid` behind `control`. To be used inside a running loop."""

    def __init__(self, pid: int, control: socket.socket) -> None:
        self.pid = pid
        self._control = control
        self._births: deque[asyncio.Future[tuple[int, asyncio.Future[int | None]]]] = deque()
        self._statuses: dict[int, asyncio.Future[int | None]] = {}
        self._data = b""
        self._loop = asyncio.get_running_loop()
        control.setblocking(False)
        self._loop.add_reader(control, self._on_report)

    async def child(self, name: str, job: dict[str, Any], keep: bool = False) -> Child:
        """Make a process and give it its job; with `keep` it is left alone when the controller is gone.

        Raises ResourceExhausted when that cannot be done.
        """
        try:
            with contextlib.ExitStack() as undo:
                ours, theirs = socket.socketpair()
                undo.callback(ours.close)
                with theirs:
                    errors, errors_in = os.pipe()
                    undo.callback(os.close, errors)
                    try:
                        pid, status = await self._born(theirs, errors_in, keep)
                    finally:
                        os.close(errors_in)
                undo.pop_all()
        except OSError as error:
            gone = isinstance(error, BrokenPipeError)
            why = "the process that makes processes has ended; restart the controller" if gone else error.strerror
            raise ResourceExhausted(f"no process can be started for {name}: {why}") from None
        reader, writer = await asyncio.open_connection(sock=ours)
        child = Child(name, pid, partial(_kill, pid), reader, writer, status)
        error_reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(error_reader)
        await self._loop.connect_read_pipe(lambda: protocol, os.fdopen(errors, "rb"))
        child.listen(error_reader)
        child.tell(job)
        return child

    async def _born(self, line: socket.socket, errors: int, keep: bool) -> tuple[int, asyncio.Future[int | None]]:
        """The number of a new process, and what will be its status. Raises OSError."""
        born: asyncio.Future[tuple[int, asyncio.Future[int | None]]] = self._loop.create_future()
        nursery.ask(self._control, line, errors, keep)
        self._births.append(born)
        return await born

    def close(self) -> None:
        """Let the nursery end what is left, and itself."""
        self._loop.remove_reader(self._control)
        self._control.close()

    def _on_report(self) -> None:
        try:
            data = self._control.recv(1 << 16)
        except ConnectionResetError:
            data = b""
        if not data:
            self._loop.remove_reader(self._control)
            for birth in self._births:
                if not birth.done():
                    birth.set_exception(BrokenPipeError())
            for pid, status in self._statuses.items():
                process = Process.of(pid)
                if process is not None:
                    _watch_end(process, status)
                else:
                    status.set_result(None)
            self._statuses.clear()
            return
        self._data += data
        while len(self._data) >= nursery.REPORT.size:
            what, pid, status = nursery.REPORT.unpack_from(self._data)
            self._data = self._data[nursery.REPORT.size :]
            if what == nursery.BORN:
                ended = self._statuses[pid] = self._loop.create_future()
                birth = self._births.popleft()
                if birth.cancelled():  # nobody wants it any more; the end of its line ends it
                    continue
                birth.set_result((pid, ended))
            elif what == nursery.FAILED:
                birth = self._births.popleft()
                if not birth.cancelled():
                    birth.set_exception(OSError(status, os.strerror(status)))
            else:
                self._statuses.pop(pid).set_result(status)

"""The controller's side of the nursery: making processes, hearing from them, learning how they ended."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections import deque
from typing import Any, Final

from lab.server import line as lines
from lab.server import nursery
from nodes.base.errors import ResourceExhausted

#: After the end of a child's line its exit status follows within this, wall seconds.
_STATUS_WITHIN: Final = 5.0

log = logging.getLogger("tcplab")


class Child:
    """A process of a lab or a run. What it prints on standard error is logged; `last_words` is its last line."""

    def __init__(
        self,
        name: str,
        pid: int,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        status: asyncio.Future[int],
    ) -> None:
        self.name = name
        self.pid = pid
        self.last_words = ""
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
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    async def ended(self) -> str:
        """Wait until it has ended; how it did, in words with its last ones."""
        status = await asyncio.shield(self._status)
        if self._errors is not None:
            await asyncio.wait([self._errors], timeout=_STATUS_WITHIN)
        self._writer.close()
        code = os.waitstatus_to_exitcode(status)
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return f"its process {how}" + (f": {self.last_words}" if self.last_words else "")

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


class Nursery:
    """Makes children by the nursery process `pid` behind `control`. To be used inside a running loop."""

    def __init__(self, pid: int, control: socket.socket) -> None:
        self.pid = pid
        self._control = control
        self._births: deque[asyncio.Future[int]] = deque()
        self._statuses: dict[int, asyncio.Future[int]] = {}
        self._data = b""
        self._loop = asyncio.get_running_loop()
        control.setblocking(False)
        self._loop.add_reader(control, self._on_report)

    async def child(self, name: str, job: dict[str, Any]) -> Child:
        """Make a process and give it its job. Raises ResourceExhausted when that cannot be done."""
        ours, theirs = socket.socketpair()
        errors, errors_in = os.pipe()
        born: asyncio.Future[int] = self._loop.create_future()
        try:
            nursery.ask(self._control, theirs, errors_in)
            self._births.append(born)
            pid = await born
        except OSError as error:
            ours.close()
            os.close(errors)
            raise ResourceExhausted(f"no process can be started for {name}: {error}") from None
        finally:
            theirs.close()
            os.close(errors_in)
        reader, writer = await asyncio.open_connection(sock=ours)
        child = Child(name, pid, reader, writer, self._statuses[pid])
        error_reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(error_reader)
        await self._loop.connect_read_pipe(lambda: protocol, os.fdopen(errors, "rb"))
        child.listen(error_reader)
        child.tell(job)
        return child

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
                    birth.set_exception(OSError("the process that makes processes has ended"))
            return
        self._data += data
        while len(self._data) >= nursery.REPORT.size:
            what, pid, status = nursery.REPORT.unpack_from(self._data)
            self._data = self._data[nursery.REPORT.size :]
            if what == nursery.BORN:
                self._statuses[pid] = self._loop.create_future()
                birth = self._births.popleft()
                if birth.cancelled():  # nobody wants it any more; the end of its line ends it
                    continue
                birth.set_result(pid)
            else:
                self._statuses.pop(pid).set_result(status)

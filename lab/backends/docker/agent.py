"""`Agent`: what runs in the container of a tcplab node. It waits for a lab to give it the job of a node, is that node
in a process of its own until the lab is gone, and waits again.

It listens on a unix socket: by default the abstract one `\\0tcplab-agent` of its network namespace. A lab puts
the node's interfaces there and connects from there; no other container comes near it, and there is no file to be left.
On a connection:

    {"status": true}        it says what it is, and hangs up
    {"job": ...}            the fields of a Job; from then on the line is that of a Member

It needs CAP_NET_RAW in its network namespace, for its node's packet sockets, and nothing else.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any, Final

from lab.backends.docker.job import Job, do_job, refuse
from lab.backends.docker.log import NodeLog, say
from lab.backends.docker.reach import ADDRESS, bound, status
from nodes.agent.line import LineReader, Message, pack
from nodes.base.clock import MILLISECOND, SECOND
from nodes.base.errors import FailedPrecondition
from nodes.kernel.here import Here

#: A node whose lab is gone ends within this, wall time, before another lab is refused.
_ENDS_WITHIN_NS: Final = 3 * SECOND


class Agent:
    """Takes jobs, one at a time, at `address`: an abstract name after @, or a path. Raises FailedPrecondition when
    there is an agent already."""

    def __init__(self, address: str = ADDRESS) -> None:
        if status(address) is not None:
            raise FailedPrecondition(f"an agent runs at {address} already")
        self._listener = socket.socket(socket.AF_UNIX)
        if not address.startswith("@"):
            Path(address).unlink(missing_ok=True)  # of an agent that was killed
        try:
            self._listener.bind(bound(address))
        except OSError as error:
            self._listener.close()
            raise FailedPrecondition(f"no agent can listen at {address}: {error.strerror}") from None
        self._listener.listen()
        self._wake, self._woken = os.pipe()
        os.set_blocking(self._woken, False)
        self._readers: dict[int, tuple[socket.socket, LineReader]] = {}
        self._job: Job | None = None
        self._pid = 0
        #: A job that waits for the end of the one before it, until then.
        self._next: tuple[socket.socket, Job, int] | None = None
        self._ended = False

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT."""
        signal.set_wakeup_fd(self._woken)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_end)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        version = Job.version
        say(f"tcplab {version}: waiting for a lab")
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        poll.register(self._listener, select.POLLIN)
        while not self._ended:
            for descriptor, _ in poll.poll(self._patience_ms()):
                if descriptor == self._wake:
                    os.read(self._wake, 4096)
                elif descriptor == self._listener.fileno():
                    line, _ = self._listener.accept()
                    self._readers[line.fileno()] = line, LineReader(line)
                    poll.register(line, select.POLLIN)
                elif self._on_line(descriptor):
                    poll.unregister(descriptor)
            self._reap()
            self._start_next()
        if self._pid:
            os.kill(self._pid, signal.SIGTERM)
            os.waitpid(self._pid, 0)

    def _on_end(self, number: int, frame: object) -> None:
        self._ended = True

    def _patience_ms(self) -> int | None:
        if self._next is None:
            return None
        return max(0, self._next[2] - time.monotonic_ns()) // MILLISECOND + 1

    def _on_line(self, descriptor: int) -> bool:
        """Hear what somebody wants; whether that is all."""
        line, reader = self._readers[descriptor]
        try:
            messages = reader.read()
        except ValueError:  # it is nobody who knows us
            messages = [{}]
        if not messages and not reader.ended:
            return False
        del self._readers[descriptor]
        said = messages[0] if len(messages) == 1 and isinstance(messages[0], dict) else {}
        if "job" in said:
            self._take(line, said["job"])
            return True
        if "status" in said:
            with contextlib.suppress(OSError):
                line.sendall(pack(self._status()))
        line.close()
        return True

    def _status(self) -> Message:
        job = self._job
        return {"version": Job.version, "lab": job.lab if job else "", "node": job.node if job else ""}

    def _take(self, line: socket.socket, said: dict[str, Any]) -> None:
        try:
            job = Job(**said)
        except TypeError:  # of a version with other fields
            job = None
        if job is None or job.version != Job.version:
            self._refuse(
                line,
                f"the image of this container has tcplab {Job.version}, and the lab another version; make it again "
                "(make image)",
            )
        elif self._next is not None:
            self._refuse(line, "another lab has come first")
        else:
            self._next = line, job, time.monotonic_ns() + _ENDS_WITHIN_NS

    def _refuse(self, line: socket.socket, why: str) -> None:
        say(f"a lab was refused: {why}")
        with contextlib.suppress(OSError):
            refuse(line, FailedPrecondition(why))
        line.close()

    def _start_next(self) -> None:
        if self._next is None:
            return
        line, job, until_ns = self._next
        if self._job is None:
            self._next = None
            self._start(line, job)
        elif time.monotonic_ns() >= until_ns:
            self._next = None
            self._refuse(line, f"this container is node {self._job.node} of lab {self._job.lab}, which goes on")

    def _start(self, line: socket.socket, job: Job) -> None:
        self._job = job
        sys.stdout.flush()
        self._pid = os.fork()
        if self._pid:
            line.close()
            return
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for other in (self._listener, *(one for one, _ in self._readers.values())):
                other.close()
            os.close(self._wake)
            os.close(self._woken)
            do_job(line, job, Here, NodeLog(job.lab, job.node).watch)
            status = 0
        except BaseException as error:
            say(f"lab {job.lab}: node {job.node} has FAILED: {error}")
        finally:
            os._exit(status)

    def _reap(self) -> None:
        """Wait for processes that have ended; being pid 1 of a container, also for those of commands."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if pid == self._pid and self._job is not None:
                code = os.waitstatus_to_exitcode(status)
                how = f" (its process was killed by {signal.Signals(-code).name})" if code < 0 else ""
                say(f"lab {self._job.lab}: node {self._job.node} has ended{how}; waiting for a lab")
                self._job = None
                self._pid = 0

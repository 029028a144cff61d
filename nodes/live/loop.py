"""A thread in which a stack lives: other threads hand it work through one queue and wait for the answer."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar, cast

from nodes.base.errors import FailedPrecondition
from nodes.base.real import RealScheduler
from nodes.base.tasks import Task, TaskRunner

T = TypeVar("T")


class _Reply(Generic[T]):
    """What one piece of work came to; `ready` is locked until it has."""

    __slots__ = ("error", "ready", "task", "value")

    def __init__(self) -> None:
        self.ready = threading.Lock()
        self.ready.acquire()
        self.value: T | None = None
        self.error: BaseException | None = None
        self.task: Task | None = None

    def cancel(self) -> None:
        if self.task is not None:
            self.task.cancel()


class Loop:
    """A RealScheduler and a TaskRunner, running from `start` to `close`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.scheduler = RealScheduler(time.monotonic_ns())
        self.runner = TaskRunner(self.scheduler)
        self._queue: deque[Callable[[], None]] = deque()
        self._outstanding: set[_Reply[Any]] = set()
        #: Reentrant: a garbage collection in here may close a forgotten socket, which posts.
        self._lock = threading.RLock()
        self._process = os.getpid()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._over = False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self.scheduler.add_reader(self._wake, self._on_wake)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def post(self, work: Callable[[], None]) -> None:
        """Have `work` done in the thread, after what was posted before. Raises FailedPrecondition once it has ended."""
        self._check_process()
        with self._lock:
            self._put(work)

    def call(self, work: Callable[[], T]) -> T:
        """Have `work` done in the thread, and wait for what it returns or raises."""
        return self.wait(cast(Callable[[], T | Coroutine[Any, None, T]], work))

    def wait(self, work: Callable[[], T | Coroutine[Any, None, T]]) -> T:
        """As `call`; when `work` returns a coroutine, wait for its end too. An exception in the waiting thread, such as
        KeyboardInterrupt, cancels it."""
        reply: _Reply[T] = _Reply()
        self._check_process()
        try:
            with self._lock:
                self._put(lambda: self._begin(work, reply))
                self._outstanding.add(reply)
            reply.ready.acquire()
        except FailedPrecondition:
            raise
        except BaseException:
            self.post(reply.cancel)
            raise
        if reply.error is not None:
            try:
                raise reply.error
            finally:
                del reply  # whose error's traceback refers to this frame
        return cast(T, reply.value)

    def close(self) -> None:
        """End the thread; whoever still waits gets FailedPrecondition. Idempotent."""
        self._check_process()
        with self._lock:
            if not self._over:
                self._put(self.scheduler.stop)
        self._thread.join()

    def _check_process(self) -> None:
        if os.getpid() != self._process:  # threads do not go along with a fork; nobody would ever answer
            raise FailedPrecondition(f"{self.name} lives in process {self._process}, from which this one was forked")

    def _put(self, work: Callable[[], None]) -> None:
        if self._over:
            raise FailedPrecondition(f"{self.name} has ended") from self._failure
        self._queue.append(work)
        os.eventfd_write(self._wake, 1)

    # In the thread.

    def _serve(self) -> None:
        try:
            self.scheduler.run()
        except BaseException as error:
            # A bug; but nobody may wait for ever because of it.
            self._failure = error
        with self._lock:
            self._over = True
            os.close(self._wake)
            self.scheduler.close()
            for reply in self._outstanding:
                reply.error = FailedPrecondition(f"{self.name} has ended")
                reply.error.__cause__ = self._failure
                reply.ready.release()

    def _on_wake(self) -> None:
        os.eventfd_read(self._wake)
        queue = self._queue
        while queue:
            queue.popleft()()
        self.runner.drain()

    def _begin(self, work: Callable[[], T | Coroutine[Any, None, T]], reply: _Reply[T]) -> None:
        try:
            value = work()
        except Exception as error:
            self._end(reply, None, error)
            return
        if isinstance(value, Coroutine):
            reply.task = task = self.runner.spawn(0, self.name, value)
            task.on_done(lambda task: self._end(reply, task.result, task.error))
        else:
            self._end(reply, value, None)

    def _end(self, reply: _Reply[T], value: T | None, error: BaseException | None) -> None:
        reply.value = value
        reply.error = error
        with self._lock:
            self._outstanding.discard(reply)
        reply.ready.release()

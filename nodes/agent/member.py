"""`Member`: a process of a lab (a node, the link engine) as seen from inside. It does what the lab's process calls for.

Its events go to the lab's process a few milliseconds after they happened, or when many have gathered.
"""

from __future__ import annotations

import inspect
import select
import socket
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from nodes.agent.line import LineReader, Message, pack
from nodes.agent.plain import plain, plain_error
from nodes.base.clock import MILLISECOND, SECOND
from nodes.base.errors import NotFound
from nodes.base.real import RealScheduler
from nodes.base.records import Listener, RecordTranslator, RecordWriter
from nodes.base.tasks import Task, TaskRunner

#: Events are held for so long at most.
HOLD_NS: Final = 5 * MILLISECOND
#: So many bytes may wait for the lab's process; then this one waits too.
MOST_BEHIND: Final = 64 << 20
_IDLE_NS: Final = 3600 * SECOND


class MemberSink(RecordWriter):
    """Events of this process, on their way to the lab's."""

    def __init__(self, send: Callable[[Message], None], level: int, capture: bool) -> None:
        super().__init__(level, capture)
        self._send = send

    @property
    def holds(self) -> bool:
        """Whether there is something to flush."""
        return bool(self._held)

    def _write(self, data: bytes) -> None:
        self._send({"records": data})


class Member:
    """Serves its end of `line` until it is told to end, or the lab's process is gone."""

    def __init__(
        self, line: socket.socket, scheduler: RealScheduler, runner: TaskRunner, level: int, capture: bool
    ) -> None:
        self.scheduler = scheduler
        self.runner = runner
        self.sink = MemberSink(self._send, level, capture)
        self._line = line
        self._reader = LineReader(line)
        self._offered: dict[str, Callable[..., Any]] = {}
        self._tasks: dict[int, Task] = {}
        self._translator = RecordTranslator(self.sink)
        self._listeners: dict[int, tuple[Listener, ...]] = {}
        self._out: deque[memoryview] = deque()
        self._out_bytes = 0
        self._ended = False
        self._flush_at = 0
        scheduler.add_reader(line.fileno(), self._on_line)

    def offer(self, name: str, call: Callable[..., Any]) -> None:
        """Let the lab call `call(**arguments)` by this name. What it returns must be plain (see plain.py) or a
        coroutine, which is run as a task and answered when it ends."""
        self._offered[name] = call

    def tell(self, word: str, **more: Any) -> None:
        """Say something to the lab that it did not ask for."""
        self._send({"say": word, **more})

    def subscribe(self, kinds: tuple[int, ...], listener: Listener) -> Callable[[], None]:
        """Call `listener` for events of these kinds, of this process at once and of all others when the lab has them
        (`seq` is 0 then). Returns the way to stop."""
        stop_own = self.sink.subscribe(kinds, listener)
        for kind in kinds:
            self._listeners[kind] = (*self._listeners.get(kind, ()), listener)
        self._send({"subscribe": sorted(self._listeners)})

        def stop() -> None:
            stop_own()
            for kind in kinds:
                left = tuple(one for one in self._listeners.get(kind, ()) if one is not listener)
                if left:
                    self._listeners[kind] = left
                else:
                    self._listeners.pop(kind, None)
            self._send({"subscribe": sorted(self._listeners)})

        return stop

    def run(self) -> None:
        """Work until the end."""
        scheduler = self.scheduler
        sink = self.sink
        wait_ns = 0
        while not self._ended:
            scheduler.run_once(wait_ns)
            wait_ns = _IDLE_NS
            if sink.holds:
                now = scheduler.real_now()
                if not self._flush_at:
                    self._flush_at = now + HOLD_NS
                if now >= self._flush_at:
                    self._flush_at = 0
                    sink.flush()
                else:
                    wait_ns = self._flush_at - now
        self._say_the_rest()

    def end(self) -> None:
        """Return from `run`."""
        self._ended = True

    def _send(self, message: Message) -> None:
        """Without waiting, until very much has gathered: the lab's process may be behind, but nothing is dropped."""
        data = pack(message)
        self._out.append(memoryview(data))
        self._out_bytes += len(data)
        self._on_writable()
        while self._out_bytes > MOST_BEHIND and not self._ended:
            select.select((), (self._line,), ())
            self._on_writable()

    def _on_writable(self) -> None:
        out = self._out
        while out:
            try:
                sent = self._line.send(out[0], socket.MSG_DONTWAIT)
            except BlockingIOError:
                self.scheduler.add_writer(self._line.fileno(), self._on_writable)
                return
            except OSError:
                self._ended = True
                return
            self._out_bytes -= sent
            if sent == len(out[0]):
                out.popleft()
            else:
                out[0] = out[0][sent:]
        self.scheduler.remove_writer(self._line.fileno())

    def _say_the_rest(self) -> None:
        """Before the end, what is still to be said; whoever does not listen any more has closed the line."""
        self.sink.flush()
        while self._out:
            select.select((), (self._line,), ())
            before = len(self._out), self._out_bytes
            self._on_writable()
            if before == (len(self._out), self._out_bytes):
                return

    def _on_line(self) -> None:
        for message in self._reader.read():
            if "call" in message:
                self._on_call(message["id"], message["call"], message["args"])
            elif "records" in message:
                self._on_records(message["records"])
            elif "cancel" in message:
                task = self._tasks.get(message["cancel"])
                if task is not None:
                    task.cancel()
            else:
                self._ended = True
        if self._reader.ended:
            self._ended = True

    def _on_call(self, number: int, name: str, arguments: dict[str, Any]) -> None:
        call = self._offered.get(name)
        try:
            if call is None:
                raise NotFound(f"this process offers no call {name}")
            value = call(**arguments)
        except Exception as error:
            self._answer_error(number, error)
            return
        if not inspect.iscoroutine(value):
            self._answer(number, value)
            return
        task = self._tasks[number] = self.runner.spawn(0, name, value)
        task.on_done(lambda task: self._on_task(number, task))

    def _on_task(self, number: int, task: Task) -> None:
        del self._tasks[number]
        if task.error is not None:
            self._answer_error(number, task.error)
        else:
            self._answer(number, task.result)

    def _answer(self, number: int, value: Any) -> None:
        self.sink.flush()  # what a call caused is known to whoever sees its answer
        self._send({"id": number, "value": plain(value)})

    def _answer_error(self, number: int, error: BaseException) -> None:
        self.sink.flush()
        self._send({"id": number, "error": plain_error(error)})

    def _on_records(self, data: bytes) -> None:
        for time_ns, _, kind, node, connection, cause, values, tail in self._translator.feed(data):
            for listener in self._listeners.get(kind, ()):
                listener(0, kind, time_ns, node, connection, cause, values, tail)

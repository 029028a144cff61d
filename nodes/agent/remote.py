"""`Remote`: a member of a lab as seen from the lab's process."""

from __future__ import annotations

import select
import socket
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from nodes.agent.line import LineReader, Message, pack
from nodes.agent.plain import error_of
from nodes.base.clock import SECOND
from nodes.base.errors import Cancelled, FailedPrecondition
from nodes.base.real import RealScheduler
from nodes.base.tasks import Waiter

#: A member answers a call that does not wait within this, or is taken for stuck.
ANSWERS_WITHIN_NS: Final = 20 * SECOND


class Remote:
    """`name` is for people ("node h1"). `on_records(data)` gets its events, `on_say(message)` what else it says,
    `on_end()` is called once when its line has ended."""

    def __init__(self, name: str, line: socket.socket, scheduler: RealScheduler) -> None:
        self.name = name
        #: Why nothing can be asked of it any more; "" while it is there.
        self.failure = ""
        self.on_records: Callable[[bytes], None] = _ignore
        self.on_say: Callable[[Message], None] = _ignore
        self.on_subscribe: Callable[[list[int]], None] = _ignore
        self.on_end: Callable[[], None] = _nothing
        self._line = line
        self._reader = LineReader(line)
        self._scheduler = scheduler
        self._calls = 0
        self._waiters: dict[int, Waiter[Any]] = {}
        self._answers: dict[int, Message] = {}
        self._out: deque[bytes] = deque()
        line.setblocking(False)
        scheduler.add_reader(line.fileno(), self._on_line)

    def call(self, name: str, /, **arguments: Any) -> Any:
        """Make a call and wait for its value, in wall time. Raises what it raised; FailedPrecondition when the member
        is gone, or stuck."""
        number = self._ask(name, arguments)
        self._answers[number] = {}
        deadline = self._scheduler.real_now() + ANSWERS_WITHIN_NS
        poll = select.poll()
        poll.register(self._line, select.POLLIN)
        try:
            while not self._answers[number]:
                if self.failure:
                    raise self._gone()
                left = (deadline - self._scheduler.real_now()) // 1_000_000
                if left <= 0:
                    raise FailedPrecondition(f"{self.name} does not answer ({name})")
                poll.modify(self._line, select.POLLIN | (select.POLLOUT if self._out else 0))
                poll.poll(left)
                self._on_writable()
                self._on_line()
            answer = self._answers[number]
        finally:
            del self._answers[number]
        if "error" in answer:
            raise error_of(answer["error"])
        return answer["value"]

    async def wait(self, name: str, /, **arguments: Any) -> Any:
        """Make a call and await its value in lab time; being cancelled cancels it."""
        number = self._ask(name, arguments)
        waiter = self._waiters[number] = Waiter(f"{name} of {self.name}")
        try:
            return await waiter
        except Cancelled:
            if self._waiters.pop(number, None) is not None:
                self._send({"cancel": number})
            raise

    def send_records(self, data: bytes) -> None:
        """Give it events of others."""
        self._send({"records": data})

    def end(self) -> None:
        """Tell it to end."""
        self._send({"end": True})

    def close(self, why: str) -> None:
        """Take it for gone. Idempotent."""
        if self.failure:
            return
        self.failure = why
        self._scheduler.remove_reader(self._line.fileno())
        self._scheduler.remove_writer(self._line.fileno())
        self._line.close()
        waiters = list(self._waiters.values())
        self._waiters.clear()
        for waiter in waiters:
            waiter.fail(self._gone())

    def _gone(self) -> FailedPrecondition:
        return FailedPrecondition(f"{self.name} has FAILED: {self.failure}")

    def _ask(self, name: str, arguments: dict[str, Any]) -> int:
        if self.failure:
            raise self._gone()
        self._calls += 1
        self._send({"id": self._calls, "call": name, "args": arguments})
        return self._calls

    def _send(self, message: Message) -> None:
        if not self.failure:
            self._out.append(pack(message))
            self._on_writable()

    def _on_writable(self) -> None:
        if self.failure:
            return
        out = self._out
        while out:
            try:
                sent = self._line.send(out[0])
            except BlockingIOError:
                self._scheduler.add_writer(self._line.fileno(), self._on_writable)
                return
            except OSError:
                break  # its end is read
            if sent == len(out[0]):
                out.popleft()
            else:
                out[0] = out[0][sent:]
        self._scheduler.remove_writer(self._line.fileno())

    def _on_line(self) -> None:
        if self.failure:
            return
        for message in self._reader.read():
            if "records" in message:
                self.on_records(message["records"])
            elif "id" in message:
                self._on_answer(message)
            elif "subscribe" in message:
                self.on_subscribe(message["subscribe"])
            else:
                self.on_say(message)
        if self._reader.ended and not self.failure:
            self.on_end()
            self.close("its process has ended")

    def _on_answer(self, message: Message) -> None:
        number = message["id"]
        if number in self._answers:
            self._answers[number] = message
            return
        waiter = self._waiters.pop(number, None)
        if waiter is None:
            return
        if "error" in message:
            waiter.fail(error_of(message["error"]))
        else:
            waiter.succeed(message["value"])


def _ignore(_: Any) -> None:
    """Nobody listens."""


def _nothing() -> None:
    """Nobody listens."""

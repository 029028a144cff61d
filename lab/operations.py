"""Operation: a user call that may have to wait for lab time to pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from nodes.base.clock import NEVER
from nodes.base.errors import FailedPrecondition, NotFound
from nodes.base.tasks import Task

#: Finished operations that a lab remembers; the oldest are forgotten first.
REMEMBERED: Final = 1000


class Operation:
    """One call in progress or ended. It makes progress only while the lab's clock is advanced.

    `name` is unique in its lab (`op-1`, `op-2` ...), `call` the user call (`open`, `accept`, `send` ...), `connection`
    the connection it is about (0 while unknown). When `done`, either `error` is set or `result` holds its value.
    """

    __slots__ = ("_task", "call", "connection", "ended_ns", "name", "node", "started_ns")

    def __init__(self, name: str, call: str, node: str, connection: int, started_ns: int, task: Task) -> None:
        self.name = name
        self.call = call
        self.node = node
        self.connection = connection
        self.started_ns = started_ns
        self.ended_ns = NEVER
        self._task = task

    @property
    def done(self) -> bool:
        return self._task.done

    @property
    def result(self) -> Any:
        """The call's value; None while not done or when it failed."""
        return self._task.result

    @property
    def error(self) -> BaseException | None:
        """Why it failed: SocketError, TimeoutError (its own virtual timeout), Cancelled ..."""
        return self._task.error

    @property
    def waiting_for(self) -> str:
        """What it waits for, in words; "" when it is done or about to run."""
        return self._task.waiting.what if self._task.waiting is not None else ""

    def cancel(self) -> None:
        """End it with Cancelled at the current instant; what it already did (bytes queued, SYN sent) stays done.

        Called through `Lab.cancel`, which logs it.
        """
        self._task.cancel()

    def on_done(self, fn: Callable[[Operation], None]) -> None:
        """Call `fn(self)` when it ends; at once when it has."""
        self._task.on_done(lambda _: fn(self))

    def value(self) -> Any:
        """The result of a finished operation, or its error raised. Raises FailedPrecondition while it is not done."""
        if not self.done:
            raise FailedPrecondition(f"{self} is not done: it waits for {self.waiting_for or 'its turn'}")
        if self.error is not None:
            raise self.error
        return self.result

    def __str__(self) -> str:
        return f"{self.name} ({self.call} on {self.node})"


class Operations:
    """The operations of one lab by name, in the order they were started; finished ones are remembered for a while."""

    def __init__(self) -> None:
        self._by_name: dict[str, Operation] = {}
        self._ended: list[str] = []
        self._count = 0

    def next_name(self) -> str:
        self._count += 1
        return f"op-{self._count}"

    def add(self, operation: Operation) -> None:
        self._by_name[operation.name] = operation
        operation.on_done(self._forget)

    def get(self, name: str) -> Operation:
        """Raises NotFound."""
        operation = self._by_name.get(name)
        if operation is None:
            raise NotFound(f"operation {name}: there is none, or it ended more than {REMEMBERED} operations ago")
        return operation

    def all(self) -> list[Operation]:
        return list(self._by_name.values())

    def pending(self) -> list[Operation]:
        return [operation for operation in self._by_name.values() if not operation.done]

    def _forget(self, operation: Operation) -> None:
        self._ended.append(operation.name)
        if len(self._ended) > REMEMBERED:
            del self._by_name[self._ended.pop(0)]

"""Ties a sans-I/O Stack to a Scheduler and to links: frames in and out, one timer, armed lazily."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from nodes.base.clock import NEVER, Scheduler, Timer
from nodes.base.tasks import TaskRunner
from nodes.stack import Stack

if TYPE_CHECKING:
    from nodes.sockets.stream import StreamListener, StreamSocket

#: Takes a frame that leaves by an interface.
Send = Callable[[bytes], object]


class StackDriver:
    """Drives one Stack. `ports` has where each interface sends; whoever calls into the stack calls `flush` after it."""

    def __init__(self, stack: Stack, scheduler: Scheduler, runner: TaskRunner, ports: list[Send]) -> None:
        self.stack = stack
        self.scheduler = scheduler
        self.runner = runner
        #: What stands behind the numbers of connections and listeners; `nodes.sockets.stream` fills them.
        self.streams: dict[int, StreamSocket] = {}
        self.listeners: dict[int, StreamListener] = {}
        self.listeners_made = 0
        self.ports = ports
        self._timer: Timer | None = None
        self._timer_at = NEVER

    def now(self) -> int:
        """The current instant, ns of lab time."""
        return self.scheduler.now()

    def deadline(self, timeout_ns: int) -> int:
        """The instant `timeout_ns` from now; NEVER stays NEVER."""
        return NEVER if timeout_ns == NEVER else self.scheduler.now() + timeout_ns

    def receive_frame(self, interface_index: int, frame: bytes) -> None:
        """A frame has arrived at an interface."""
        stack = self.stack
        moved = stack.on_frame(self.scheduler.now(), interface_index, frame)
        for index, out in stack.pull():
            self.ports[index](out)
        if moved and stack.next_deadline() < self._timer_at:
            self._arm()

    def inlet(self, interface_index: int) -> Send:
        """What takes the frames that arrive at an interface."""
        return Inlet(self, interface_index).receive

    def flush(self) -> None:
        """Send what the stack has to send, and see that it is called at its deadline."""
        for index, frame in self.stack.pull():
            self.ports[index](frame)
        # A deadline that has moved to later is found when the timer fires: most do, with every ACK.
        if self.stack.next_deadline() < self._timer_at:
            self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = self.stack.next_deadline()
        self._timer = self.scheduler.call_at(self._timer_at, self._on_timer, None)

    def _on_timer(self, _: Any) -> None:
        self._timer = None
        self._timer_at = NEVER
        now = self.scheduler.now()
        if self.stack.next_deadline() <= now:
            self.stack.on_timer(now)
        self.flush()


class Inlet:
    """One interface: cheaper to call than a partial of `receive_frame`."""

    __slots__ = ("_driver", "_index")

    def __init__(self, driver: StackDriver, index: int) -> None:
        self._driver = driver
        self._index = index

    def receive(self, frame: bytes) -> None:
        """A frame has arrived."""
        self._driver.receive_frame(self._index, frame)

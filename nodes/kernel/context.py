"""`Context`: what all sockets of a node with the kernel's stack share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nodes.base.clock import NEVER
from nodes.base.event_sink import EventSink
from nodes.base.real import RealScheduler
from nodes.base.tasks import TaskRunner
from nodes.kernel.connections import Connections
from nodes.kernel.watch import CallWatch

if TYPE_CHECKING:
    from nodes.kernel.listeners import KernelListener
    from nodes.kernel.streams import KernelStream


class Context:
    """One per node; `watch` is told of calls that change states, before they are made."""

    def __init__(
        self,
        scheduler: RealScheduler,
        runner: TaskRunner,
        sink: EventSink,
        node: int,
        connections: Connections,
        watch: CallWatch,
    ) -> None:
        self.scheduler = scheduler
        self.runner = runner
        self.sink = sink
        self.node = node
        self.connections = connections
        self.watch = watch
        #: The sockets of connections of ours that are not closed, and open listeners.
        self.streams: dict[int, KernelStream] = {}
        self.listeners: dict[int, KernelListener] = {}
        self.listeners_made = 0

    def called(self, connection: int, call: int, length: int = 0) -> None:
        """Record a user call."""
        self.sink.call(self.scheduler.real_now(), self.node, connection, call, length)

    def deadline(self, timeout_ns: int) -> int:
        """The instant `timeout_ns` from now; NEVER stays NEVER."""
        return NEVER if timeout_ns == NEVER else self.scheduler.now() + timeout_ns

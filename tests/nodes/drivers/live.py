"""Hosts with our stack on real interfaces, and a Linux peer that runs in a thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Generic, TypeVar

from nodes.agent.stack_host import StackHost
from nodes.base.clock import SECOND
from nodes.base.event_sink import EventSink
from nodes.base.random import Randomness
from nodes.base.real import RealScheduler
from nodes.base.tasks import TaskRunner
from nodes.drivers.veth import Port, attach, detach
from nodes.packet.address import parse_address
from nodes.stack import Stack
from nodes.tcp.parameters import Parameters
from tests.namespaces import Namespace

T = TypeVar("T")


class LiveNet:
    """Hosts in namespaces, all driven by this thread. A context manager."""

    def __init__(self, sink: EventSink | None = None) -> None:
        self.scheduler = RealScheduler(epoch_ns=0)
        self.runner = TaskRunner(self.scheduler)
        self.sink = sink or EventSink()
        self.hosts: list[StackHost] = []
        self.ports: list[Port] = []

    def __enter__(self) -> LiveNet:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        detach(self.scheduler, self.ports)
        self.scheduler.close()

    def host(self, namespace: Namespace, address: str, mtu: int = 1500, **parameters: object) -> StackHost:
        """A host on `eth0` of a namespace, with an address like 10.0.0.1/24."""
        knobs = Parameters()
        knobs.set_all(parameters)
        name = f"h{len(self.hosts) + 1}"
        stack = Stack(name, knobs, Randomness(1), self.sink)
        own, _, prefix = address.partition("/")
        stack.add_interface("eth0", namespace.mac("eth0"), parse_address(own), int(prefix), mtu)
        host = StackHost(stack, self.scheduler, self.runner, len(self.hosts), [], parse_address)
        self.ports += namespace.call(attach, host.driver, self.scheduler, ["eth0"])
        self.hosts.append(host)
        return host

    def run(self, *coroutines: Coroutine[Any, None, Any], within_ns: int = 60 * SECOND) -> list[Any]:
        """Run these to their end; their results, or the first one's error."""
        tasks = [self.runner.spawn(index, f"test-{index}", each) for index, each in enumerate(coroutines)]
        end = self.scheduler.real_now() + within_ns
        while not all(task.done for task in tasks) and self.scheduler.real_now() < end:
            self.scheduler.run_once(SECOND // 10)
        for task in tasks:
            assert task.done, f"{task.name} still waits for {task.waiting.what if task.waiting else None}"
            if task.error is not None:
                raise task.error
        return [task.result for task in tasks]


class InThread(Generic[T]):
    """`fn()` in a thread inside a namespace; `result()` waits for what it returns, or raises."""

    def __init__(self, namespace: Namespace, fn: Callable[[], T]) -> None:
        self._result: T | None = None
        self._error: BaseException | None = None

        def work() -> None:
            try:
                self._result = namespace.call(fn)
            except BaseException as error:
                self._error = error

        self._thread = threading.Thread(target=work, daemon=True)
        self._thread.start()

    def result(self) -> T:
        self._thread.join(10)
        assert not self._thread.is_alive()
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]

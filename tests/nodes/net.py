"""A network in memory for tests: hosts, and wires with a fixed delay that keep what passed."""

from __future__ import annotations

from collections.abc import Coroutine
from functools import partial
from typing import Any

from nodes.agent.stack_host import StackHost
from nodes.base.clock import MILLISECOND, SimScheduler
from nodes.base.event_sink import EventSink
from nodes.base.random import Randomness
from nodes.base.tasks import TaskRunner
from nodes.packet.address import parse_address
from nodes.sockets.driver import Send
from nodes.stack import Stack
from nodes.tcp.parameters import Parameters

#: Of a host in these tests; some get their interfaces after the host was made.
MAX_INTERFACES = 4


def ip(text: str) -> bytes:
    return parse_address(text)


def mac(number: int) -> bytes:
    return b"\x02" + number.to_bytes(5, "big")


class Net:
    """Hosts by name. Wires join `host:index` to `host:index`; `captured` has each frame sent: time, sender, bytes."""

    def __init__(self, sink: EventSink | None = None, delay_ns: int = MILLISECOND) -> None:
        self.scheduler = SimScheduler()
        self.runner = TaskRunner(self.scheduler)
        self.randomness = Randomness(1)
        self.sink = sink or EventSink()
        self.delay_ns = delay_ns
        self.hosts: dict[str, StackHost] = {}
        self.captured: list[tuple[int, str, bytes]] = []
        #: Ends whose frames are lost.
        self.cut: set[str] = set()
        self._wires: dict[str, tuple[str, int]] = {}
        self._macs = 0

    def host(self, name: str, *addresses: str, forward: bool = False, mtu: int = 1500) -> StackHost:
        """A host with an interface per `10.0.0.1/24`."""
        parameters = Parameters()
        parameters.set("ip_forward", int(forward))
        stack = Stack(name, parameters, self.randomness, self.sink)
        for index, text in enumerate(addresses):
            address, _, prefix = text.partition("/")
            self._macs += 1
            stack.add_interface(f"eth{index}", mac(self._macs), ip(address), int(prefix), mtu)

        def transmit(index: int, frame: bytes) -> None:
            end = f"{name}:{index}"
            self.captured.append((self.scheduler.now(), end, frame))
            if end in self._wires and end not in self.cut:
                other, other_index = self._wires[end]
                receive = self.hosts[other].receive_frame
                self.scheduler.call_at(
                    self.scheduler.now() + self.delay_ns, lambda frame: receive(other_index, frame), frame
                )

        ports: list[Send] = [partial(transmit, index) for index in range(MAX_INTERFACES)]
        host = StackHost(stack, self.scheduler, self.runner, len(self.hosts), ports, parse_address)
        self.hosts[name] = host
        return host

    def ipv6(self, end: str, text: str) -> None:
        """Give the interface `host:index` an IPv6 address, `fd00::1/64`."""
        name, _, index = end.partition(":")
        address, _, prefix = text.partition("/")
        stack = self.hosts[name].stack
        stack.add_ipv6(stack.interfaces[int(index)], ip(address), int(prefix))

    def wire(self, one: str, other: str) -> None:
        for end, far in ((one, other), (other, one)):
            name, _, index = far.partition(":")
            self._wires[end] = (name, int(index))

    def run(self, *coroutines: Coroutine[Any, None, Any], until_ns: int = 1000 * 1_000_000_000) -> list[Any]:
        """Run these to their end; their results, or the first one's error."""
        tasks = [self.runner.spawn(index, f"test-{index}", each) for index, each in enumerate(coroutines)]
        while not all(task.done for task in tasks) and self.scheduler.next_time() <= until_ns:
            self.scheduler.run_next()
        for task in tasks:
            assert task.done, f"{task.name} still waits for {task.waiting.what if task.waiting else None}"
            if task.error is not None:
                raise task.error
        return [task.result for task in tasks]

    def settle(self, duration_ns: int) -> None:
        """Let `duration_ns` of lab time pass."""
        end = self.scheduler.now() + duration_ns
        while self.scheduler.next_time() <= end:
            self.scheduler.run_next()
        self.scheduler.jump_to(end)

    def sent_by(self, end: str) -> list[bytes]:
        """The frames that left by `host:index`."""
        return [frame for _, sender, frame in self.captured if sender == end]


def pair(sink: EventSink | None = None) -> Net:
    """h1 10.0.0.1 and h2 10.0.0.2 on one wire of 1 ms."""
    net = Net(sink)
    net.host("h1", "10.0.0.1/24")
    net.host("h2", "10.0.0.2/24")
    net.wire("h1:0", "h2:0")
    return net


def pair6(sink: EventSink | None = None) -> Net:
    """As `pair`, with fd00::1 and fd00::2 too."""
    net = pair(sink)
    net.ipv6("h1:0", "fd00::1/64")
    net.ipv6("h2:0", "fd00::2/64")
    return net


def routed6(mtu: int = 1500) -> Net:
    """As `routed`, with h1 fd00::1 and h2 fd00:0:0:2::2 too."""
    net = routed(mtu)
    for end, address in (
        ("h1:0", "fd00::1/64"),
        ("r1:0", "fd00::fe/64"),
        ("r1:1", "fd00:0:0:1::1/64"),
        ("r2:1", "fd00:0:0:1::2/64"),
        ("r2:0", "fd00:0:0:2::fe/64"),
        ("h2:0", "fd00:0:0:2::2/64"),
    ):
        net.ipv6(end, address)
    for name, prefix, length, gateway in (
        ("h1", "::", 0, "fd00::fe"),
        ("h2", "::", 0, "fd00:0:0:2::fe"),
        ("r1", "fd00:0:0:2::", 64, "fd00:0:0:1::2"),
        ("r2", "fd00::", 64, "fd00:0:0:1::1"),
    ):
        net.hosts[name].stack.add_route(ip(prefix), length, ip(gateway))
    return net


def routed(mtu: int = 1500) -> Net:
    """h1 10.0.0.1 - r1 - r2 - h2 10.0.2.2; `mtu` is that of the link between the routers."""
    net = Net()
    h1 = net.host("h1", "10.0.0.1/24")
    r1 = net.host("r1", "10.0.0.254/24", forward=True)
    r1.stack.add_interface("eth1", mac(100), ip("10.0.1.1"), 24, mtu)
    r2 = net.host("r2", "10.0.2.254/24", forward=True)
    r2.stack.add_interface("eth1", mac(101), ip("10.0.1.2"), 24, mtu)
    h2 = net.host("h2", "10.0.2.2/24")
    net.wire("h1:0", "r1:0")
    net.wire("r1:1", "r2:1")
    net.wire("r2:0", "h2:0")
    h1.stack.add_route(bytes(4), 0, ip("10.0.0.254"))
    h2.stack.add_route(bytes(4), 0, ip("10.0.2.254"))
    r1.stack.add_route(ip("10.0.2.0"), 24, ip("10.0.1.2"))
    r2.stack.add_route(ip("10.0.0.0"), 24, ip("10.0.1.1"))
    return net

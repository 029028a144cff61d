"""A topology as running parts: stacks, switches and links joined to one another on one scheduler."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from lab.links.link import Link
from lab.links.switch import Switch
from lab.topology.model import HOST, ROUTER, SWITCH, Node, Topology
from nodes.agent.stack_host import StackHost
from nodes.base.clock import Scheduler
from nodes.base.errors import NotFound
from nodes.base.events import EventSink
from nodes.base.random import Randomness
from nodes.base.tasks import TaskRunner
from nodes.sockets.driver import Send
from nodes.stack import Stack
from nodes.tcp.parameters import Parameters


class Network:
    """`hosts` (routers too), `switches` and `links` by name, in the topology's order."""

    def __init__(
        self,
        topology: Topology,
        scheduler: Scheduler,
        runner: TaskRunner,
        randomness: Randomness,
        sink: EventSink,
        resolve: Callable[[str], bytes],
    ) -> None:
        self.topology = topology
        self.hosts: dict[str, StackHost] = {}
        self.switches: dict[str, Switch] = {}
        self.links: dict[str, Link] = {}
        self._addresses = {
            name: tuple(one.address for one in node.interfaces if one.address)
            for name, node in topology.nodes.items()
            if node.kind != SWITCH
        }
        self._scheduler = scheduler
        ports: dict[str, list[Send]] = {
            name: [_unplugged] * len(node.interfaces) for name, node in topology.nodes.items()
        }
        for order, node in enumerate(topology.nodes.values()):
            if node.kind == SWITCH:
                self.switches[node.name] = Switch(node.name, len(node.interfaces))
            else:
                assert node.kind in (HOST, ROUTER)
                stack = _stack(node, randomness, sink)
                self.hosts[node.name] = StackHost(stack, scheduler, runner, order, ports[node.name], resolve)
        for wire in topology.links.values():
            link = Link(
                wire.name,
                wire.a.node,
                wire.b.node,
                (wire.forward, wire.backward),
                scheduler,
                randomness,
                sink,
                self.addresses,
                interfaces=(str(wire.a), str(wire.b)),
            )
            ports[wire.a.node][wire.a.index] = link.forward.send
            ports[wire.b.node][wire.b.index] = link.backward.send
            link.forward.deliver = self._receiver(wire.b.node, wire.b.index, ports)
            link.backward.deliver = self._receiver(wire.a.node, wire.a.index, ports)
            self.links[wire.name] = link

    def addresses(self, node: str) -> Sequence[bytes]:
        """The IPv4 addresses of a node, first interface first. Raises NotFound."""
        known = self._addresses.get(node)
        if known is None:
            what = "is a switch and has no address" if node in self.switches else "is no node of this lab"
            raise NotFound(f"{node} {what}; there are {', '.join(self._addresses)}")
        return known

    def _receiver(self, node: str, index: int, ports: dict[str, list[Send]]) -> Send:
        host = self.hosts.get(node)
        if host is not None:
            return partial(host.receive_frame, index)
        return partial(_switch, self._scheduler, self.switches[node], ports[node], index)


def _stack(node: Node, randomness: Randomness, sink: EventSink) -> Stack:
    parameters = Parameters()
    parameters.set_all(node.parameters)
    stack = Stack(node.name, parameters, randomness, sink)
    for interface in node.interfaces:
        stack.add_interface(interface.name, interface.mac, interface.address, interface.prefix_len, interface.mtu)
    for route in node.routes:
        stack.add_route(route.network, route.prefix_len, route.via, stack.interfaces[route.interface])
    return stack


def _switch(scheduler: Scheduler, switch: Switch, ports: list[Send], index: int, frame: bytes) -> None:
    for out in switch.on_frame(scheduler.now(), index, frame):
        ports[out](frame)


def _unplugged(frame: bytes) -> None:
    """An interface without a link; the topology has none."""

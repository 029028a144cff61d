"""A topology as running parts: stacks, switches and links joined to one another on one scheduler."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from lab.links.mesh import Mesh
from lab.topology.model import HOST, ROUTER, SWITCH, Interface, Node, Topology
from nodes.agent.stack_host import StackHost
from nodes.base.clock import Scheduler
from nodes.base.event_sink import EventSink
from nodes.base.random import Randomness
from nodes.base.tasks import TaskRunner
from nodes.sockets.driver import Send
from nodes.stack import Stack
from nodes.tcp.congestion.base import CongestionControl
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
        ports: dict[str, list[Send]] = {}
        for order, node in enumerate(topology.nodes.values()):
            if node.kind != SWITCH:
                assert node.kind in (HOST, ROUTER)
                stack = make_stack(node, topology.controls, randomness, sink)
                ports[node.name] = []
                self.hosts[node.name] = StackHost(stack, scheduler, runner, order, ports[node.name], resolve)
        mesh = Mesh(topology, scheduler, randomness, sink, topology.addresses, self._receiver)
        self.switches = mesh.switches
        self.links = mesh.links
        for name, sends in ports.items():
            sends += [mesh.inlets[str(interface)] for interface in topology.nodes[name].interfaces]

    def addresses(self, node: str) -> Sequence[bytes]:
        """The addresses of a node, first interface first. Raises NotFound."""
        return self.topology.addresses(node)

    def _receiver(self, interface: Interface) -> Send:
        return self.hosts[interface.node].driver.inlet(interface.index)


def make_stack(
    node: Node, controls: Mapping[str, type[CongestionControl]], randomness: Randomness, sink: EventSink
) -> Stack:
    """The stack of a node of a topology, with its interfaces, routes and parameters, and users' congestion controls."""
    parameters = Parameters()
    parameters.controls.update(controls)
    parameters.set_all(node.parameters)
    stack = Stack(node.name, parameters, randomness, sink)
    for interface in node.interfaces:
        one = stack.add_interface(interface.name, interface.mac, interface.address, interface.prefix_len, interface.mtu)
        if interface.ipv6:
            stack.add_ipv6(one, interface.ipv6, interface.ipv6_prefix_len)
    for route in node.routes:
        stack.add_route(route.network, route.prefix_len, route.via, stack.interfaces[route.interface])
    return stack

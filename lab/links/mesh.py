"""The links and switches of a topology, joined to one another, on one scheduler: what lies between the hosts.

The same in virtual time, where hosts are objects, and in real time, where a host is behind a socket.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial

from lab.links.link import Link
from lab.links.match import Resolver
from lab.links.switch import Switch
from lab.topology.loops import first_loop
from lab.topology.model import SWITCH, Interface, Topology
from nodes.base.clock import Scheduler
from nodes.base.errors import Unsupported
from nodes.base.event_sink import EventSink
from nodes.base.random import Randomness

#: Takes a frame.
Send = Callable[[bytes], object]


class Mesh:
    """`links` and `switches` by name, in the topology's order. `inlets` has, by a host's interface (`h1:eth0`), what
    takes the frames that the host sends there; `outlet(interface)` says what takes those for it. Switches that are
    `elsewhere` count as hosts."""

    def __init__(
        self,
        topology: Topology,
        scheduler: Scheduler,
        randomness: Randomness,
        sink: EventSink,
        resolve: Resolver,
        outlet: Callable[[Interface], Send],
        elsewhere: Collection[str] = (),
    ) -> None:
        self.links: dict[str, Link] = {}
        self.inlets: dict[str, Send] = {}
        self.switches = {
            node.name: Switch(node.name, len(node.interfaces))
            for node in topology.nodes.values()
            if node.kind == SWITCH and node.name not in elsewhere
        }
        pairs = [(wire.a.node, wire.b.node) for wire in topology.links.values()]
        if first_loop([pair for pair in pairs if self.switches.keys() >= {*pair}]) is not None:
            raise Unsupported("switches in a loop need a spanning tree, which only those of backend mininet have")
        ports: dict[str, list[Send]] = {
            name: [_unplugged] * len(topology.nodes[name].interfaces) for name in self.switches
        }
        for wire in topology.links.values():
            link = Link(
                wire.name,
                wire.a.node,
                wire.b.node,
                (wire.forward, wire.backward),
                scheduler,
                randomness,
                sink,
                resolve,
                interfaces=(str(wire.a), str(wire.b)),
            )
            for near, far, direction in ((wire.a, wire.b, link.forward), (wire.b, wire.a, link.backward)):
                if near.node in self.switches:
                    ports[near.node][near.index] = direction.send
                else:
                    self.inlets[str(near)] = direction.send
                switch = self.switches.get(far.node)
                if switch is None:
                    direction.deliver = outlet(far)
                else:
                    direction.deliver = partial(_switch, scheduler, switch, ports[far.node], far.index)
            self.links[wire.name] = link


def _switch(scheduler: Scheduler, switch: Switch, ports: list[Send], index: int, frame: bytes) -> None:
    for out in switch.on_frame(scheduler.now(), index, frame):
        ports[out](frame)


def _unplugged(frame: bytes) -> None:
    """A port without a link; the topology has none."""

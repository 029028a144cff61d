"""The link engine: a topology's links and switches on the machine's clock, between sockets instead of hosts.

Links compute with the instants of frames (the kernel's time stamps), so rate, delay and draws are exactly those of
virtual time however late Python is; only the sending is late, which `fidelity` tells. The hosts' interfaces are
elsewhere: the engine has their far ends, `e<k>`, in its namespace.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol

from lab import spec
from lab.attacks.base import AttackContext, Subscribe
from lab.engine.attacks import MemberAttacks
from lab.engine.fidelity import report
from lab.engine.load import Load
from lab.engine.port import Port, Sockets
from lab.links.link import Link
from lab.links.mesh import Mesh, Send
from lab.links.netem import NETEM_ONE, NetemOptions, netem_options
from lab.links.rules import RuleSpec
from lab.topology.file import NETEM
from lab.topology.model import SWITCH, Interface, Topology
from nodes.base.clock import NEVER
from nodes.base.errors import FailedPrecondition, NotFound
from nodes.base.event_sink import EventSink
from nodes.base.random import Randomness
from nodes.base.real import RealScheduler
from nodes.drivers.wall_clock import WallClock

#: What the engine offers to the lab's process, beside attacks: methods of Engine.
CALLS: Final = (
    "hold",
    "carry",
    "uncarry",
    "update",
    "reset",
    "set_up",
    "add_rule",
    "remove_rule",
    "rules",
    "statistics",
    "fidelity",
    "idle",
)


class Shaper(Protocol):
    """The kernel's netem on interfaces of the engine's namespace (`lab.engine.netem.Netem`)."""

    def set(self, device: str, options: NetemOptions, seed: int) -> None: ...
    def statistics(self, device: str) -> dict[str, int]: ...


class Engine:
    """`devices` has, by a host's interface (`h1:eth0`), the name of its far end here; a switch that has such is not
    the engine's. Nothing is carried at first.

    Methods take and return plain values, so that they can be called from another process; all raise TcplabErrors.
    """

    def __init__(
        self,
        topology: Topology,
        devices: Mapping[str, str],
        scheduler: RealScheduler,
        randomness: Randomness,
        sink: EventSink,
        subscribe: Subscribe,
        sockets: Sockets,
        shaper: Shaper,
    ) -> None:
        clock = WallClock(scheduler.epoch_ns)
        self.ports = {name: Port(name, device, scheduler, clock) for name, device in devices.items()}
        elsewhere = {name.partition(":")[0] for name in devices}
        mesh = Mesh(topology, scheduler, randomness, sink, topology.addresses, self._outlet, elsewhere)
        for name, port in self.ports.items():
            port.inlet = mesh.inlets[name]
        self.links: Mapping[str, Link] = mesh.links
        self._wires = topology.links
        self._sockets = sockets
        self._shaper = shaper
        self._randomness = randomness
        self._scheduler = scheduler
        self._load = Load()
        hosts = [name for name, node in topology.nodes.items() if node.kind != SWITCH]
        addresses = {name: topology.addresses(name) for name in hosts}
        context = AttackContext(scheduler, randomness, sink, mesh.links, addresses, _send_raw, subscribe)
        self.attacks = MemberAttacks(context)

    def offer_to(self, offer: Callable[[str, Callable[..., Any]], None]) -> None:
        """Offer the calls by their names (`Member.offer`)."""
        for name in CALLS:
            offer(name, getattr(self, name))
        self.attacks.offer_to(offer)

    def close(self) -> None:
        """Let go of all sockets. Idempotent."""
        self._close(self.ports.values())

    def _outlet(self, interface: Interface) -> Send:
        return self.ports[str(interface)].send

    # What the engine carries, and what the kernel's bridges do.

    def hold(self, link: str) -> None:
        """Open the sockets of a link: frames gather, nothing is forwarded. To be called while the kernel still carries
        the link, so that nothing is lost while it stops; `carry` comes after."""
        self._open(self._ports(link))

    def carry(self, link: str, since_ns: int = -1) -> None:
        """Forward what comes on a link at `since_ns` (lab time; -1: now) or later. Nothing happens when it does."""
        self.carry_all((link,), since_ns)

    def carry_all(self, links: Iterable[str], since_ns: int = -1) -> None:
        """`carry` many links, all or none."""
        ports = [port for link in links for port in self._ports(link)]
        self._open(ports)
        if since_ns < 0:
            since_ns = self._scheduler.real_now()
        for port in ports:
            port.start(since_ns)

    def uncarry(self, link: str) -> None:
        """Leave a link to the kernel. What is in flight on it is lost."""
        self._close(self._ports(link))

    def _open(self, ports: Iterable[Port]) -> None:
        closed = [port for port in ports if not port.is_open]
        for port, socket in zip(closed, self._sockets.open([port.device for port in closed]), strict=True):
            port.open(socket)

    def _close(self, ports: Iterable[Port]) -> None:
        self._sockets.close([socket for port in ports if (socket := port.close()) is not None])

    def _ports(self, link: str) -> Iterable[Port]:
        self._link(link)
        ends = self._wires[link].a, self._wires[link].b
        return [self.ports[str(end)] for end in ends if str(end) in self.ports]

    # Links.

    def update(self, link: str, changes: Mapping[str, Any], direction: str = "") -> None:
        """Change fields of Impairments (Python names) of one direction or both, atomically."""
        one = self._link(link)
        if self._is_shaped(link):
            for selected in one.selected(direction):
                netem_options(selected.impairments.merged(changes))  # refused before anything is changed
        one.update(changes, direction)
        self.shape(link)

    def reset(self, link: str, direction: str = "") -> None:
        """Have the impairments of the topology again."""
        self._link(link).reset(direction)
        self.shape(link)

    def set_up(self, link: str, up: bool) -> None:
        """Take a link down or up."""
        self._link(link).set_up(up)
        self.shape(link)

    def statistics(self, link: str) -> dict[str, dict[str, int]]:
        """Counters of each direction by name. Of a link that netem carries there are only those that netem has."""
        counts = {name: one.statistics.as_dict() for name, one in self._link(link).directions.items()}
        if self._is_shaped(link):
            for one, device in zip(counts.values(), self._exits(link), strict=True):
                one.update(self._shaper.statistics(device))
        return counts

    def shape(self, link: str) -> None:
        """Tell the kernel's netem what to do on a link that it carries; nothing for other links."""
        if not self._is_shaped(link):
            return
        one = self._link(link)
        for direction, device in zip((one.forward, one.backward), self._exits(link), strict=True):
            options = netem_options(direction.impairments)
            if not one.up:
                options = dataclasses.replace(options, loss=NETEM_ONE, gemodel=())
            seed = self._randomness.stream(f"link/{direction.name}/netem").bits(64)
            self._shaper.set(device, options, seed)

    def _is_shaped(self, link: str) -> bool:
        self._link(link)
        return self._wires[link].engine == NETEM

    def _exits(self, link: str) -> tuple[str, str]:
        """The interfaces by which its two directions leave."""
        wire = self._wires[link]
        return self.ports[str(wire.b)].device, self.ports[str(wire.a)].device

    def add_rule(self, link: str, rule: Mapping[str, Any]) -> str:
        """Append a packet rule, given as in a file. Returns its name."""
        if self._is_shaped(link):
            raise FailedPrecondition(f"link {link} is carried by netem, which has no packet rules; engine: link has")
        return self._link(link).add_rule(spec.from_mapping(RuleSpec, rule)).name

    def remove_rule(self, link: str, rule: str) -> None:
        """Remove a packet rule; what it holds is released."""
        self._link(link).remove_rule(rule)

    def rules(self, link: str) -> dict[str, list[int]]:
        """The link's rules by name, in their order: how many frames each matched and on how many it acted."""
        return {one.name: [one.matches, one.acted] for one in self._link(link).rules}

    def _link(self, name: str) -> Link:
        found = self.links.get(name)
        if found is None:
            raise NotFound(f"{name!r} is no link of this lab; there are {', '.join(self.links)}")
        return found

    # How it is going.

    def idle(self) -> list[bool | int]:
        """Whether nothing is under way on any link, and how much has been handled."""
        return [self._scheduler.next_time() == NEVER, self._scheduler.handled]

    def fidelity(self) -> dict[str, Any]:
        """How late frames were sent, how full the machine was, and whether to believe the run: see fidelity.py."""
        return report(self.ports.values(), self._load.since_start())


def _send_raw(node: str, packet: bytes) -> None:
    raise FailedPrecondition(f"an attack that sends from {node} runs in that node's process, not in the link engine")

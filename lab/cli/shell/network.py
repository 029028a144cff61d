"""`Network`: who is in a lab and who is joined to whom, as the API says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from lab.links.impairments import Impairments
from lab.server.convert_link import CHANCES, chance
from nodes.base.errors import NotFound
from tcplab.client import Lab
from tcplab.v1 import link_pb2, node_pb2

SWITCH: Final = "switch"
_HOSTS: Final = ("host", "linux")


@dataclass(frozen=True)
class Port:
    """An end of a link. It is written as Mininet writes it: h1-eth0."""

    node: str
    name: str

    def __str__(self) -> str:
        return self.name if self.name.startswith(f"{self.node}-") else f"{self.node}-{self.name}"


@dataclass(frozen=True)
class Wire:
    """A link by its name, and its ends."""

    name: str
    a: Port
    b: Port

    def between(self, one: str, other: str) -> bool:
        """Whether these nodes are its ends."""
        return {self.a.node, self.b.node} == {one, other}


class Network:
    """Nodes and links of a lab; they are the same as long as it lives. `kinds` has switches last."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.infos: Mapping[str, node_pb2.Node] = {one.name: one.info() for one in lab.nodes()}
        self.wires = tuple(_wire(one.info()) for one in lab.links())
        ends = [port.node for wire in self.wires for port in (wire.a, wire.b)]
        self.kinds = {name: info.kind for name, info in self.infos.items()}
        self.kinds.update((name, SWITCH) for name in ends if name not in self.infos)

    @property
    def hosts(self) -> list[str]:
        """Hosts, whoever's TCP they have, but no routers."""
        return [name for name, kind in self.kinds.items() if kind in _HOSTS]

    def ports(self, node: str) -> list[Port]:
        """Its ends of links, in the order of the links."""
        return [port for wire in self.wires for port in (wire.a, wire.b) if port.node == node]

    def peer(self, port: Port) -> Port:
        """The other end of its link."""
        return next(wire.b if wire.a == port else wire.a for wire in self.wires if port in (wire.a, wire.b))

    def address(self, node: str) -> str:
        """Its first address; "" of a switch."""
        info = self.infos.get(node)
        return next((one.address for one in info.interfaces if one.address), "") if info is not None else ""

    def between(self, one: str, other: str) -> list[Wire]:
        """The links between two nodes. Raises NotFound."""
        for name, what in ((one, "src"), (other, "dst")):
            if name not in self.kinds:
                raise NotFound(f"{what} not in network: {name}")
        found = [wire for wire in self.wires if wire.between(one, other)]
        if not found:
            raise NotFound(f"src and dst not connected: {one} {other}")
        return found

    def port(self, text: str) -> Port:
        """`h1-eth0` or `h1:eth0`. Raises NotFound."""
        every = [port for wire in self.wires for port in (wire.a, wire.b)]
        for port in every:
            if text in (str(port), f"{port.node}:{port.name}"):
                return port
        raise NotFound(f"there is no interface {text}; there are {', '.join(map(str, every))}")

    def link(self, text: str) -> tuple[Wire, str]:
        """`h1-r1`, also `r1-h1`, and both directions (""); or `h1->r1` and that direction. Raises NotFound."""
        one, arrow, other = text.partition("->")
        if arrow:
            found = self.between(one, other)
            if len(found) > 1:
                names = ", ".join(wire.name for wire in found)
                raise NotFound(f"{text} are several links: {names}; give one of these and `direction {text}`")
            return found[0], text
        for wire in self.wires:
            if text in (wire.name, f"{wire.a.node}-{wire.b.node}", f"{wire.b.node}-{wire.a.node}"):
                return wire, ""
        raise NotFound(f"there is no link {text}; there are {', '.join(wire.name for wire in self.wires) or 'none'}")


def impairments(message: link_pb2.Impairments) -> Impairments:
    """What a link of a running lab does to packets, one way."""
    return Impairments(
        delay_ns=message.delay.ToNanoseconds(),
        jitter_ns=message.jitter.ToNanoseconds(),
        reorder_gap=message.reorder_gap,
        reorder_delay_ns=message.reorder_delay.ToNanoseconds(),
        rate_bps=message.rate_bps,
        limit_packets=message.limit_packets,
        limit_bytes=message.limit_bytes,
        ecn_threshold=message.ecn_threshold,
        queue=message.queue,
        red_min=message.red_min,
        red_max=message.red_max,
        red_ecn=message.red_ecn,
        **{name: chance(getattr(message, name), name) for name in CHANCES},
    )


def _wire(message: link_pb2.Link) -> Wire:
    a, b = (Port(*end.split(":", 1)) for end in (message.a, message.b))
    return Wire(message.name.rpartition("/")[2], a, b)

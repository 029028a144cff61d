"""`Drawing`: what a picture of a topology shows, whatever it is drawn with."""

from __future__ import annotations

from dataclasses import dataclass

from lab.links.impairments import Impairments
from lab.topology.model import Interface, Topology, Wire
from nodes.packet.address import address_text

_USUAL_MTU = 1500
#: Addresses of one node that are shown; it may have hundreds.
_SHOWN = 6


@dataclass(frozen=True)
class Shape:
    """A node: its name, its kind, and lines about it (its addresses)."""

    name: str
    kind: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Edge:
    """A link between nodes by their numbers: the names of its ends, and words about it; `up` is whether it carries."""

    a: int
    b: int
    a_port: str
    b_port: str
    words: tuple[str, ...]
    up: bool = True


@dataclass(frozen=True)
class Drawing:
    """Nodes and links in their order."""

    name: str
    shapes: tuple[Shape, ...]
    edges: tuple[Edge, ...]


def drawing(topology: Topology) -> Drawing:
    """Of a topology as it would be built."""
    numbers = {name: number for number, name in enumerate(topology.nodes)}
    shapes = tuple(
        Shape(name, node.kind, address_lines([_address(one) for one in node.interfaces]))
        for name, node in topology.nodes.items()
    )
    edges = tuple(_edge(wire, numbers) for wire in topology.links.values())
    return Drawing(topology.name, shapes, edges)


def address_lines(addresses: list[tuple[str, str]]) -> tuple[str, ...]:
    """Of (interface, address/prefix or ""): one address alone; of several each with its interface."""
    have = [(name, address) for name, address in addresses if address]
    if len(have) < 2:
        return tuple(address for _, address in have)
    lines = [f"{name} {address}" for name, address in have]
    if len(lines) > _SHOWN:
        lines[_SHOWN - 1 :] = [f"and {len(lines) - _SHOWN + 1} more"]
    return tuple(lines)


def link_words(a: str, b: str, forward: Impairments, backward: Impairments, mtu: int) -> tuple[str, ...]:
    """What a link does, a line for each: `delay 10ms`; where directions differ each with its own (`h1→r1 loss 1%`)."""
    there, back = _pairs(forward.words()), _pairs(backward.words())
    both = [pair for pair in there if pair in back]
    lines = [
        *both,
        *(f"{a}→{b} {pair}" for pair in there if pair not in both),
        *(f"{b}→{a} {pair}" for pair in back if pair not in both),
    ]
    return (*lines, f"mtu {mtu}") if mtu != _USUAL_MTU else tuple(lines)


def _pairs(words: str) -> list[str]:
    parts = words.split()
    return [" ".join(parts[at : at + 2]) for at in range(0, len(parts), 2)]


def _address(interface: Interface) -> tuple[str, str]:
    text = f"{address_text(interface.address)}/{interface.prefix_len}" if interface.address else ""
    return interface.name, text


def _edge(wire: Wire, numbers: dict[str, int]) -> Edge:
    a, b = wire.a.node, wire.b.node
    words = link_words(a, b, wire.forward, wire.backward, wire.mtu)
    return Edge(numbers[a], numbers[b], wire.a.name, wire.b.name, words)

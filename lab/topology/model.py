"""A topology as a backend builds it: names resolved, addresses and routes given."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lab.links.impairments import Impairments
from lab.topology.container import DEFAULT, ContainerSpec
from lab.topology.file import AUTO, HOST, IPV6_PREFERRED, LINUX, NO_IPV6, ROUTER, SWITCH
from nodes.base.errors import InvalidArgument, NotFound
from nodes.packet.address import address_text, parse_address
from nodes.tcp.congestion.base import CongestionControl

__all__ = ["HOST", "LINUX", "ROUTER", "SWITCH", "Interface", "Node", "Route", "Topology", "Wire"]


@dataclass(frozen=True)
class Interface:
    """A port of a node. `index` counts from 0 on its node; a switch's ports have no addresses (b""), and without IPv6
    none has an `ipv6` one."""

    node: str
    name: str
    index: int
    link: str
    mac: bytes
    address: bytes
    prefix_len: int
    mtu: int
    ipv6: bytes = b""
    ipv6_prefix_len: int = 0

    def __str__(self) -> str:
        return f"{self.node}:{self.name}"


@dataclass(frozen=True)
class Route:
    """Packets to `network`/`prefix_len` go to `via` through interface number `interface`. Prefix length 0: default."""

    network: bytes
    prefix_len: int
    via: bytes
    interface: int

    def __str__(self) -> str:
        return f"{address_text(self.network)}/{self.prefix_len} via {address_text(self.via)}"


@dataclass(frozen=True)
class Node:
    """A host, router, switch, or linux (the kernel's TCP). `parameters` are only those that differ from the defaults of
    its stack, profile first; `switch` is what a switch is on backend mininet, `container` what others are on docker."""

    name: str
    kind: str
    group: str
    parameters: Mapping[str, int | str]
    interfaces: tuple[Interface, ...]
    routes: tuple[Route, ...]
    switch: str = AUTO
    container: ContainerSpec = DEFAULT
    stp: bool = False


@dataclass(frozen=True)
class Wire:
    """A link of the topology: `forward` are the impairments from `a` to `b`, `backward` from `b` to `a`.

    `engine` says who carries it in real time: auto, link, direct or netem.
    """

    name: str
    a: Interface
    b: Interface
    mtu: int
    forward: Impairments
    backward: Impairments
    engine: str = AUTO


@dataclass(frozen=True)
class Topology:
    """Nodes and links in the file's order. `spec` is the file's content in canonical form, for manifests;
    `controls` are users' congestion controls."""

    name: str
    description: str
    nodes: Mapping[str, Node]
    links: Mapping[str, Wire]
    spec: Mapping[str, Any]
    ipv6: str = NO_IPV6
    controls: Mapping[str, type[CongestionControl]] = field(default_factory=dict, compare=False)

    def addresses(self, node: str) -> Sequence[bytes]:
        """The addresses of a node, first interface first, IPv4 first unless IPv6 is preferred. Raises NotFound."""
        found = self.nodes.get(node)
        if found is None or found.kind == SWITCH:
            what = "is no node of this lab" if found is None else "is a switch and has no address"
            known = ", ".join(name for name, one in self.nodes.items() if one.kind != SWITCH)
            raise NotFound(f"{node} {what}; there are {known}")
        four = tuple(one.address for one in found.interfaces if one.address)
        six = tuple(one.ipv6 for one in found.interfaces if one.ipv6)
        return six + four if self.ipv6 == IPV6_PREFERRED else four + six

    def resolve(self, host: str) -> bytes:
        """The address that a node's name (its first address) or an address in text stands for. Raises NotFound."""
        if host in self.nodes:
            return self.addresses(host)[0]
        try:
            return parse_address(host)
        except InvalidArgument:
            known = [name for name, one in self.nodes.items() if one.kind != SWITCH]
            raise NotFound(unknown("node", host, known, " of this lab, nor an IP address")) from None


def unknown(what: str, name: str, known: Iterable[str], whose: str = " of this lab") -> str:
    """The words of a NotFound: what is there, or what was probably meant."""
    names = list(known)
    near = difflib.get_close_matches(name, names, 1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names[:20]) or 'none'}"
    return f"{name!r} is no {what}{whose}; {hint}"

"""From what a topology file says to what a backend builds: inheritance, ends of links, checks.

Errors are InvalidArgument with the field's path; the loader adds file and line.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from lab import spec
from lab.links.impairments import Impairments
from lab.links.netem import netem_options
from lab.topology.addressing import assign
from lab.topology.container import DEFAULT
from lab.topology.file import (
    AUTO,
    DIRECT,
    HOST,
    INTERFACE_PATTERN,
    INTERFACE_WORDS,
    LINUX,
    NETEM,
    ROUTER,
    SWITCH,
    LinkSpec,
    NodeSpec,
    TopologySpec,
    check_parameters,
)
from lab.topology.loops import first_loop
from lab.topology.model import Interface, Node, Topology, Wire
from nodes.base.errors import InvalidArgument
from nodes.tcp.congestion.base import CongestionControl
from nodes.tcp.congestion.plugin import load_controls

MAX_NODES: Final = 1000
MAX_LINKS: Final = 4000


def build(topology: TopologySpec) -> Topology:
    """Resolve and check a topology. Raises InvalidArgument with the path of the field that is wrong."""
    if not topology.nodes:
        raise InvalidArgument("there are none; a topology needs one or more", "nodes")
    if len(topology.nodes) > MAX_NODES or len(topology.links) > MAX_LINKS:
        what = f"{len(topology.nodes)} nodes and {len(topology.links)} links"
        raise InvalidArgument(f"{what}; {MAX_NODES} and {MAX_LINKS} are allowed", "nodes")
    controls = _controls(topology.congestion_controls)
    nodes = {name: _node(topology, name, node, controls) for name, node in topology.nodes.items()}
    wires = _Wiring(topology, nodes).wires()
    _refuse_switch_loops(nodes, wires)
    links = {wire.name: wire for wire in wires}
    plain = spec.plain(topology)
    made = Topology(topology.name, topology.description, nodes, links, plain, topology.ipv6, controls)
    return assign(made, topology)


def _controls(files: Mapping[str, str]) -> dict[str, type[CongestionControl]]:
    try:
        return load_controls(files)
    except InvalidArgument as error:
        raise InvalidArgument(str(error), "congestion_controls") from None


def _node(topology: TopologySpec, name: str, node: NodeSpec, controls: Mapping[str, type[CongestionControl]]) -> Node:
    """Defaults -> kinds -> groups -> the node's own."""
    group = topology.groups.get(node.group)
    if node.group and group is None:
        raise InvalidArgument(_unknown("group", node.group, topology.groups), f"nodes.{name}.group")
    kind = node.kind or (group.kind if group else None) or topology.defaults.kind or HOST
    parameters: dict[str, int | str] = {}
    switch, stp = AUTO, False
    container = DEFAULT
    for path, settings in (
        ("defaults", topology.defaults),
        (f"kinds.{kind}", topology.kinds.get(kind)),
        (f"groups.{node.group}", group),
        (f"nodes.{name}", node),
    ):
        if settings is None:
            continue
        switch = settings.switch or switch
        stp = stp if settings.stp is None else settings.stp
        if kind != SWITCH:
            check_parameters(kind, settings.parameters, f"{path}.parameters", controls)
            parameters.update(settings.parameters)
            container = container.with_fields(settings.container, f"{path}.container")
    if kind == ROUTER:
        parameters.setdefault("ip_forward", 1)
    if "profile" in parameters:  # it sets all others, so it comes first
        parameters = {"profile": parameters.pop("profile"), **parameters}
    if kind == SWITCH and (node.parameters or node.interfaces):
        what = "parameters" if node.parameters else "interfaces"
        raise InvalidArgument("a switch has no TCP/IP stack and takes none", f"nodes.{name}.{what}")
    if kind == SWITCH and node.container:
        raise InvalidArgument("a switch is no container on any backend", f"nodes.{name}.container")
    if kind != LINUX and node.container.get("command"):
        raise InvalidArgument(
            f"{name} is of kind {kind}, so its container runs tcplab's agent; kind linux runs a command",
            f"nodes.{name}.container.command",
        )
    if kind != SWITCH and (node.switch or node.stp is not None):
        what = "switch" if node.switch else "stp"
        raise InvalidArgument(f"{name} is no switch but of kind {kind}", f"nodes.{name}.{what}")
    return Node(name, kind, node.group, {} if kind == SWITCH else parameters, (), (), switch, container, stp)


class _Wiring:
    """Gives each link its name, its two ends their interfaces, and each direction its impairments."""

    def __init__(self, topology: TopologySpec, nodes: dict[str, Node]) -> None:
        self.topology = topology
        self.nodes = nodes
        self.ends = [self.split(index, link) for index, link in enumerate(topology.links)]
        self.used: dict[str, dict[str, int]] = {name: {} for name in nodes}  # node -> interface -> its link's index
        self.count: dict[str, int] = dict.fromkeys(nodes, 0)

    def wires(self) -> list[Wire]:
        for index, ends in enumerate(self.ends):
            for end, (node, interface) in enumerate(ends):
                if interface:
                    self.take(index, end, node, interface)
        names: set[str] = {link.name for link in self.topology.links if link.name}
        wires: list[Wire] = []
        seen: dict[str, int] = {}
        for index, link in enumerate(self.topology.links):
            (a, a_name), (b, b_name) = self.ends[index]
            if link.name in seen:
                first = seen[link.name]
                raise InvalidArgument(f"{link.name} is also the name of links[{first}]", f"links[{index}].name")
            name = link.name or self.free_name(f"{a}-{b}", names)
            seen[name] = index
            names.add(name)
            wires.append(self.wire(index, link, name, (a, a_name), (b, b_name)))
        for node, settings in self.topology.nodes.items():
            for interface in settings.interfaces:
                if interface not in self.used[node]:
                    known = ", ".join(self.used[node]) or "none"
                    path = f"nodes.{node}.interfaces.{interface}"
                    raise InvalidArgument(f"no link ends at {node}:{interface}; there are {known}", path)
        return wires

    def split(self, index: int, link: LinkSpec) -> tuple[tuple[str, str], tuple[str, str]]:
        """The two ends as (node, interface or "")."""
        path = f"links[{index}].endpoints"
        if len(link.endpoints) == 2:
            first, second = (self.end(text, f"{path}[{at}]") for at, text in enumerate(link.endpoints))
        else:
            text = link.endpoints[0]
            pairs = [(text[:at], text[at + 1 :]) for at, sign in enumerate(text) if sign == "-"]
            fits = [pair for pair in pairs if all(part.partition(":")[0] in self.nodes for part in pair)]
            if len(fits) != 1:
                if len(pairs) > 1 or fits:
                    raise InvalidArgument(f"{text} can be read in {len(fits)} ways; give a list of two ends", path)
                fits = pairs
            first, second = (self.end(part, path) for part in fits[0])
        if first[0] == second[0]:
            raise InvalidArgument(f"both ends are on {first[0]}", path)
        return first, second

    def end(self, text: str, path: str) -> tuple[str, str]:
        node, colon, interface = text.partition(":")
        if node not in self.nodes:
            raise InvalidArgument(_unknown("node", node, self.nodes), path)
        if colon and not re.fullmatch(INTERFACE_PATTERN, interface):
            raise InvalidArgument(f"{interface or 'nothing'} is not {INTERFACE_WORDS}", path)
        return node, interface

    def take(self, index: int, end: int, node: str, interface: str) -> None:
        if interface in self.used[node]:
            other = self.used[node][interface]
            path = f"links[{index}].endpoints" + (f"[{end}]" if len(self.topology.links[index].endpoints) == 2 else "")
            raise InvalidArgument(f"{node}:{interface} has a link already: links[{other}]", path)
        self.used[node][interface] = index

    def free_name(self, name: str, names: set[str]) -> str:
        if name not in names:
            return name
        number = 2
        while f"{name}-{number}" in names:
            number += 1
        return f"{name}-{number}"

    def wire(self, index: int, link: LinkSpec, name: str, a: tuple[str, str], b: tuple[str, str]) -> Wire:
        directions = {f"{a[0]}->{b[0]}": 0, f"{b[0]}->{a[0]}": 1}
        for direction in link.directions:
            if direction not in directions:
                known = " or ".join(directions)
                path = f"links[{index}].directions"
                raise InvalidArgument(f"{direction} is not a direction of this link: {known}", path)
        both = {**self.topology.link_defaults, **link.impairments}
        forward, backward = (
            _impairments({**both, **link.directions.get(direction, {})}, f"links[{index}]") for direction in directions
        )
        _check_engine(link.engine, (forward, backward), [self.nodes[node].kind for node, _ in (a, b)], index)
        return Wire(
            name,
            self.interface(index, link, name, *a),
            self.interface(index, link, name, *b),
            link.mtu,
            forward,
            backward,
            link.engine,
        )

    def interface(self, index: int, link: LinkSpec, name: str, node: str, interface: str) -> Interface:
        if not interface:
            number = 0
            while f"eth{number}" in self.used[node]:
                number += 1
            interface = f"eth{number}"
            self.used[node][interface] = index
        port = self.count[node]
        self.count[node] += 1
        return Interface(node, interface, port, name, b"", b"", 0, link.mtu)


def _impairments(changes: dict[str, Any], path: str) -> Impairments:
    try:
        return Impairments(**changes)
    except InvalidArgument as error:
        raise InvalidArgument(str(error), f"{path}.{error.field}") from None


def _check_engine(engine: str, both: Iterable[Impairments], kinds: list[str], index: int) -> None:
    """What the kernel alone is to carry, it must be able to carry."""
    if engine not in (DIRECT, NETEM):
        return
    path = f"links[{index}].engine"
    if SWITCH in kinds:
        raise InvalidArgument(f"{engine}: switches are in the link engine, so a link to one is too; use auto", path)
    for impairments in both:
        if engine == DIRECT and not impairments.none:
            raise InvalidArgument(f"direct: the kernel alone does not do {impairments.words()}; use auto", path)
        if engine == NETEM:
            try:
                netem_options(impairments)
            except InvalidArgument as error:
                raise InvalidArgument(str(error), path) from None


def _refuse_switch_loops(nodes: dict[str, Node], wires: Iterable[Wire]) -> None:
    """Loops are for switches that all speak the spanning tree protocol."""
    between = [
        (index, (wire.a.node, wire.b.node))
        for index, wire in enumerate(wires)
        if nodes[wire.a.node].kind == SWITCH and nodes[wire.b.node].kind == SWITCH
    ]
    trees = [pair for _, pair in between if nodes[pair[0]].stp and nodes[pair[1]].stp]
    others = [(index, pair) for index, pair in between if pair not in trees]
    found = first_loop([pair for _, pair in others], trees)
    if found is not None:
        index, (a, b) = others[found]
        raise InvalidArgument(
            f"{a} and {b} are connected already: switches in a loop would flood for ever; use a router in between, or, "
            "on backend mininet, stp: true for all of them",
            f"links[{index}].endpoints",
        )


def _unknown(what: str, name: str, known: Iterable[str]) -> str:
    names = list(known)
    near = difflib.get_close_matches(name, names, 1)
    shown = ", ".join(names[:10]) + (" ..." if len(names) > 10 else "")
    return f"there is no {what} {name!r}; " + (f"did you mean {near[0]}?" if near else f"there are {shown or 'none'}")

"""Addresses, MACs and routes of a topology, all deterministic.

Interfaces joined by a link or by switches share a subnet. A topology of one subnet uses 10.0.0.0/24, its hosts numbered
from 1 in the file's order; one of several uses 10.0.1.0/24, 10.0.2.0/24 ... in the order of their first links. A subnet
takes a shorter prefix when it needs one. An address in the file decides the subnet of all interfaces it shares it with.
With `ipv6` a subnet has fd00:0:0:N::/64 too, its N that of 10.0.N.0 (subnets.py).
MACs are 02:00:00:00:00:01 and so on. Routes follow fewest hops, the earlier router in the file when equal; only routers
forward, and linux nodes with ip_forward. A host for which one router leads everywhere gets a default route alone.
"""

from __future__ import annotations

import dataclasses
from collections import deque

from lab.topology.file import LINUX, NO_IPV6, ROUTER, SWITCH, TopologySpec
from lab.topology.model import Interface, Node, Route, Topology, Wire
from lab.topology.subnets import IPV4, IPV6, Address, Key, Network, give_addresses
from nodes.base.errors import InvalidArgument
from nodes.kernel.sysctls import forwards
from nodes.packet.ipv6 import MIN_MTU


def assign(topology: Topology, given: TopologySpec) -> Topology:
    """The topology with addresses, MACs and routes. Raises InvalidArgument with the path of the field."""
    kinds = {name: node.kind for name, node in topology.nodes.items()}
    segments = _segments(topology, kinds)
    networks, addresses = give_addresses(IPV4, topology, given, segments)
    networks6: list[Network] = []
    ipv6: dict[Key, Address] = {}
    if topology.ipv6 == NO_IPV6:
        _refuse_ipv6(given)
    else:
        _check_mtus(topology)
        networks6, ipv6 = give_addresses(IPV6, topology, given, segments)
    macs = _macs(topology, given, kinds)
    done: dict[Key, Interface] = {}
    for wire in topology.links.values():
        for interface in (wire.a, wire.b):
            key = (interface.node, interface.index)
            if key in addresses:
                address = addresses[key]
                interface = dataclasses.replace(
                    interface, mac=macs[key], address=address.ip.packed, prefix_len=address.network.prefixlen
                )
            if key in ipv6:
                length = ipv6[key].network.prefixlen
                interface = dataclasses.replace(interface, ipv6=ipv6[key].ip.packed, ipv6_prefix_len=length)
            done[key] = interface
    routes = _routes(topology, kinds, segments, networks, networks6, done)
    nodes: dict[str, Node] = {}
    for name, node in topology.nodes.items():
        own = tuple(sorted((one for one in done.values() if one.node == name), key=lambda one: one.index))
        nodes[name] = dataclasses.replace(node, interfaces=own, routes=tuple(routes.get(name, ())))
    links = {
        wire.name: dataclasses.replace(wire, a=done[wire.a.node, wire.a.index], b=done[wire.b.node, wire.b.index])
        for wire in topology.links.values()
    }
    return dataclasses.replace(topology, nodes=nodes, links=links)


def _segments(topology: Topology, kinds: dict[str, str]) -> list[list[Interface]]:
    """Broadcast domains: for each, the interfaces that have addresses, in the order of nodes. None is empty."""
    wires_at: dict[str, list[Wire]] = {name: [] for name in topology.nodes}
    for wire in topology.links.values():
        wires_at[wire.a.node].append(wire)
        wires_at[wire.b.node].append(wire)
    order = {name: position for position, name in enumerate(topology.nodes)}
    seen: set[str] = set()
    segments: list[list[Interface]] = []
    for start in topology.links.values():
        if start.name in seen:
            continue
        seen.add(start.name)
        members: list[Interface] = []
        queue = deque([start])
        while queue:
            wire = queue.popleft()
            for interface in (wire.a, wire.b):
                if kinds[interface.node] != SWITCH:
                    members.append(interface)
                    continue
                for other in wires_at[interface.node]:
                    if other.name not in seen:
                        seen.add(other.name)
                        queue.append(other)
        if members:
            segments.append(sorted(members, key=lambda one: (order[one.node], one.index)))
    return segments


def _check_mtus(topology: Topology) -> None:
    for number, wire in enumerate(topology.links.values()):
        if wire.mtu < MIN_MTU:
            raise InvalidArgument(
                f"{wire.mtu} is too small for IPv6, which needs {MIN_MTU} or more", f"links[{number}].mtu"
            )


def _refuse_ipv6(given: TopologySpec) -> None:
    for name, node in given.nodes.items():
        for interface, own in node.interfaces.items():
            if own.ipv6:
                path = f"nodes.{name}.interfaces.{interface}.ipv6"
                raise InvalidArgument("the topology has no IPv6; give it `ipv6: dual`", path)


def _macs(topology: Topology, given: TopologySpec, kinds: dict[str, str]) -> dict[Key, bytes]:
    """MACs of all interfaces but those of switches, numbered in the order of nodes."""
    by_node: dict[str, list[Interface]] = {name: [] for name in topology.nodes}
    for wire in topology.links.values():
        for interface in (wire.a, wire.b):
            by_node[interface.node].append(interface)
    macs: dict[Key, bytes] = {}
    users: dict[bytes, Interface] = {}
    ordered = [
        one
        for name in topology.nodes
        if kinds[name] != SWITCH
        for one in sorted(by_node[name], key=lambda one: one.index)
    ]
    for number, interface in enumerate(ordered, 1):
        own = given.nodes[interface.node].interfaces.get(interface.name)
        mac = bytes.fromhex(own.mac.replace(":", "")) if own and own.mac else b"\x02" + number.to_bytes(5, "big")
        if mac[0] & 1 or not any(mac):
            raise InvalidArgument("a host's MAC is neither zero nor a multicast address", _path(interface, "mac"))
        if mac in users:
            raise InvalidArgument(f"{mac.hex(':')} is also the MAC of {users[mac]}", _path(interface, "mac"))
        users[mac] = interface
        macs[interface.node, interface.index] = mac
    return macs


def _routes(
    topology: Topology,
    kinds: dict[str, str],
    segments: list[list[Interface]],
    networks: list[Network],
    networks6: list[Network],
    interfaces: dict[Key, Interface],
) -> dict[str, list[Route]]:
    """For each node its routes to the segments it is not on: a search outwards from each segment."""
    at: dict[str, list[tuple[int, Interface]]] = {name: [] for name in topology.nodes}
    for number, segment in enumerate(segments):
        for interface in segment:
            at[interface.node].append((number, interface))
    routers = {name for name, node in topology.nodes.items() if _forwards(node)}
    routes: dict[str, list[Route]] = {name: [] for name in topology.nodes}
    for target in range(len(segments)):
        via: dict[str, tuple[Interface, int]] = {}  # the router's interface, and ours towards it
        reached = {target}
        queue = deque([target])
        while queue:
            segment_number = queue.popleft()
            for member in segments[segment_number]:
                router = member.node
                if router not in routers or not (router in via or _is_on(at[router], target)):
                    continue
                for number, interface in at[router]:
                    if number in reached:
                        continue
                    reached.add(number)
                    queue.append(number)
                    gateway = interfaces[interface.node, interface.index]
                    for neighbour in segments[number]:
                        name = neighbour.node
                        if name != router and name not in via and not _is_on(at[name], target):
                            via[name] = (gateway, neighbour.index)
        for name, (gateway, index) in via.items():
            network = networks[target]
            routes[name].append(Route(network.network_address.packed, network.prefixlen, gateway.address, index))
            if networks6:
                six = networks6[target]
                routes[name].append(Route(six.network_address.packed, six.prefixlen, gateway.ipv6, index))
    for name, own in routes.items():
        if kinds[name] != SWITCH and name not in routers:
            routes[name] = [*_shortest(own, 4), *_shortest(own, 16)]
    return routes


def _shortest(routes: list[Route], size: int) -> list[Route]:
    """A host's routes of the family whose addresses have `size` bytes: the default route where all go one way."""
    own = [one for one in routes if len(one.network) == size]
    if len({(one.via, one.interface) for one in own}) == 1:
        return [Route(bytes(size), 0, own[0].via, own[0].interface)]
    return own


def _forwards(node: Node) -> bool:
    return node.kind == ROUTER or (node.kind == LINUX and forwards(node.parameters))


def _is_on(places: list[tuple[int, Interface]], segment: int) -> bool:
    return any(number == segment for number, _ in places)


def _path(interface: Interface, field: str) -> str:
    return f"nodes.{interface.node}.interfaces.{interface.name}.{field}"

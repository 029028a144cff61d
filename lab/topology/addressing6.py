"""IPv6 addresses of a topology's interfaces (RFC 4291), beside the IPv4 ones: fd00:0:0:N::/64 (RFC 4193) for each
segment, with the hosts numbered from 1, unless the file says others."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv6Interface, IPv6Network

from lab.topology.file import TopologySpec
from lab.topology.model import Interface, Topology
from nodes.base.errors import InvalidArgument
from nodes.packet.ipv6 import MIN_MTU

_Key = tuple[str, int]  # node, index of the interface


def addresses6(
    topology: Topology, given: TopologySpec, segments: Sequence[Sequence[Interface]]
) -> tuple[list[IPv6Network], dict[_Key, IPv6Interface]]:
    """The network of each segment, and the address of each interface. Raises InvalidArgument."""
    for number, wire in enumerate(topology.links.values()):
        if wire.mtu < MIN_MTU:
            raise InvalidArgument(
                f"{wire.mtu} is too small for IPv6, which needs {MIN_MTU} or more", f"links[{number}].mtu"
            )
    fixed = _given_addresses(topology, given)
    networks: list[IPv6Network | None] = [None] * len(segments)
    for number, segment in enumerate(segments):
        for interface in segment:
            address = fixed.get((interface.node, interface.index))
            if address is None:
                continue
            network = networks[number]
            path = _path(interface)
            if network is not None and network != address.network:
                raise InvalidArgument(f"{address} is not in {network}, the subnet of this segment", path)
            for other in networks[:number]:
                if other is not None and other.overlaps(address.network):
                    raise InvalidArgument(f"{address.network} is also the subnet of another segment, {other}", path)
            networks[number] = address.network
    taken = [network for network in networks if network is not None]
    following = 0 if len(segments) == 1 else 1
    result: list[IPv6Network] = []
    addresses: dict[_Key, IPv6Interface] = {}
    users: dict[int, Interface] = {}
    for number, segment in enumerate(segments):
        network = networks[number]
        while network is None:
            candidate = IPv6Network(((0xFD00 << 112) + (following << 64), 64))
            following += 1
            if not any(candidate.overlaps(other) for other in taken):
                network = candidate
        result.append(network)
        own = {int(address.ip) for one in segment if (address := fixed.get((one.node, one.index)))}
        value = int(network.network_address)
        for interface in segment:
            key = (interface.node, interface.index)
            address = fixed.get(key)
            if address is None:
                value += 1
                while value in own:
                    value += 1
                if value > int(network.broadcast_address):
                    raise InvalidArgument(f"{network} has no address left for {interface}", f"nodes.{interface.node}")
                address = IPv6Interface((value, network.prefixlen))
            if int(address.ip) in users:
                raise InvalidArgument(f"{address.ip} is also the address of {users[int(address.ip)]}", _path(interface))
            users[int(address.ip)] = interface
            addresses[key] = address
    return result, addresses


def _given_addresses(topology: Topology, given: TopologySpec) -> dict[_Key, IPv6Interface]:
    fixed: dict[_Key, IPv6Interface] = {}
    for wire in topology.links.values():
        for interface in (wire.a, wire.b):
            own = given.nodes[interface.node].interfaces.get(interface.name)
            if own is None or not own.ipv6:
                continue
            path = _path(interface)
            try:
                address = IPv6Interface(own.ipv6)
            except ValueError:
                raise InvalidArgument(f"{own.ipv6} is not an address like fd00::1/64", path) from None
            if not 8 <= address.network.prefixlen <= 126:
                raise InvalidArgument(f"{own.ipv6} has a prefix length that is not in 8 to 126", path)
            ip = address.ip
            if ip == address.network.network_address:
                raise InvalidArgument(f"{ip} is the address of every router on {address.network}", path)
            if ip.is_multicast or ip.is_loopback or ip.is_unspecified or ip.is_link_local or ip.ipv4_mapped:
                raise InvalidArgument(f"{ip} cannot be the address that a host is given", path)
            fixed[interface.node, interface.index] = address
    return fixed


def refuse6(given: TopologySpec) -> None:
    """Of a topology without IPv6. Raises InvalidArgument for an address of it."""
    for name, node in given.nodes.items():
        for interface, own in node.interfaces.items():
            if own.ipv6:
                path = f"nodes.{name}.interfaces.{interface}.ipv6"
                raise InvalidArgument("the topology has no IPv6; give it `ipv6: dual`", path)


def _path(interface: Interface) -> str:
    return f"nodes.{interface.node}.interfaces.{interface.name}.ipv6"

"""The subnet of each segment of a topology and the address of each interface, of either family.

What the file says decides; the rest is numbered in the order of the segments, and of the nodes within one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network
from typing import Final

from lab.topology.file import InterfaceSpec, TopologySpec
from lab.topology.model import Interface, Topology
from nodes.base.errors import InvalidArgument

Key = tuple[str, int]  # node, index of the interface
Network = IPv4Network | IPv6Network
Address = IPv4Interface | IPv6Interface


@dataclass(frozen=True, slots=True)
class Family:
    """`field` of an interface in the file gives its address, such as `example`. Elsewhere the subnet is `only`, or one
    of those that follow it where there are several segments."""

    field: str
    example: str
    only: Network

    def said(self, own: InterfaceSpec) -> str:
        """The address that the file gives an interface, or ""."""
        return own.address if self is IPV4 else own.ipv6

    def network(self, value: int, length: int) -> Network:
        """A subnet, by the number of its first address."""
        return IPv4Network((value, length)) if self is IPV4 else IPv6Network((value, length))

    def address(self, value: int, length: int) -> Address:
        """An address, by its number."""
        return IPv4Interface((value, length)) if self is IPV4 else IPv6Interface((value, length))

    def parse(self, text: str, path: str) -> Address:
        """An address that a host can have. Raises InvalidArgument."""
        address: Address
        try:
            address = IPv4Interface(text) if self is IPV4 else IPv6Interface(text)
        except ValueError:
            raise InvalidArgument(f"{text} is not an address like {self.example}", path) from None
        network, ip, longest = address.network, address.ip, self.only.max_prefixlen - 2
        if not 8 <= network.prefixlen <= longest:
            raise InvalidArgument(f"{text} has a prefix length that is not in 8 to {longest}", path)
        if self is IPV4 and ip in (network.network_address, network.broadcast_address):
            raise InvalidArgument(f"{ip} is the network or broadcast address of {network}", path)
        if ip == network.network_address:
            raise InvalidArgument(f"{ip} is the address of every router on {network}", path)
        if ip.is_multicast or ip.is_loopback or ip.is_unspecified or _is_special(address):
            raise InvalidArgument(f"{ip} cannot be the address of a host", path)
        return address


#: 10.0.0.0/24, or 10.0.1.0/24 and so on.
IPV4: Final = Family("address", "10.0.0.1/24", IPv4Network("10.0.0.0/24"))
#: Unique local addresses (RFC 4193): fd00::/64, or fd00:0:0:1::/64 and so on.
IPV6: Final = Family("ipv6", "fd00::1/64", IPv6Network("fd00::/64"))


def _is_special(address: Address) -> bool:
    if isinstance(address, IPv4Interface):
        return address.ip.is_reserved
    return address.ip.is_link_local or address.ip.ipv4_mapped is not None


def give_addresses(
    family: Family, topology: Topology, given: TopologySpec, segments: Sequence[Sequence[Interface]]
) -> tuple[list[Network], dict[Key, Address]]:
    """The network of each segment, and the address of each interface. Raises InvalidArgument with the field's path."""
    fixed = _given(family, topology, given)
    networks = _networks(family, segments, fixed)
    addresses: dict[Key, Address] = {}
    users: dict[int, Interface] = {}
    for network, segment in zip(networks, segments, strict=True):
        own = {int(address.ip) for one in segment if (address := fixed.get(_key(one)))}
        broadcast = 1 if network.version == 4 else 0
        last = int(network.broadcast_address) - broadcast
        value = int(network.network_address)
        for interface in segment:
            address = fixed.get(_key(interface))
            if address is None:
                value += 1
                while value in own:
                    value += 1
                if value > last:
                    raise InvalidArgument(f"{network} has no address left for {interface}", f"nodes.{interface.node}")
                address = family.address(value, network.prefixlen)
            user = users.setdefault(int(address.ip), interface)
            if user is not interface:
                raise InvalidArgument(f"{address.ip} is also the address of {user}", _path(family, interface))
            addresses[_key(interface)] = address
    return networks, addresses


def _networks(family: Family, segments: Sequence[Sequence[Interface]], fixed: Mapping[Key, Address]) -> list[Network]:
    decided: list[Network | None] = [None] * len(segments)
    for position, segment in enumerate(segments):
        for interface in segment:
            address = fixed.get(_key(interface))
            if address is None:
                continue
            network = decided[position]
            path = _path(family, interface)
            if network is not None and network != address.network:
                raise InvalidArgument(f"{address} is not in {network}, the subnet of this segment", path)
            for other in decided[:position]:
                if other is not None and other.overlaps(address.network):
                    raise InvalidArgument(f"{address.network} is also the subnet of another segment, {other}", path)
            decided[position] = address.network
    taken = [network for network in decided if network is not None]
    start = int(family.only.network_address) + (family.only.num_addresses if len(segments) > 1 else 0)
    networks: list[Network] = []
    for network, segment in zip(decided, segments, strict=True):
        size = max(family.only.num_addresses, 1 << (len(segment) + 1).bit_length())
        while network is None:
            start = -(-start // size) * size
            candidate = family.network(start, family.only.max_prefixlen + 1 - size.bit_length())
            start += size
            if not any(candidate.overlaps(other) for other in taken):
                network = candidate
        networks.append(network)
    return networks


def _given(family: Family, topology: Topology, given: TopologySpec) -> dict[Key, Address]:
    fixed: dict[Key, Address] = {}
    for wire in topology.links.values():
        for interface in (wire.a, wire.b):
            own = given.nodes[interface.node].interfaces.get(interface.name)
            if own is not None and (text := family.said(own)):
                fixed[_key(interface)] = family.parse(text, _path(family, interface))
    return fixed


def _key(interface: Interface) -> Key:
    return interface.node, interface.index


def _path(family: Family, interface: Interface) -> str:
    return f"nodes.{interface.node}.interfaces.{interface.name}.{family.field}"

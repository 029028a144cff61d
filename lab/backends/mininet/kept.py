"""What the keeper of a script knows of its hosts: enough to say them as a topology does."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Final

from lab.backends.real.member import RunningMember
from lab.fabric.namespaces import Namespace
from lab.topology.file import MIN_MTU
from lab.topology.model import HOST, Interface, Node, Route
from nodes.base.errors import InvalidArgument, NotFound

#: Of interfaces, when nobody says otherwise.
MTU: Final = 1500
EVERYWHERE: Final = IPv4Network("0.0.0.0/0")


@dataclass
class Device:
    """An interface of a host, such as `h1-eth0`."""

    mac: bytes
    address: IPv4Interface | None = None
    mtu: int = MTU


@dataclass
class KeptHost:
    """A host with our stack. Errors are in the words of ip(8), for whoever typed them."""

    name: str
    namespace: Namespace
    #: What its first address is going to be, in Mininet's words; "" when nobody knows.
    expected: str = ""
    parameters: dict[str, int | str] = field(default_factory=dict)
    devices: dict[str, Device] = field(default_factory=dict)
    #: By network: the gateway, or None, and the device, "" for the one that leads to the gateway.
    routes: dict[IPv4Network, tuple[IPv4Address | None, str]] = field(default_factory=dict)
    member: RunningMember | None = None
    #: What the member was made from, and how many connections there were before it.
    made: Node | None = None
    connections: int = 0

    def device(self, name: str) -> Device:
        """Raises NotFound."""
        found = self.devices.get(name)
        if found is None:
            raise NotFound(f'Cannot find device "{name}"')
        return found

    def set_device(self, name: str, mac: bytes) -> None:
        """It has this interface, or another MAC address there."""
        self.devices.setdefault(name, Device(mac)).mac = mac

    def set_address(self, device: str, address: str) -> None:
        """Address and prefix length; "" takes it away. Raises NotFound, InvalidArgument."""
        try:
            self.device(device).address = IPv4Interface(address) if address else None
        except ValueError:
            raise InvalidArgument(f'Error: any valid prefix is expected rather than "{address}".') from None

    def set_mtu(self, device: str, mtu: str) -> None:
        """Bytes of the largest packet. Raises NotFound, InvalidArgument."""
        if not mtu.isdecimal() or not MIN_MTU <= int(mtu) <= MTU:
            raise InvalidArgument(f'Error: argument "{mtu}" is wrong: an MTU here is {MIN_MTU} to {MTU}')
        self.device(device).mtu = int(mtu)

    def set_default_route(self, via: str, device: str) -> None:
        """Instead of the one there was; neither: none."""
        self.routes.pop(EVERYWHERE, None)
        if via or device:
            self.add_route(EVERYWHERE, IPv4Address(via) if via else None, device)

    def add_route(self, network: IPv4Network, via: IPv4Address | None, device: str, replace: bool = False) -> None:
        """Raises InvalidArgument when it leads nowhere, or there is one."""
        if device:
            self.device(device)
        elif via is None:
            raise InvalidArgument("RTNETLINK answers: No such device")
        elif self.leaving(via, "") is None:
            raise InvalidArgument("Error: Nexthop has invalid gateway.")
        if network in self.routes and not replace:
            raise InvalidArgument("RTNETLINK answers: File exists")
        self.routes[network] = (via, device)

    def leaving(self, via: IPv4Address | None, device: str) -> str | None:
        """The device of a route; None when it leads nowhere now."""
        if device or via is None:
            return device if device in self.devices else None
        return next((name for name, one in self.devices.items() if one.address and via in one.address.network), None)

    def known_as(self) -> Node:
        """What other hosts know of it: perhaps before it has its address."""
        node = self.node()
        if any(one.address for one in node.interfaces) or not self.expected:
            return node
        address = IPv4Interface(self.expected)
        interface = Interface(self.name, "eth0", 0, "", bytes(6), address.ip.packed, address.network.prefixlen, MTU)
        return dataclasses.replace(node, interfaces=(interface,), routes=())

    def node(self) -> Node:
        """As a topology has it; routes that lead nowhere now are left out, as the kernel drops them."""
        order = list(self.devices)
        interfaces = tuple(
            Interface(
                self.name,
                name,
                index,
                "",
                one.mac,
                one.address.ip.packed if one.address else b"",
                one.address.network.prefixlen if one.address else 0,
                one.mtu,
            )
            for index, (name, one) in enumerate(self.devices.items())
        )
        routes = tuple(
            Route(network.network_address.packed, network.prefixlen, via.packed if via else b"", order.index(leaving))
            for network, (via, device) in self.routes.items()
            if (leaving := self.leaving(via, device)) is not None
        )
        return Node(self.name, HOST, "", dict(self.parameters), interfaces, routes)

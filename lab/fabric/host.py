"""What is inside a node's namespace besides its interfaces: what the kernel does there, and what it does not."""

from __future__ import annotations

import errno
import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from lab.fabric.netlink import IFF_UP, Netlink
from lab.topology.model import Node
from nodes.base.errors import Unsupported
from nodes.kernel import sysctls
from nodes.packet.address import address_text

_SYSCTLS: Final = Path("/proc/sys")

#: A new namespace takes these from the first one, which may be anything (Docker turns forwarding on); here they are
#: as in a Linux just started. Forwarding first: writing it resets others.
_IPV4: Final[Mapping[str, str]] = {
    "net.ipv4.ip_forward": "0",
    **{
        f"net.ipv4.conf.{scope}.{name}": value
        for scope in ("all", "default")
        for name, value in (
            ("rp_filter", "0"),
            ("accept_local", "0"),
            ("accept_source_route", "0"),
            ("route_localnet", "0"),
            ("proxy_arp", "0"),
            ("arp_filter", "0"),
            ("arp_accept", "0"),
            ("arp_notify", "0"),
            # Each interface answers for its own address, as one of our stack does.
            ("arp_ignore", "1"),
            ("arp_announce", "2"),
        )
    },
    # What one connection learnt is not for the next: runs would depend on what ran before.
    "net.ipv4.tcp_no_metrics_save": "1",
}


#: Of an interface with IPv6: nobody is asked for addresses, routes or neighbours that it may not have.
_IPV6: Final[Mapping[str, str]] = {
    "accept_ra": "0",
    "accept_redirects": "0",
    "autoconf": "0",
    "router_solicitations": "0",
    "accept_dad": "0",
    "dad_transmits": "0",
    "addr_gen_mode": "0",
}


def quieten() -> None:
    """Have the kernel say nothing by itself in the calling thread's namespace: no IPv6 on interfaces to come, nothing
    forwarded."""
    for scope in ("all", "default"):
        # It is not there when the kernel has no IPv6.
        if (_SYSCTLS / f"net/ipv6/conf/{scope}/disable_ipv6").exists():
            _write(f"net.ipv6.conf.{scope}.disable_ipv6", "1")
    _write("net.ipv4.ip_forward", "0")


def prepare_kernel() -> None:
    """Have the kernel's stack in the calling thread's namespace as a Linux just started has it; without IPv6, until
    `configure_kernel` says otherwise."""
    quieten()
    for name, value in _IPV4.items():
        _write(name, value)


def configure_kernel(netlink: Netlink, node: Node) -> None:
    """Addresses, routes and sysctls of a node with the kernel's stack; the calling thread is in its namespace, and
    its interfaces are up.

    Raises InvalidArgument for a sysctl that this kernel has not, Unsupported for one that it lets nobody change.
    """
    netlink.set_link(f"loopback of {node.name}", "lo", flags=IFF_UP)
    indexes = []
    for interface in node.interfaces:
        index = netlink.index(interface.name)
        indexes.append(index)
        address = ipaddress.IPv4Interface((interface.address, interface.prefix_len))
        netlink.add_address(
            f"address {address} of {interface}",
            index,
            str(address.ip),
            interface.prefix_len,
            str(address.network.broadcast_address) if interface.prefix_len < 31 else None,
        )
    if any(interface.ipv6 for interface in node.interfaces):
        _configure_ipv6(netlink, node, indexes)
    for route in node.routes:
        netlink.add_route(
            f"route of {node.name} to {route}",
            indexes[route.interface],
            address_text(route.network),
            route.prefix_len,
            address_text(route.via),
        )
    # After the routes: some congestion controls can only be asked for by them.
    sysctls.write_all(node.parameters)


def _configure_ipv6(netlink: Netlink, node: Node, indexes: list[int]) -> None:
    """Have IPv6 on the interfaces. Raises Unsupported when the kernel has none."""
    directory = _SYSCTLS / "net/ipv6/conf"
    if not directory.exists():
        raise Unsupported(f"{node.name} is to have IPv6, which this kernel has not")
    if sysctls.forwards(node.parameters):
        _write("net.ipv6.conf.all.forwarding", "1")
    for name in ("lo", *(interface.name for interface in node.interfaces)):
        # Not by `_write`: names of interfaces may have dots.
        for key, value in (*_IPV6.items(), ("disable_ipv6", "0")):
            (directory / name / key).write_text(value)
    for interface, index in zip(node.interfaces, indexes, strict=True):
        address = f"{address_text(interface.ipv6)}/{interface.ipv6_prefix_len}"
        what = f"address {address} of {interface}"
        netlink.add_address(what, index, address_text(interface.ipv6), interface.ipv6_prefix_len)


def _write(name: str, value: str) -> None:
    try:
        (_SYSCTLS / name.replace(".", "/")).write_text(value)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EACCES, errno.EROFS):
            raise
        raise Unsupported(
            f"sysctl {name} cannot be set in a network namespace: {error.strerror}; /proc/sys must be writable "
            "(in a container: --privileged, or a lab without root)"
        ) from None

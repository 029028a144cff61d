"""Veth pairs between a node and the link engine."""

from __future__ import annotations

import fcntl
import socket
import struct
from typing import Final

from lab.fabric.namespaces import Namespace
from lab.fabric.netlink import IFF_NOARP, IFF_UP, Netlink
from lab.topology.model import Interface

_SIOCGIFFLAGS: Final = 0x8913
_SIOCSIFFLAGS: Final = 0x8914
#: struct ifreq: name, flags.
_IFREQ: Final = struct.Struct("@16sH22x")


def make_pair(node: Netlink, interface: Interface, engine: Namespace, far: str, kernel: bool) -> None:
    """Make an interface of a node, and its far end `far` in the engine's namespace. Both are down.

    `node` speaks to the node's namespace. Unless the `kernel`'s stack uses the interface, it does no ARP there.
    """
    peer = {
        "flags": IFF_NOARP,
        "change": IFF_NOARP,
        "attrs": [*_shape(far, interface.mtu), ("IFLA_NET_NS_FD", engine.descriptor)],
    }
    attributes = [
        *_shape(interface.name, interface.mtu),
        ("IFLA_ADDRESS", interface.mac.hex(":")),
        (
            "IFLA_LINKINFO",
            {"attrs": [("IFLA_INFO_KIND", "veth"), ("IFLA_INFO_DATA", {"attrs": [("VETH_INFO_PEER", peer)]})]},
        ),
    ]
    node.new_link(f"interface {interface}", attributes, 0 if kernel else IFF_NOARP)


def set_up(probe: socket.socket, interface: str) -> None:
    """Set an interface up, by the old way (netdevice(7)), which costs a tenth of netlink's. Raises OSError.

    `probe` is any socket of its namespace.
    """
    request = _IFREQ.pack(interface.encode(), 0)
    flags = _IFREQ.unpack(fcntl.ioctl(probe, _SIOCGIFFLAGS, request))[1]
    fcntl.ioctl(probe, _SIOCSIFFLAGS, _IFREQ.pack(interface.encode(), flags | IFF_UP))


def _shape(name: str, mtu: int) -> list[tuple[str, object]]:
    # One queue: frames keep their order, whatever processor they come from.
    return [("IFLA_IFNAME", name), ("IFLA_MTU", mtu), ("IFLA_NUM_TX_QUEUES", 1), ("IFLA_NUM_RX_QUEUES", 1)]

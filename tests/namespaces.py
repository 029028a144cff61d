"""Network namespaces for tests: they have no name, and are gone with the last descriptor, thread and socket in them."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from typing import Any, TypeVar

from pyroute2 import IPRoute

from lab.fabric import namespaces
from lab.fabric.netlink import IFF_UP, Netlink
from lab.fabric.offloads import Offloads

T = TypeVar("T")


class Namespace(namespaces.Namespace):
    """A network namespace without IPv6, its loopback interface up. `close()` lets go of it."""

    def __init__(self) -> None:
        super().__init__()
        with contextlib.suppress(FileNotFoundError):  # a kernel without IPv6
            self.sysctl("net.ipv6.conf.default.disable_ipv6", 1)
        self.up("lo")

    def call(self, fn: Callable[..., T], *arguments: Any, **named: Any) -> T:
        """`fn(...)` inside."""
        with self.entered():
            return fn(*arguments, **named)

    def sysctl(self, name: str, value: object) -> None:
        """Set `net.ipv4.tcp_sack` and the like."""
        with self.entered(), open("/proc/sys/" + name.replace(".", "/"), "w") as file:  # noqa: PTH123
            file.write(str(value))

    def mac(self, interface: str) -> bytes:
        """The MAC address of an interface."""
        with self.entered(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as probe:
            probe.bind((interface, 0))
            found: bytes = probe.getsockname()[4]
            return found

    def up(self, interface: str, up: bool = True) -> None:
        """Set an interface up or down."""
        with self.entered(), Netlink() as netlink:
            netlink.set_link(interface, interface, flags=IFF_UP if up else 0, change=IFF_UP)

    def address(self, interface: str, address: str, prefix_len: int) -> None:
        """Give the kernel an IPv4 address here."""
        with self.entered(), Netlink() as netlink:
            netlink.add_address(interface, netlink.index(interface), address, prefix_len)

    def offloads_off(self, interface: str) -> None:
        """No super-frames, and checksums complete."""
        with self.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            Offloads().turn_off(probe, interface)


def veth(
    one: Namespace, other: Namespace, name: str = "eth0", mtu: int = 1500, offloads: bool = False, far: str = ""
) -> None:
    """A veth pair, one end in each namespace, up. Both ends are called `name`, or the other one `far`."""
    far = far or name
    with one.entered(), IPRoute() as ip:
        peer = {"ifname": far, "net_ns_fd": other.descriptor, "mtu": mtu}
        ip.link("add", ifname=name, kind="veth", mtu=mtu, peer=peer)
    for end, interface in ((one, name), (other, far)):
        if not offloads:
            end.offloads_off(interface)
        end.up(interface)

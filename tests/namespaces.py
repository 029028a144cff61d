"""Network namespaces for tests: they have no name, and are gone with the last descriptor, thread and socket in them."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from pyroute2 import IPRoute

T = TypeVar("T")

_CLONE_NEWNET = 0x40000000
_SIOCETHTOOL = 0x8946
_IFREQ = struct.Struct("16sP16x")
#: ETHTOOL_SRXCSUM, STXCSUM, SSG, STSO, SGSO, SGRO
_OFFLOADS = (0x15, 0x17, 0x19, 0x1F, 0x24, 0x2C)


def _libc(call: str, *arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, call)(*arguments):
        raise OSError(ctypes.get_errno(), f"{call}: {os.strerror(ctypes.get_errno())}")


class Namespace:
    """A network namespace without IPv6, its loopback interface up. `close()` lets go of it."""

    def __init__(self) -> None:
        made: list[int] = []
        failed: list[BaseException] = []

        def make() -> None:
            try:
                _libc("unshare", _CLONE_NEWNET)
                made.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        if failed:
            raise failed[0]
        self.descriptor = made[0]
        with contextlib.suppress(FileNotFoundError):  # a kernel without IPv6
            self.sysctl("net.ipv6.conf.default.disable_ipv6", 1)
        with self.entered(), IPRoute() as ip:
            ip.link("set", index=1, state="up")

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """The calling thread is in the namespace; sockets made meanwhile stay in it."""
        outside = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _libc("setns", self.descriptor, _CLONE_NEWNET)
            try:
                yield
            finally:
                _libc("setns", outside, _CLONE_NEWNET)
        finally:
            os.close(outside)

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
        with self.entered(), IPRoute() as ip:
            ip.link("set", index=socket.if_nametoindex(interface), state="up" if up else "down")

    def address(self, interface: str, address: str, prefix_len: int) -> None:
        """Give the kernel an IPv4 address here."""
        with self.entered(), IPRoute() as ip:
            ip.addr("add", index=socket.if_nametoindex(interface), address=address, prefixlen=prefix_len)

    def offloads_off(self, interface: str) -> None:
        """No super-frames, and checksums complete."""
        with self.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            for command in _OFFLOADS:
                value = ctypes.create_string_buffer(struct.pack("II", command, 0))
                with contextlib.suppress(OSError):
                    fcntl.ioctl(probe, _SIOCETHTOOL, _IFREQ.pack(interface.encode(), ctypes.addressof(value)))

    def close(self) -> None:
        """Let go of it. Idempotent."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def veth(one: Namespace, other: Namespace, name: str = "eth0", mtu: int = 1500, offloads: bool = False) -> None:
    """A veth pair, one end in each namespace, both called `name`, up."""
    with one.entered(), IPRoute() as ip:
        peer = {"ifname": name, "net_ns_fd": other.descriptor, "mtu": mtu}
        ip.link("add", ifname=name, kind="veth", mtu=mtu, peer=peer)
    for end in (one, other):
        if not offloads:
            end.offloads_off(name)
        end.up(name)

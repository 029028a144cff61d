"""Where a host's packets go: its addresses, its routes, and the paths they make, both families in one table."""

from __future__ import annotations

from typing import Final

from nodes.ip.interface import Interface
from nodes.ip.link import LinkLayer
from nodes.ip.path import Path
from nodes.ip.routing import RoutingTable
from nodes.packet.ethernet import BROADCAST
from nodes.packet.ipv6 import multicast_mac

LIMITED_BROADCAST: Final = b"\xff\xff\xff\xff"
#: Destinations whose path is kept; then all are looked up anew.
MAX_PATHS: Final = 4096

_NO_MAC: Final = bytes(6)


class Paths:
    """`local` are our addresses, `broadcast` those of everybody on a network of ours (IPv4), each with its interface.

    `known` are paths by destination, `flows` what becomes of packets from outside, by source and destination, one
    after the other: all forgotten together.
    """

    def __init__(
        self, interfaces: list[Interface], loopback: Interface, local: dict[bytes, Interface], link: LinkLayer
    ) -> None:
        self.routes = RoutingTable()
        self.local = local
        self.broadcast: dict[bytes, Interface | None] = {LIMITED_BROADCAST: None}
        self.known: dict[bytes, Path] = {}
        self.flows: dict[bytes, Path] = {}
        self._interfaces = interfaces
        self._loopback = loopback
        self._link = link

    def forget(self) -> None:
        """Routes or addresses have changed."""
        self.known.clear()
        self.flows.clear()
        for interface in (self._loopback, *self._interfaces):
            interface.flow = None

    def to(self, dst: bytes) -> Path | None:
        """The path to an address. None: there is no route."""
        return self.known.get(dst) or self._find(dst)

    def _find(self, dst: bytes) -> Path | None:
        if len(self.known) >= MAX_PATHS:
            self.forget()
            self._link.neighbours.trim()
        link = self._link
        if dst in self.local or (len(dst) == 4 and dst[0] == 127):
            path = Path(self._loopback, link.fixed(self._loopback, dst, _NO_MAC), dst)
        elif dst in self.broadcast:
            interface = self.broadcast[dst] or (self._interfaces[0] if self._interfaces else None)
            if interface is None:
                return None
            path = Path(interface, link.fixed(interface, dst, BROADCAST), interface.address)
        elif len(dst) == 16 and dst[0] == 0xFF:
            interface = next((each for each in self._interfaces if each.ipv6), None)
            if interface is None:
                return None
            path = Path(interface, link.fixed(interface, dst, multicast_mac(dst)), interface.ipv6_source(dst))
        else:
            route = self.routes.lookup(dst)
            if route is None:
                return None
            interface = route.interface
            neighbour = link.neighbours.neighbour(interface, route.gateway or dst)
            path = Path(interface, neighbour, self._source(interface, dst))
        self.known[dst] = path
        return path

    def _source(self, interface: Interface, dst: bytes) -> bytes:
        """Our address for packets that leave by an interface: its own, or else another's. b"": there is none."""
        everywhere = (interface, *self._interfaces)
        if len(dst) == 16:
            return next((source for each in everywhere if (source := each.ipv6_source(dst))), b"")
        return next((each.address for each in everywhere if each.address), b"")

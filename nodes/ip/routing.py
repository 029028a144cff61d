"""The routing table: longest prefix first, then lowest metric, then the oldest (RFC 1812 section 5.2.4.3)."""

from __future__ import annotations

from typing import NamedTuple

from nodes.ip.interface import Interface


class Route(NamedTuple):
    """Packets to `prefix`/`prefix_len` leave by `interface`, to `gateway` or (b"") straight to their destination."""

    prefix: bytes
    prefix_len: int
    interface: Interface
    gateway: bytes
    metric: int

    def covers(self, address: bytes) -> bool:
        """Whether the route is for `address`."""
        shift = 8 * len(self.prefix) - self.prefix_len
        return len(address) == len(self.prefix) and (
            int.from_bytes(address, "big") >> shift == int.from_bytes(self.prefix, "big") >> shift
        )


class RoutingTable:
    """Routes in the order they are tried."""

    def __init__(self) -> None:
        self.routes: list[Route] = []

    def add(self, route: Route) -> None:
        self.routes.append(route)
        self.routes.sort(key=lambda route: (-route.prefix_len, route.metric))

    def remove(self, prefix: bytes, prefix_len: int) -> bool:
        """Remove the routes to exactly this prefix. False when there is none."""
        kept = [route for route in self.routes if (route.prefix, route.prefix_len) != (prefix, prefix_len)]
        found = len(kept) < len(self.routes)
        self.routes = kept
        return found

    def lookup(self, address: bytes) -> Route | None:
        """The route to `address`, None when there is none."""
        for route in self.routes:
            if route.covers(address):
                return route
        return None

"""What TCP asks of the layer below it (RFC 9293 section 3.9.2). `nodes.stack.Stack` implements it; tests fake it."""

from __future__ import annotations

from mypy_extensions import mypyc_attr

from nodes.packet.tcp import Segment

#: An IP address is its bytes in network order: 4 of them for IPv4, 16 for IPv6.
Address = bytes


@mypyc_attr(allow_interpreted_subclasses=True)
class Network:
    """The internet layer as TCP sees it. All calls are made with the current instant and return at once; none calls
    back into TCP, so a segment to ourselves is queued and arrives afterwards."""

    def transmit(
        self, now: int, src: Address, dst: Address, segment: Segment, conn: int, cause: int, resent: bool
    ) -> None:
        """Send a segment. `conn` (0: none), `cause` and `resent` are for the trace, which records the segment
        at the instant its frame leaves (an ARP exchange may come first)."""
        raise NotImplementedError

    def source_for(self, dst: Address) -> Address:
        """Our address that packets to `dst` carry. Raises SocketError: ENETUNREACH when there is no route,
        EADDRNOTAVAIL when the host has no address."""
        raise NotImplementedError

    def is_local(self, address: Address) -> bool:
        """Whether `address` is one of ours (a segment to it comes back to us)."""
        raise NotImplementedError

    def is_broadcast(self, address: Address) -> bool:
        """Whether packets to `address` go to everybody on one of our networks."""
        raise NotImplementedError

    def mtu_to(self, now: int, dst: Address) -> int:
        """Largest IP packet, bytes, known to fit the path to `dst`."""
        raise NotImplementedError

    def mtu_until(self, dst: Address) -> int:
        """The instant until which that of `mtu_to` is believed; NEVER when no router has said it."""
        raise NotImplementedError

    def link_mtu(self, dst: Address) -> int:
        """Largest IP packet, bytes, that the interface towards `dst` takes; what routers said does not count."""
        raise NotImplementedError

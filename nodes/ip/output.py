"""What UDP and ICMP ask of the IP layer. `nodes.stack.Stack` implements it."""

from __future__ import annotations

from nodes.tcp.network import Network


class IpOutput(Network):
    """Sending packets of this host, beside what TCP asks."""

    def send_ip(
        self, now: int, src: bytes, dst: bytes, protocol: int, payload: bytes, ttl: int = 0, tos: int = 0
    ) -> None:
        """Send `payload` from `src` to `dst`, fragmented where it must be; `ttl` 0: ip_default_ttl, hop_limit. `tos`:
        Diffserv and ECN fields, over IPv6 the traffic class.

        Raises SocketError ENETUNREACH when there is no route.
        """
        raise NotImplementedError

    def too_big(self, now: int, dst: bytes, mtu: int) -> None:
        """A router says, about a packet that we did send, that one to `dst` has at most `mtu` bytes."""
        raise NotImplementedError

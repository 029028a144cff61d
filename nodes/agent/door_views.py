"""What programs such as ss, netstat and ip are told of a node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from nodes.agent.door_datagram import DatagramEnd
from nodes.agent.plain import plain
from nodes.agent.stack_host import StackHost
from nodes.packet.address import address_text
from nodes.tcp import states
from nodes.tcp.info import info

#: Fields of TcpInfo that are instants.
_INSTANTS: Final = (
    *("last_data_sent", "last_segment_received", "last_data_received"),
    *("last_ack_sent", "last_ack_received"),
)


class Views:
    """Calls by their names in `offered`; all answers are plain. Times are ns, instants are how long ago."""

    offered = (
        *("connections", "listeners", "datagrams", "counters", "interfaces", "routes", "neighbours"),
        *("parameters", "set_parameters"),
    )

    def __init__(
        self, host: StackHost, owners: Callable[[], dict[int, str]], ends: Callable[[], Sequence[object]]
    ) -> None:
        self._host = host
        self._owners = owners
        self._ends = ends

    def connections(self, line: object) -> list[dict[str, Any]]:
        """Those that are not CLOSED, as TcpInfo, with `owner` ("" for none) and `closed`: nobody has it open."""
        now = self._host.driver.now()
        owners = self._owners()
        found = []
        for c in self._host.stack.tcp.connections.values():
            if c.state == states.CLOSED:
                continue
            told = plain(info(c, now))
            told.update({name: now - told[name] for name in _INSTANTS})
            told.update(
                local_address=address_text(c.local),
                remote_address=address_text(c.remote),
                owner=owners.get(c.number, ""),
                closed=c.user_closed,
                keepalive=c.options.keepalive,
            )
            found.append(told)
        return found

    def listeners(self, line: object) -> list[dict[str, Any]]:
        """Those there are, with `owner`."""
        owners = self._owners()
        return [
            {**plain(one), "local_address": address_text(one.local_address), "owner": owners.get(-one.number, "")}
            for one in self._host.listeners()
        ]

    def datagrams(self, line: object) -> list[dict[str, Any]]:
        """The UDP sockets of programs."""
        return [
            {"name": one.name, "peer": one.peer, "owner": one.owner}
            for one in self._ends()
            if isinstance(one, DatagramEnd) and one.socket is not None
        ]

    def counters(self, line: object) -> dict[str, int]:
        """By their nstat names."""
        return dict(self._host.counters())

    def parameters(self, line: object) -> dict[str, int | str]:
        """By their sysctl names."""
        return dict(self._host.parameters())

    def set_parameters(self, line: object, values: dict[str, object]) -> None:
        """Raises InvalidArgument."""
        self._host.set_parameters(values)

    def interfaces(self, line: object) -> list[dict[str, Any]]:
        """The loopback interface and the others."""
        return [
            {
                **plain(one),
                "address": address_text(one.address),
                "mac": one.mac.hex(":"),
                "ipv6": [[address_text(each), length] for each, length in one.ipv6],
            }
            for one in self._host.interfaces()
        ]

    def routes(self, line: object, family: int = 4) -> list[dict[str, Any]]:
        """Those of IPv4, or 6, in the order they are tried."""
        width = 4 if family == 4 else 16
        return [
            {
                "prefix": address_text(_network(route.prefix, route.prefix_len)),
                "prefix_len": route.prefix_len,
                "interface": route.interface.name,
                "gateway": address_text(route.gateway),
                "metric": route.metric,
                "source": address_text(
                    route.interface.address
                    if width == 4
                    else route.interface.ipv6_source(route.gateway or route.prefix)
                ),
            }
            for route in self._host.stack.routes.routes
            if len(route.prefix) == width
        ]

    def neighbours(self, line: object) -> list[dict[str, Any]]:
        """The neighbour cache, both families."""
        now = self._host.driver.now()
        return [
            {
                "address": address_text(one.address),
                "mac": one.mac.hex(":"),
                "interface": one.interface.name,
                "fresh": one.fresh_until > now,
            }
            for one in self._host.stack.neighbours.entries()
        ]


def _network(prefix: bytes, length: int) -> bytes:
    bits = 8 * len(prefix) - length
    return (int.from_bytes(prefix, "big") >> bits << bits).to_bytes(len(prefix), "big")

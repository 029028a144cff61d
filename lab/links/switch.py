"""A learning switch (IEEE 802.1D 7.7-7.9), sans-I/O."""

from __future__ import annotations

from typing import Final

from nodes.base.clock import SECOND

AGEING_NS: Final = 300 * SECOND
MAX_ADDRESSES: Final = 8192


class Switch:
    """Learns which port a MAC address is on and forwards there; what it does not know it floods, in order of ports.

    No spanning tree: topologies in which switches form a loop are refused when they are read.
    """

    def __init__(self, name: str, ports: int, ageing_ns: int = AGEING_NS) -> None:
        self.name = name
        self.ageing_ns = ageing_ns
        self._table: dict[bytes, tuple[int, int]] = {}
        self._others = tuple(tuple(out for out in range(ports) if out != port) for port in range(ports))

    def on_frame(self, now: int, port: int, frame: bytes) -> tuple[int, ...]:
        """The ports on which to send `frame`, which came in on `port`."""
        if len(frame) < 14:
            return ()
        source = frame[6:12]
        if not source[0] & 1:
            if source in self._table or len(self._table) < MAX_ADDRESSES:
                self._table[source] = (port, now)
            else:
                self._forget(now)
        destination = frame[:6]
        if not destination[0] & 1:
            entry = self._table.get(destination)
            if entry is not None and now - entry[1] < self.ageing_ns:
                return () if entry[0] == port else (entry[0],)
        return self._others[port]

    def addresses(self, now: int) -> dict[bytes, int]:
        """What it knows: port by MAC address."""
        return {mac: port for mac, (port, seen) in self._table.items() if now - seen < self.ageing_ns}

    def _forget(self, now: int) -> None:
        """The table is full: drop what has aged. When nothing has, new addresses are not learned and are flooded."""
        self._table = {mac: entry for mac, entry in self._table.items() if now - entry[1] < self.ageing_ns}

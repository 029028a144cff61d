"""The neighbour cache: MAC addresses by IP address, as ARP (RFC 826; RFC 1122 section 2.3.2) and IPv6's neighbour
discovery (RFC 4861 section 7) find them, their timers, and packets that wait for an answer.

An entry is believed for `base_reachable_time_ms`. After that it is still used, but the neighbour is asked again: first
itself, then everybody. One that no longer answers keeps its entry until somebody does, so a path once known never waits
for an answer, and what is seen of a dead peer is TCP's own doing. (Linux forgets it, and then shows requests only.)
"""

from __future__ import annotations

from collections import deque
from typing import Final, Generic, TypeVar

from nodes.base.clock import MILLISECOND, NEVER
from nodes.ip.interface import Interface
from nodes.packet.ethernet import TYPE_IPV4, TYPE_IPV6
from nodes.tcp.parameters import Parameters

#: Packets that wait for one neighbour; the oldest gives way (Linux: unres_qlen).
MAX_WAITING: Final = 101

#: Entries up to which a request from somebody never spoken to makes one: a flood of requests must not fill memory.
MAX_UNASKED: Final = 1024

P = TypeVar("P")


class Neighbour(Generic[P]):
    """A host on the same network. `header` is the Ethernet header of packets to it, b"" until it is known."""

    __slots__ = ("address", "asked", "fresh_until", "header", "interface", "mac", "retry_at", "waiting")

    def __init__(self, interface: Interface, address: bytes) -> None:
        self.interface = interface
        self.address = address
        self.mac = b""
        self.header = b""
        self.fresh_until = 0
        self.retry_at = NEVER
        self.asked = 0
        self.waiting: deque[P] = deque()


class NeighbourCache(Generic[P]):
    """The neighbours of one host. `P` is what waits for one. It sends nothing: the caller does what it returns."""

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters
        self._neighbours: dict[tuple[int, bytes], Neighbour[P]] = {}
        self._asking: list[Neighbour[P]] = []
        self.deadline = NEVER

    def neighbour(self, interface: Interface, address: bytes) -> Neighbour[P]:
        """The entry for `address` behind `interface`; a new one knows nothing."""
        key = (interface.index, address)
        entry = self._neighbours.get(key)
        if entry is None:
            entry = self._neighbours[key] = Neighbour(interface, address)
        return entry

    def known(self, interface: Interface, address: bytes) -> Neighbour[P] | None:
        """The entry for `address`, None when there is none."""
        return self._neighbours.get((interface.index, address))

    def entries(self) -> list[Neighbour[P]]:
        """Every entry whose MAC address is known."""
        return [entry for entry in self._neighbours.values() if entry.header]

    def trim(self) -> None:
        """Forget every neighbour that is not being asked for; no reference to one may be kept."""
        self._neighbours = {key: entry for key, entry in self._neighbours.items() if entry.retry_at != NEVER}

    def ask(self, now: int, entry: Neighbour[P]) -> bool:
        """Start asking for `entry`'s MAC address; False when that is under way. True: send a request now."""
        if entry.retry_at != NEVER:
            return False
        entry.asked = 1
        entry.retry_at = now + self._parameters.retrans_time_ms * MILLISECOND
        self._asking.append(entry)
        self.deadline = min(self.deadline, entry.retry_at)
        return True

    def wait(self, entry: Neighbour[P], packet: P) -> P | None:
        """Queue a packet until the neighbour is known; returns the one that had to give way."""
        entry.waiting.append(packet)
        return entry.waiting.popleft() if len(entry.waiting) > MAX_WAITING else None

    def learn(self, now: int, interface: Interface, address: bytes, mac: bytes, create: bool) -> Neighbour[P] | None:
        """`address` says its MAC address is `mac`. Returns the entry, whose waiting packets can go, or None when there
        is none and `create` is false (only who is spoken to gets one: RFC 826 "merge", RFC 4861 section 7.2.5) or there
        are MAX_UNASKED."""
        entry = self._neighbours.get((interface.index, address))
        if entry is None:
            if not create or len(self._neighbours) >= MAX_UNASKED:
                return None
            entry = self.neighbour(interface, address)
        entry.mac = mac
        entry.header = mac + interface.mac + (TYPE_IPV4 if len(address) == 4 else TYPE_IPV6)
        entry.fresh_until = now + self._parameters.base_reachable_time_ms * MILLISECOND
        if entry.retry_at != NEVER:
            self._stop_asking(entry)
        return entry

    def on_timer(self, now: int) -> tuple[list[Neighbour[P]], list[Neighbour[P]]]:
        """What is due: neighbours to ask again, and unknown ones that are given up, with their waiting packets."""
        again: list[Neighbour[P]] = []
        failed: list[Neighbour[P]] = []
        for entry in list(self._asking):
            if entry.retry_at > now:
                continue
            if entry.asked < self._parameters.mcast_solicit:
                entry.asked += 1
                entry.retry_at = now + self._parameters.retrans_time_ms * MILLISECOND
                again.append(entry)
            else:
                self._asking.remove(entry)
                entry.retry_at = NEVER
                if not entry.header:
                    failed.append(entry)
        self._set_deadline()
        return again, failed

    def _stop_asking(self, entry: Neighbour[P]) -> None:
        self._asking.remove(entry)
        entry.retry_at = NEVER
        self._set_deadline()

    def _set_deadline(self) -> None:
        self.deadline = min((entry.retry_at for entry in self._asking), default=NEVER)

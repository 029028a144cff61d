"""The link layer of one host: sending IP packets to neighbours in Ethernet frames, asking for their MAC addresses first
where that is needed (RFC 826, RFC 894, RFC 1122 section 2.3), and the loopback interface."""

from __future__ import annotations

from typing import Final

from nodes.base.clock import NEVER
from nodes.base.events import SENT, EventSink
from nodes.ip.arp import ArpCache, Neighbour
from nodes.ip.counters import HostCounters
from nodes.ip.interface import LOOPBACK_INDEX, Interface
from nodes.ip.path import Path, SentSegment, Waiting
from nodes.packet import arp
from nodes.packet.arp import ArpPacket, decode_arp, encode_arp
from nodes.packet.ethernet import BROADCAST, TYPE_ARP, TYPE_IPV4
from nodes.packet.malformed import MalformedPacket
from nodes.packet.trace import record_segment
from nodes.tcp.parameters import Parameters

_NO_MAC: Final = bytes(6)


class LinkLayer:
    """Frames that leave collect in `out`, as (interface index, frame); those to ourselves in `looped`, to be received
    at `looped_at`. `local` has our addresses."""

    def __init__(
        self, node: int, parameters: Parameters, sink: EventSink, counters: HostCounters, local: dict[bytes, Interface]
    ) -> None:
        self.arp: ArpCache[Waiting] = ArpCache(parameters)
        self.out: list[tuple[int, bytes]] = []
        self.looped: list[bytes] = []
        self.looped_at = NEVER
        self._node = node
        self._sink = sink
        self._counters = counters
        self._local = local

    def fixed(self, interface: Interface, address: bytes, mac: bytes) -> Neighbour[Waiting]:
        """A neighbour whose MAC address never has to be asked for: broadcast, or ourselves."""
        neighbour: Neighbour[Waiting] = Neighbour(interface, address)
        neighbour.header = mac + interface.mac + TYPE_IPV4
        neighbour.fresh_until = NEVER
        return neighbour

    def send(self, now: int, path: Path, packet: bytes, sent: SentSegment | None) -> None:
        """Send an IP packet to the path's neighbour; it waits while the MAC address has to be asked for."""
        neighbour = path.neighbour
        if now >= neighbour.fresh_until:
            if self.arp.ask(now, neighbour):
                self._request(now, neighbour)
            if not neighbour.header:
                if self.arp.wait(neighbour, (packet, sent)) is not None:
                    neighbour.interface.tx_dropped += 1
                    self._counters.IpOutDiscards += 1
                return
        self._emit(now, path.interface, neighbour.header + packet, sent)

    def _emit(self, now: int, interface: Interface, frame: bytes, sent: SentSegment | None) -> None:
        interface.tx_packets += 1
        interface.tx_bytes += len(frame)
        if interface.index == LOOPBACK_INDEX:
            # Delivered by the next on_timer: in order, and without recursion into whoever is sending.
            self.looped.append(frame)
            self.looped_at = now
        else:
            self.out.append((interface.index, frame))
        if sent is not None:
            record_segment(
                self._sink,
                now,
                self._node,
                sent.conn,
                sent.cause,
                SENT,
                interface.trace_name,
                interface.tx_packets,
                sent.src,
                sent.dst,
                sent.segment,
                sent.resent,
            )

    def _request(self, now: int, neighbour: Neighbour[Waiting]) -> None:
        """Ask everybody; the neighbour itself first when it is known and only to be confirmed."""
        interface = neighbour.interface
        packet = ArpPacket(arp.REQUEST, interface.mac, interface.address or bytes(4), _NO_MAC, neighbour.address)
        to = neighbour.mac if neighbour.mac and neighbour.asked == 1 else BROADCAST
        self._emit(now, interface, to + interface.mac + TYPE_ARP + encode_arp(packet), None)

    def on_arp(self, now: int, interface: Interface, data: bytes) -> None:
        """An ARP packet has arrived: learn from it, send what waited for it, answer it."""
        try:
            packet = decode_arp(data)
        except MalformedPacket:
            interface.rx_errors += 1
            return
        for_us = interface.address != b"" and packet.target == interface.address
        if any(packet.sender) and packet.sender not in self._local and not packet.sender_mac[0] & 1:
            neighbour = self.arp.learn(now, interface, packet.sender, packet.sender_mac, for_us)
            while neighbour is not None and neighbour.waiting:
                waiting, sent = neighbour.waiting.popleft()
                self._emit(now, interface, neighbour.header + waiting, sent)
        if for_us and packet.operation == arp.REQUEST:
            reply = ArpPacket(arp.REPLY, interface.mac, interface.address, packet.sender_mac, packet.sender)
            self._emit(now, interface, packet.sender_mac + interface.mac + TYPE_ARP + encode_arp(reply), None)

    def on_timer(self, now: int) -> list[bytes]:
        """Repeat what is due. Returns the packets whose neighbour cannot be found."""
        again, failed = self.arp.on_timer(now)
        for neighbour in again:
            self._request(now, neighbour)
        lost: list[bytes] = []
        for neighbour in failed:
            neighbour.interface.tx_dropped += len(neighbour.waiting)
            lost.extend(packet for packet, _ in neighbour.waiting)
            neighbour.waiting.clear()
        return lost

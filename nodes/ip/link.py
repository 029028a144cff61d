"""The link layer of one host: sending IP packets to neighbours in Ethernet frames, asking for their MAC addresses first
where that is needed (RFC 826, RFC 894, RFC 1122 section 2.3; for IPv6 RFC 2464, RFC 4861), and the loopback interface.

Addresses are given to interfaces, so none is tried before it is used (no duplicate address detection, RFC 4862), and
routers advertise nothing."""

from __future__ import annotations

from typing import Final

from nodes.base.clock import NEVER
from nodes.base.event_sink import EventSink
from nodes.base.events import SENT
from nodes.ip.counters import HostCounters
from nodes.ip.interface import LOOPBACK_INDEX, Interface
from nodes.ip.neighbours import Neighbour, NeighbourCache
from nodes.ip.path import Path, SentSegment, Waiting
from nodes.packet import arp, icmp6, ipv6
from nodes.packet.arp import ArpPacket, decode_arp, encode_arp
from nodes.packet.ethernet import BROADCAST, TYPE_ARP, TYPE_IPV4, TYPE_IPV6
from nodes.packet.icmp import IcmpMessage
from nodes.packet.icmp6 import advertisement, decode_discovery, encode_icmp6, solicitation
from nodes.packet.ipv6 import ALL_NODES, ANY, Ipv6Packet, encode_ipv6, multicast_mac, solicited_node
from nodes.packet.malformed import MalformedPacket
from nodes.packet.trace import record_segment
from nodes.tcp.parameters import Parameters

_NO_MAC: Final = bytes(6)
#: Hop limit of neighbour discovery: no router has passed it on (RFC 4861 section 3.1).
_NEVER_FORWARDED: Final = 255


class LinkLayer:
    """Frames that leave collect in `out`, as (interface index, frame); those to ourselves in `looped`, to be received
    at `looped_at`. `local` has our addresses."""

    def __init__(
        self, node: int, parameters: Parameters, sink: EventSink, counters: HostCounters, local: dict[bytes, Interface]
    ) -> None:
        self.neighbours: NeighbourCache[Waiting] = NeighbourCache(parameters)
        self.out: list[tuple[int, bytes]] = []
        self.looped: list[bytes] = []
        self.looped_at = NEVER
        self._parameters = parameters
        self._node = node
        self._sink = sink
        self._counters = counters
        self._local = local

    def fixed(self, interface: Interface, address: bytes, mac: bytes) -> Neighbour[Waiting]:
        """A neighbour whose MAC address never has to be asked for: broadcast, or ourselves."""
        neighbour: Neighbour[Waiting] = Neighbour(interface, address)
        neighbour.header = mac + interface.mac + (TYPE_IPV6 if len(address) == 16 else TYPE_IPV4)
        neighbour.fresh_until = NEVER
        return neighbour

    def send(self, now: int, path: Path, packet: bytes, sent: SentSegment | None, rest: bytes = b"") -> None:
        """Send an IP packet, `packet` and `rest`, to the path's neighbour; it waits while the MAC address has to be
        asked for."""
        neighbour = path.neighbour
        if now >= neighbour.fresh_until:
            if self.neighbours.ask(now, neighbour):
                self._request(now, neighbour)
            if not neighbour.header:
                if self.neighbours.wait(neighbour, (packet + rest, sent)) is not None:
                    neighbour.interface.tx_dropped += 1
                    self._counters.IpOutDiscards += 1
                return
        frame = neighbour.header + packet
        self._emit(now, path.interface, frame + rest if rest else frame, sent)

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
        if len(neighbour.address) == 16:
            self._solicit(now, neighbour)
            return
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
        if any(packet.sender):
            self._learn(now, interface, packet.sender, packet.sender_mac, for_us)
        if for_us and packet.operation == arp.REQUEST:
            reply = ArpPacket(arp.REPLY, interface.mac, interface.address, packet.sender_mac, packet.sender)
            self._emit(now, interface, packet.sender_mac + interface.mac + TYPE_ARP + encode_arp(reply), None)

    def _learn(self, now: int, interface: Interface, address: bytes, mac: bytes, create: bool) -> None:
        """Somebody says where `address` is: what waited for it leaves."""
        if address in self._local or mac[0] & 1:
            return
        neighbour = self.neighbours.learn(now, interface, address, mac, create)
        while neighbour is not None and neighbour.waiting:
            waiting, sent = neighbour.waiting.popleft()
            self._emit(now, interface, neighbour.header + waiting, sent)

    # Neighbour discovery, RFC 4861 section 7.2.

    def _solicit(self, now: int, neighbour: Neighbour[Waiting]) -> None:
        """Ask the group of all who could have the address; the neighbour itself first when that is to be confirmed."""
        interface, target = neighbour.interface, neighbour.address
        known = neighbour.mac != b"" and neighbour.asked == 1
        self._counters.Icmp6OutNeighborSolicits += 1
        group = solicited_node(target)
        self._send_discovery(
            now,
            interface,
            neighbour.mac if known else multicast_mac(group),
            interface.ipv6_source(target) or ANY,
            target if known else group,
            solicitation(target, interface.mac),
        )

    def on_discovery(self, now: int, interface: Interface, packet: Ipv6Packet, message: IcmpMessage) -> None:
        """A neighbour solicitation or advertisement with a right checksum has arrived. Raises MalformedPacket."""
        if packet.hop_limit != _NEVER_FORWARDED:
            raise MalformedPacket(f"neighbour discovery that was forwarded: hop limit {packet.hop_limit}")
        discovery = decode_discovery(message)
        if message.type == icmp6.NEIGHBOUR_SOLICITATION:
            if packet.src == ANY and (discovery.mac or packet.dst[0] != 0xFF):
                raise MalformedPacket("a neighbour solicitation from nobody that says who it is from")
            self._on_solicitation(now, interface, packet, discovery)
            return
        if packet.dst[0] == 0xFF and message.rest & icmp6.SOLICITED:
            raise MalformedPacket("a neighbour advertisement to everybody that says it was asked for")
        known = self.neighbours.known(interface, discovery.target)
        if known is not None and discovery.mac and (message.rest & icmp6.OVERRIDE or known.mac in (b"", discovery.mac)):
            self._learn(now, interface, discovery.target, discovery.mac, False)

    def _on_solicitation(self, now: int, interface: Interface, packet: Ipv6Packet, asked: icmp6.Discovery) -> None:
        if self._local.get(asked.target) is not interface:
            return
        nobody = packet.src == ANY  # somebody tests whether the address is free (RFC 4862)
        to = ALL_NODES if nobody else packet.src
        mac = asked.mac
        if mac:
            self._learn(now, interface, packet.src, mac, True)
        elif not nobody:
            known = self.neighbours.known(interface, packet.src)
            if known is None or not known.mac:
                return  # asked by unicast, so it knows us; it will ask again, aloud
            mac = known.mac
        flags = icmp6.OVERRIDE if nobody else icmp6.OVERRIDE | icmp6.SOLICITED
        if self._parameters.ip_forward:
            flags |= icmp6.ROUTER
        self._counters.Icmp6OutNeighborAdvertisements += 1
        answer = advertisement(asked.target, interface.mac, flags)
        self._send_discovery(now, interface, multicast_mac(to) if nobody else mac, asked.target, to, answer)

    def _send_discovery(
        self, now: int, interface: Interface, mac: bytes, src: bytes, dst: bytes, message: IcmpMessage
    ) -> None:
        self._counters.Icmp6OutMsgs += 1
        self._counters.Ip6OutRequests += 1
        packet = Ipv6Packet(src, dst, ipv6.ICMP, encode_icmp6(message, src, dst), _NEVER_FORWARDED)
        self._emit(now, interface, mac + interface.mac + TYPE_IPV6 + encode_ipv6(packet), None)

    def on_timer(self, now: int) -> list[bytes]:
        """Repeat what is due. Returns the packets whose neighbour cannot be found."""
        again, failed = self.neighbours.on_timer(now)
        for neighbour in again:
            self._request(now, neighbour)
        lost: list[bytes] = []
        for neighbour in failed:
            neighbour.interface.tx_dropped += len(neighbour.waiting)
            lost.extend(packet for packet, _ in neighbour.waiting)
            neighbour.waiting.clear()
        return lost

"""The IPv6 of one host (RFC 8200): what arrives is delivered or passed on, what leaves is put into packets that fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from nodes.base.clock import SECOND
from nodes.base.errors import SocketError
from nodes.ip.counters import HostCounters
from nodes.ip.fragments import Reassembly6, fragment6
from nodes.ip.icmp6 import Icmp6
from nodes.ip.interface import LOOPBACK_INDEX, Interface
from nodes.ip.link import LinkLayer
from nodes.ip.path import Path
from nodes.ip.paths import MAX_PATHS, Paths
from nodes.ip.udp import Udp
from nodes.packet import icmp6, ipv6
from nodes.packet.address import address_text
from nodes.packet.checksum import sum16
from nodes.packet.ethernet import HEADER_LEN as ETHERNET
from nodes.packet.ipv6 import (
    HEADER,
    HEADER_LEN,
    Ipv6Packet,
    ParameterProblem,
    encode_ipv6,
    is_link_local,
    upper_layer,
)
from nodes.packet.malformed import MalformedPacket
from nodes.tcp.parameters import Parameters

_START: Final = ETHERNET + HEADER_LEN
_TCP: Final = ipv6.TCP

#: Who takes TCP segments: now, interface, source, destination; bytes, from where and until where in them; a number
#: congruent to the sum of the addresses; ECN field.
OnTcp = Callable[[int, Interface, bytes, bytes, bytes, int, int, int, int], None]


class Ipv6:
    """`icmp` is its ICMPv6; `on_tcp` takes the TCP segments for us."""

    def __init__(
        self,
        name: str,
        parameters: Parameters,
        paths: Paths,
        link: LinkLayer,
        icmp: Icmp6,
        udp: Udp,
        on_tcp: OnTcp,
        counters: HostCounters,
        loopback: Interface,
    ) -> None:
        self.reassembly = Reassembly6(parameters)
        self._name = name
        self._parameters = parameters
        self._paths = paths
        self._link = link
        self._icmp = icmp
        self._udp = udp
        self._on_tcp = on_tcp
        self._counters = counters
        self._identification = 0
        nobody = link.fixed(loopback, ipv6.ANY, bytes(6))
        self._to_us = Path(loopback, nobody, b"")
        self._to_group = Path(loopback, nobody, b"")
        self._no_route = Path(loopback, nobody, b"")

    # Receiving.

    def on_frame(self, now: int, interface: Interface, frame: bytes) -> bool:
        """A frame with an IPv6 packet, as its type says. False: it moved no deadline."""
        counters = self._counters
        counters.Ip6InReceives += 1
        if len(frame) < _START:
            counters.Ip6InHdrErrors += 1
            return False
        word, length, next_header, hop_limit, src, dst = HEADER.unpack_from(frame, ETHERNET)
        end = _START + length
        if word >> 28 != 6:
            counters.Ip6InHdrErrors += 1
            return False
        ecn = word >> 20 & 3
        if not ecn:
            counters.Ip6InNoECTPkts += 1
        elif ecn == 1:
            counters.Ip6InECT1Pkts += 1
        elif ecn == 2:
            counters.Ip6InECT0Pkts += 1
        else:
            counters.Ip6InCEPkts += 1
        if end > len(frame):
            counters.Ip6InTruncatedPkts += 1
            return False
        path = self._paths.flows.get(src + dst) or self._flow(interface, src, dst)
        if path is None:
            counters.Ip6InAddrErrors += 1
            return False
        if path is not self._to_us and path is not self._to_group:
            return self._forward(now, path, interface, frame, end)
        if next_header == _TCP:
            counters.Ip6InDelivers += 1
            if path is self._to_us and not frame[0] & 1:
                self._on_tcp(now, interface, src, dst, frame, _START, end, sum16(frame[ETHERNET + 8 : _START]), ecn)
            return True
        packet = Ipv6Packet(src, dst, next_header, frame[_START:end], hop_limit, word >> 20 & 0xFF, word & 0xF_FFFF)
        self._receive(now, interface, packet, path is self._to_group)
        return True

    def _flow(self, interface: Interface, src: bytes, dst: bytes) -> Path | None:
        """What becomes of packets with this source and destination. None: they are refused."""
        outside = interface.index != LOOPBACK_INDEX
        local = self._paths.local
        if src[0] == 0xFF or (outside and (src in local or ipv6.LOOPBACK in (src, dst))):
            return None
        if dst[0] == 0xFF:
            return self._to_group if dst in interface.groups else None
        if src == ipv6.ANY:
            return None
        if dst in local:
            if outside and is_link_local(dst) and local[dst] is not interface:
                return None
            path = self._to_us
        elif not self._parameters.ip_forward or is_link_local(src) or is_link_local(dst):
            return None  # RFC 4291 sections 2.5.2 and 2.5.6: routers pass on neither
        else:
            path = self._paths.to(dst) or self._no_route
        if outside and path is not self._no_route:
            if len(self._paths.flows) >= MAX_PATHS:
                self._paths.flows.clear()
            self._paths.flows[src + dst] = path
        return path

    def _receive(self, now: int, interface: Interface, packet: Ipv6Packet, group: bool) -> None:
        """A packet for us with something else than TCP right in it."""
        counters = self._counters
        try:
            upper = upper_layer(packet.next_header, packet.payload)
        except ParameterProblem as problem:
            counters.Ip6InHdrErrors += 1
            if not group or problem.multicast:
                self._icmp.report(now, packet, icmp6.PARAMETER_PROBLEM, problem.code, problem.pointer)
            return
        except MalformedPacket:
            counters.Ip6InHdrErrors += 1
            return
        if upper.protocol == ipv6.FRAGMENT:
            self._receive_fragment(now, interface, packet, upper.at, group)
            return
        counters.Ip6InDelivers += 1
        counters.Ip6InMcastPkts += group
        payload = packet.payload[upper.at :]
        if upper.protocol == ipv6.ICMP:
            self._icmp.on_packet(now, interface, packet, payload)
        elif upper.protocol == ipv6.UDP:
            if not self._udp.on_packet(packet.src, packet.dst, payload, group) and not group:
                self._icmp.report(now, packet, icmp6.DESTINATION_UNREACHABLE, icmp6.PORT_UNREACHABLE)
        elif upper.protocol == _TCP:
            if not group:
                addresses = sum16(packet.src) + sum16(packet.dst)
                ecn = packet.traffic_class & 3
                self._on_tcp(now, interface, packet.src, packet.dst, payload, 0, len(payload), addresses, ecn)
        elif upper.protocol != ipv6.NO_NEXT_HEADER:
            counters.Ip6InUnknownProtos += 1
            if not group:
                self._icmp.report(now, packet, icmp6.PARAMETER_PROBLEM, icmp6.UNKNOWN_NEXT_HEADER, upper.field)

    def _receive_fragment(self, now: int, interface: Interface, packet: Ipv6Packet, at: int, group: bool) -> None:
        """RFC 8200 section 4.5."""
        counters = self._counters
        counters.Ip6ReasmReqds += 1
        try:
            whole = self.reassembly.add(now, packet, at)
        except ParameterProblem as problem:
            self._icmp.report(now, packet, icmp6.PARAMETER_PROBLEM, problem.code, problem.pointer)
            return
        finally:
            counters.Ip6ReasmFails = self.reassembly.failures
        if whole is not None:
            counters.Ip6ReasmOKs += 1
            self._receive(now, interface, whole, group)

    def on_timer(self, now: int) -> None:
        """Packets of which fragments are missing are given up."""
        for first in self.reassembly.on_timer(now):
            self._icmp.report(now, first, icmp6.TIME_EXCEEDED, icmp6.REASSEMBLY_TIME_EXCEEDED)
        self._counters.Ip6ReasmFails = self.reassembly.failures

    # Forwarding.

    def _forward(self, now: int, path: Path, interface: Interface, frame: bytes, end: int) -> bool:
        """Pass on a packet for somebody else. False: that moved no deadline."""
        counters = self._counters
        if not self._parameters.ip_forward or frame[0] & 1:
            counters.Ip6InAddrErrors += 1
            return False
        kind, code, rest = -1, 0, 0
        if frame[21] <= 1:
            counters.Ip6InHdrErrors += 1
            kind, code = icmp6.TIME_EXCEEDED, icmp6.HOP_LIMIT_EXCEEDED
        elif path is self._no_route:
            counters.Ip6InNoRoutes += 1
            kind, code = icmp6.DESTINATION_UNREACHABLE, icmp6.NO_ROUTE
        elif end - ETHERNET > path.link_mtu:
            counters.Ip6InTooBigErrors += 1
            counters.Ip6FragFails += 1
            kind, rest = icmp6.PACKET_TOO_BIG, path.link_mtu
        if kind >= 0:
            self._icmp.report(now, ipv6.decode_ipv6(frame[ETHERNET:end]), kind, code, rest)
            return True
        counters.Ip6OutForwDatagrams += 1
        self._link.send(now, path, frame[ETHERNET:21] + bytes((frame[21] - 1,)) + frame[22:end], None)
        return now >= path.neighbour.fresh_until

    def unreachable(self, now: int, packet: Ipv6Packet) -> None:
        """No neighbour has the address: whoever sent the packet is told (RFC 4861 section 7.2.2)."""
        self._counters.Ip6OutDiscards += 1
        self._icmp.report(now, packet, icmp6.DESTINATION_UNREACHABLE, icmp6.ADDRESS_UNREACHABLE)

    # Sending.

    def send(
        self, now: int, src: bytes, dst: bytes, protocol: int, payload: bytes, hop_limit: int, traffic_class: int = 0
    ) -> None:
        """Send `payload`, in fragments where it must be (RFC 8200 section 4.5). Raises SocketError ENETUNREACH."""
        counters = self._counters
        counters.Ip6OutRequests += 1
        path = self._paths.to(dst)
        if path is None:
            counters.Ip6OutNoRoutes += 1
            raise SocketError("ENETUNREACH", f"{self._name} has no route to {address_text(dst)}")
        packet = Ipv6Packet(src, dst, protocol, payload, hop_limit or self._parameters.hop_limit, traffic_class)
        mtu = path.mtu_at(now)
        if HEADER_LEN + len(payload) <= mtu:
            self._link.send(now, path, encode_ipv6(packet), None)
            return
        self._identification = identification = self._identification + 1 & 0xFFFF_FFFF
        pieces = fragment6(packet, mtu, identification)
        counters.Ip6FragOKs += 1
        counters.Ip6FragCreates += len(pieces)
        for piece in pieces:
            self._link.send(now, path, encode_ipv6(piece), None)

    def too_big(self, now: int, dst: bytes, mtu: int) -> None:
        """A believable message says that packets to `dst` must be smaller."""
        path = self._paths.to(dst)
        if path is not None:
            path.too_big(now, max(mtu, ipv6.MIN_MTU), self._parameters.mtu_expires * SECOND)

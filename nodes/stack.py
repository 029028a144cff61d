"""One host, sans-I/O: interfaces, neighbours, routes, forwarding, ICMP, UDP and TCP, over IPv4 and IPv6. It knows no
clock and sends nothing by itself: frames and instants go in, frames and the next deadline come out. A router is a Stack
with ip_forward on."""

from __future__ import annotations

import struct
from typing import Final

from mypy_extensions import i64

from nodes.base import causes
from nodes.base.clock import NEVER, SECOND
from nodes.base.errors import AlreadyExists, InvalidArgument, SocketError
from nodes.base.event_sink import EventSink
from nodes.base.events import LEVEL_SEGMENTS
from nodes.base.random import Randomness
from nodes.ip.counters import HostCounters
from nodes.ip.fragments import Reassembly, fragment
from nodes.ip.icmp import Icmp
from nodes.ip.icmp6 import Icmp6
from nodes.ip.interface import LOOPBACK_INDEX, Interface
from nodes.ip.ipv6 import Ipv6
from nodes.ip.link import LinkLayer
from nodes.ip.output import IpOutput
from nodes.ip.path import Path, SentSegment
from nodes.ip.paths import MAX_PATHS, Paths
from nodes.ip.routing import Route
from nodes.ip.udp import Udp
from nodes.packet import icmp, ipv4, ipv6
from nodes.packet.address import address_text
from nodes.packet.checksum import COMPILED, sum16, sum16_part
from nodes.packet.ethernet import HEADER_LEN, TYPE_ARP, TYPE_IPV4, TYPE_IPV6
from nodes.packet.ipv4 import (
    DONT_FRAGMENT,
    MORE_FRAGMENTS,
    OFFSET_MASK,
    Ipv4Packet,
    decode_ipv4,
    encode_ipv4,
    passed_on,
)
from nodes.packet.ipv6 import decode_ipv6, is_link_local
from nodes.packet.malformed import MalformedPacket
from nodes.packet.tcp import Segment
from nodes.packet.tcp_codec import decode_tcp, decode_tcp_part, encode_headers, encode_tcp_packet6
from nodes.packet.words import u16, u32, u48
from nodes.tcp.endpoints import Tcp
from nodes.tcp.parameters import Parameters

_IP_START: Final = HEADER_LEN
_TCP: Final = ipv4.TCP
_FRAGMENTED: Final = MORE_FRAGMENTS | OFFSET_MASK
#: Ethernet and IPv4 headers: MAC address (and two bytes more), type; the words of the IPv4 header.
_HEADERS: Final = struct.Struct("!Q4xHIIIII")
_HEADERS_LEN: Final = 34
_IPV4: Final = int.from_bytes(TYPE_IPV4, "big")
_IPV6: Final = int.from_bytes(TYPE_IPV6, "big")
_NO_MAC: Final = bytes(6)
#: The bit of MAC addresses of groups.
_GROUP: Final = 1 << 40


class Stack(IpOutput):
    """One host called `name`. Interfaces are numbered from 0 as they are added; `loopback` has 127.0.0.1 and ::1."""

    def __init__(self, name: str, parameters: Parameters, randomness: Randomness, sink: EventSink) -> None:
        self.name = name
        self.parameters = parameters
        self.sink = sink
        self.node = sink.name(name)
        self.counters = HostCounters()
        self.reassembly = Reassembly(parameters)
        self.interfaces: list[Interface] = []
        self.tcp = Tcp(name, self, parameters, randomness, sink, self.counters)
        self.udp = Udp(self, parameters, randomness.stream(f"node/{name}/udp-ports"), self.tcp.isn, self.counters)
        self.icmp = Icmp(self, self.tcp, self.udp, parameters, self.counters)
        lo = f"{name}:lo"
        loopback = Interface(LOOPBACK_INDEX, "lo", lo, sink.name(lo), _NO_MAC, b"\x7f\x00\x00\x01", 8, ipv4.MAX_LEN)
        loopback.ipv6 = [(ipv6.LOOPBACK, 128)]
        self.loopback = loopback
        local = {loopback.address: loopback, ipv6.LOOPBACK: loopback}
        link = self._link = LinkLayer(self.node, parameters, sink, self.counters, local)
        self.neighbours = link.neighbours
        self._paths = Paths(self.interfaces, loopback, local, link)
        self.routes = self._paths.routes
        icmp6 = Icmp6(self, link, self.tcp, self.udp, self.icmp.pings, parameters, self.counters)
        self._ipv6 = Ipv6(name, parameters, self._paths, link, icmp6, self.udp, self._on_tcp, self.counters, loopback)
        self._identification = 0
        nobody = link.fixed(loopback, b"", _NO_MAC)
        self._to_us = Path(loopback, nobody, b"")
        self._to_all = Path(loopback, nobody, b"")
        self._no_route = Path(loopback, nobody, b"")

    # Configuration.

    def add_interface(
        self, name: str, mac: bytes, address: bytes = b"", prefix_len: int = 0, mtu: int = 1500
    ) -> Interface:
        """Add an interface with an IPv4 address (or none, b"") and the route to its network.

        Raises InvalidArgument for impossible values, AlreadyExists for a name or address this host has.
        """
        if len(mac) != 6 or mac[0] & 1:
            raise InvalidArgument(f"{self.name}: {mac.hex(':')!r} is not a unicast MAC address of 6 bytes", "mac")
        if len(address) not in (0, 4):
            raise InvalidArgument(f"{self.name}: {address.hex()!r} is not an IPv4 address of 4 bytes", "address")
        if not 0 <= prefix_len <= 32:
            raise InvalidArgument(f"{self.name}: a prefix length is 0 to 32, not {prefix_len}", "prefix_len")
        if not 68 <= mtu <= ipv4.MAX_LEN:
            raise InvalidArgument(f"{self.name}: an MTU is 68 to {ipv4.MAX_LEN} bytes, not {mtu}", "mtu")
        if any(other.name == name for other in self.interfaces):
            raise AlreadyExists(f"{self.name} already has an interface {name}")
        self._check_new(address)
        label = f"{self.name}:{name}"
        trace_name = self.sink.name(label)
        interface = Interface(len(self.interfaces), name, label, trace_name, mac, address, prefix_len, mtu)
        self.interfaces.append(interface)
        if address:
            self._paths.local[address] = interface
            self.routes.add(Route(address, prefix_len, interface, b"", 0))
            if interface.broadcast:
                self._paths.broadcast[interface.broadcast] = interface
        self._paths.forget()
        return interface

    def add_ipv6(self, interface: Interface, address: bytes, prefix_len: int) -> None:
        """Give an interface an IPv6 address, and with the first one a link-local one; and the route to its network.

        Raises InvalidArgument for impossible values, AlreadyExists for an address this host has.
        """
        if len(address) != 16 or address[0] == 0xFF or address in (ipv6.ANY, ipv6.LOOPBACK) or is_link_local(address):
            given = address_text(address) if len(address) in (4, 16) else address.hex()
            raise InvalidArgument(f"{self.name}: {given} is not a global IPv6 address of a host", "address")
        if not 1 <= prefix_len <= 128:
            raise InvalidArgument(f"{self.name}: a prefix length is 1 to 128, not {prefix_len}", "prefix_len")
        if interface.mtu < ipv6.MIN_MTU:
            raise InvalidArgument(f"{self.name}: IPv6 needs an MTU of {ipv6.MIN_MTU}, not {interface.mtu}", "mtu")
        self._check_new(address)
        before = len(interface.ipv6)
        interface.add_ipv6(address, prefix_len)
        for each, length in interface.ipv6[before:]:
            self._paths.local[each] = interface
            self.routes.add(Route(each, length, interface, b"", 0))
        self._paths.forget()

    def _check_new(self, address: bytes) -> None:
        if address in self._paths.local:
            raise AlreadyExists(f"{self.name} already has the address {address_text(address)}")

    def add_route(
        self, prefix: bytes, prefix_len: int, gateway: bytes = b"", interface: Interface | None = None, metric: int = 0
    ) -> None:
        """Send packets to `prefix`/`prefix_len` by `gateway`, or (b"") directly by `interface`.

        Raises InvalidArgument when the gateway is on none of our networks and no interface is named.
        """
        if len(prefix) not in (4, 16) or not 0 <= prefix_len <= 8 * len(prefix):
            raise InvalidArgument(f"{self.name}: {prefix.hex()!r}/{prefix_len} is not an IP prefix", "prefix")
        if interface is None:
            direct = self.routes.lookup(gateway) if gateway else None
            if direct is None or direct.gateway:
                raise InvalidArgument(
                    f"{self.name}: gateway {address_text(gateway) or '(none)'} is on none of its networks", "gateway"
                )
            interface = direct.interface
        self.routes.add(Route(prefix, prefix_len, interface, gateway, metric))
        self._paths.forget()

    def remove_route(self, prefix: bytes, prefix_len: int) -> bool:
        """Remove the routes to exactly this prefix. False when there is none."""
        self._paths.forget()
        return self.routes.remove(prefix, prefix_len)

    # Sans-I/O: in, time, out.

    def on_frame(self, now: int, interface_index: int, frame: bytes) -> bool:
        """A frame arrived at an interface at `now`. False: it moved no deadline, as when it is only passed on."""
        interface = self.interfaces[interface_index] if interface_index >= 0 else self.loopback
        size = len(frame)
        interface.rx_packets += 1
        interface.rx_bytes += size
        if size < _HEADERS_LEN:
            self._on_short(interface, frame)
            return False
        if COMPILED:
            mac: i64 = u48(frame, 0)
            ethertype: i64 = u16(frame, 12)
            first: i64 = u32(frame, 14)
            second: i64 = u32(frame, 18)
            third: i64 = u32(frame, 22)
            source: i64 = u32(frame, 26)
            target: i64 = u32(frame, 30)
        else:
            mac, ethertype, first, second, third, source, target = _HEADERS.unpack_from(frame)
            mac >>= 16
        if mac != interface.mac_number and not mac & _GROUP:
            return False
        if ethertype != _IPV4:
            if ethertype == _IPV6 and interface.ipv6:
                return self._ipv6.on_frame(now, interface, frame)
            self._on_other(now, interface, frame)
            return True
        counters = self.counters
        counters.IpInReceives += 1
        start: i64 = _HEADERS_LEN
        end: i64 = _IP_START + (first & 0xFFFF)
        addresses: i64 = source + target
        total: i64 = first + second + third + addresses
        if first >> 24 != 0x45:  # options, or no IPv4 packet
            start = _IP_START + (first >> 22 & 0x3C) if first >> 28 == 4 else 0
            if start > _HEADERS_LEN:
                total += sum16(frame[_HEADERS_LEN:start])
        if start >= _HEADERS_LEN:
            if not first & 0x3_0000:
                counters.IpExtInNoECTPkts += 1
            else:
                self._count_ecn(first >> 16 & 3)
        if not _HEADERS_LEN <= start <= end <= size or total % 65535:
            counters.IpInHdrErrors += 1
            return False
        path = interface.flow
        if path is None or source != interface.src_number or target != interface.dst_number:
            src = frame[26:30]
            dst = frame[30:34]
            path = self._paths.flows.get(src + dst) or self._flow(interface, src, dst)
            if path is None:
                counters.IpInAddrErrors += 1
                return False
            interface.flow = path
            interface.src = src
            interface.dst = dst
            interface.src_number = source
            interface.dst_number = target
        if path is not self._to_us and path is not self._to_all:
            return self._forward(now, path, frame, third, end)
        if third >> 16 & 0xFF == _TCP and not second & _FRAGMENTED:
            counters.IpInDelivers += 1
            if path is self._to_us and not mac & _GROUP:  # RFC 1122 3.3.6: not what a link sends to everybody
                ecn = first >> 16 & 3
                self._on_tcp(now, interface, interface.src, interface.dst, frame, start, end, addresses, ecn)
            return True
        packet = decode_ipv4(frame[_IP_START:end])
        if packet.fragment & _FRAGMENTED:
            counters.IpReasmReqds += 1
            whole = self.reassembly.add(now, packet)
            counters.IpReasmFails = self.reassembly.failures
            if whole is None:
                return True
            counters.IpReasmOKs += 1
            packet = whole
        self._deliver(now, interface, packet, path is self._to_all)
        return True

    def _count_ecn(self, field: int) -> None:
        """A packet whose ECN field is not 0 (RFC 3168 section 5)."""
        counters = self.counters
        if field == 1:
            counters.IpExtInECT1Pkts += 1
        elif field == 2:
            counters.IpExtInECT0Pkts += 1
        else:
            counters.IpExtInCEPkts += 1

    def _on_short(self, interface: Interface, frame: bytes) -> None:
        """A frame too short for an IPv4 header, and so for an ARP packet."""
        if frame[0:6] != interface.mac and not (frame and frame[0] & 1):
            interface.rx_errors += len(frame) < HEADER_LEN
        elif frame[12:14] == TYPE_IPV4:
            self.counters.IpInReceives += 1
            self.counters.IpInHdrErrors += 1
        elif len(frame) < HEADER_LEN or frame[12:14] == TYPE_ARP:
            interface.rx_errors += 1
        else:
            interface.rx_dropped += 1

    def _on_other(self, now: int, interface: Interface, frame: bytes) -> None:
        """A frame with something else in it than an IP packet of a family that the interface has."""
        if frame[12:14] == TYPE_ARP:
            self._link.on_arp(now, interface, frame[HEADER_LEN:])
        else:
            interface.rx_dropped += 1

    def on_timer(self, now: int) -> None:
        """Do what is due at `now`."""
        link = self._link
        if link.looped:
            looped = link.looped
            link.looped = []
            for frame in looped:
                self.on_frame(now, LOOPBACK_INDEX, frame)
        if link.neighbours.deadline <= now:
            for packet in link.on_timer(now):
                self._unreachable(now, packet)
        if self.reassembly.deadline <= now:
            for first in self.reassembly.on_timer(now):
                self.icmp.report(now, first, icmp.TIME_EXCEEDED, icmp.REASSEMBLY_TIME_EXCEEDED)
            self.counters.IpReasmFails = self.reassembly.failures
        if self._ipv6.reassembly.deadline <= now:
            self._ipv6.on_timer(now)
        if self.tcp.next_deadline() <= now:
            self.tcp.on_timer(now)

    def next_deadline(self) -> int:
        """When `on_timer` must be called next, ns, or NEVER; an instant already past means at once."""
        link = self._link
        if link.looped:
            return link.looped_at
        deadline = self.tcp.timers.next_wake()
        if link.neighbours.deadline < deadline:
            deadline = link.neighbours.deadline
        if self.reassembly.deadline < deadline:
            deadline = self.reassembly.deadline
        if self._ipv6.reassembly.deadline < deadline:
            deadline = self._ipv6.reassembly.deadline
        return deadline

    def pull(self) -> list[tuple[int, bytes]]:
        """The frames to be sent since the last call, in order, with the index of their interface."""
        out = self._link.out
        if out:
            self._link.out = []
        return out

    # What TCP, UDP and ICMP ask (IpOutput).

    def transmit(self, now: int, src: bytes, dst: bytes, segment: Segment, conn: int, cause: int, resent: bool) -> None:
        path = self._paths.known.get(dst) or self._paths.to(dst)
        counters = self.counters
        if len(dst) == 16:
            counters.Ip6OutRequests += 1
            if path is None:
                counters.Ip6OutNoRoutes += 1
                return
            packet = encode_tcp_packet6(segment, src, dst, segment.ttl or self.parameters.hop_limit)
            payload = b""
        else:
            counters.IpOutRequests += 1
            if path is None:
                counters.IpOutNoRoutes += 1
                return
            self._identification = identification = self._identification + 1 & 0xFFFF
            ttl = segment.ttl or self.parameters.ip_default_ttl
            packet = encode_headers(segment, src, dst, identification, ttl)
            payload = segment.payload
        sent: SentSegment | None = None
        if self.sink.level >= LEVEL_SEGMENTS:
            sent = SentSegment(src, dst, segment, conn, cause, resent)
        self._link.send(now, path, packet, sent, payload)

    def send_ip(
        self, now: int, src: bytes, dst: bytes, protocol: int, payload: bytes, ttl: int = 0, tos: int = 0
    ) -> None:
        if len(dst) == 16:
            self._ipv6.send(now, src, dst, protocol, payload, ttl, tos)
            return
        self.counters.IpOutRequests += 1
        path = self._path(dst)
        self._identification = identification = self._identification + 1 & 0xFFFF
        ttl = ttl or self.parameters.ip_default_ttl
        packet = Ipv4Packet(src, dst, protocol, payload, ttl, identification, tos=tos)
        self._send_packet(now, path, packet, path.mtu_at(now))

    def send_raw_ip(self, now: int, packet: bytes, cause: int = causes.ATTACK) -> None:
        """Send an IP packet exactly as it is, whoever it says it is from. A TCP segment in it is traced with `cause`.

        Raises InvalidArgument for less than an IP header, SocketError ENETUNREACH without a route.
        """
        six = packet[:1] != b"" and packet[0] >> 4 == 6
        if len(packet) < (ipv6.HEADER_LEN if six else ipv4.HEADER_LEN):
            raise InvalidArgument(f"{self.name}: {len(packet)} bytes are no IP packet", "packet")
        path = self._path(packet[24:40] if six else packet[16:20])
        sent: SentSegment | None = None
        if self.sink.level >= LEVEL_SEGMENTS and packet[6 if six else 9] == _TCP:
            try:
                parsed = decode_ipv6(packet) if six else decode_ipv4(packet)
                sent = SentSegment(parsed.src, parsed.dst, decode_tcp(parsed.payload), 0, cause, False)
            except MalformedPacket:
                sent = None  # malformed on purpose: the capture has its bytes
        self._link.send(now, path, packet, sent)

    def source_for(self, dst: bytes) -> bytes:
        source = self._path(dst).source
        if not source:
            raise SocketError("EADDRNOTAVAIL", f"{self.name} has no address")
        return source

    def is_local(self, address: bytes) -> bool:
        return address in self._paths.local

    def is_broadcast(self, address: bytes) -> bool:
        """Whether packets to an address go to everybody on one of our networks."""
        return address in self._paths.broadcast

    def mtu_to(self, now: int, dst: bytes) -> int:
        path = self._paths.to(dst)
        return path.mtu_at(now) if path is not None else 1500

    def mtu_until(self, dst: bytes) -> int:
        path = self._paths.to(dst)
        return path.mtu_until if path is not None else NEVER

    def link_mtu(self, dst: bytes) -> int:
        path = self._paths.to(dst)
        return path.link_mtu if path is not None else 1500

    def too_big(self, now: int, dst: bytes, mtu: int) -> None:
        path = self._paths.to(dst)
        if path is not None:
            path.too_big(now, mtu, self.parameters.mtu_expires * SECOND)

    # Sending.

    def _path(self, dst: bytes) -> Path:
        path = self._paths.to(dst)
        if path is None:
            if len(dst) == 16:
                self.counters.Ip6OutNoRoutes += 1
            else:
                self.counters.IpOutNoRoutes += 1
            raise SocketError("ENETUNREACH", f"{self.name} has no route to {address_text(dst)}")
        return path

    def _send_packet(self, now: int, path: Path, packet: Ipv4Packet, mtu: int) -> None:
        """Send a packet in as many fragments as `mtu` asks for."""
        if ipv4.HEADER_LEN + len(packet.options) + len(packet.payload) <= mtu:
            self._link.send(now, path, encode_ipv4(packet), None)
            return
        pieces = fragment(packet, mtu)
        self.counters.IpFragOKs += 1
        self.counters.IpFragCreates += len(pieces)
        for piece in pieces:
            self._link.send(now, path, encode_ipv4(piece), None)

    def _unreachable(self, now: int, data: bytes) -> None:
        """Nobody has the address: whoever sent the packet is told that it cannot be reached (RFC 1122 2.3.2.2)."""
        try:
            if data[0] >> 4 == 6:
                self._ipv6.unreachable(now, decode_ipv6(data))
                return
            self.counters.IpOutDiscards += 1
            packet = decode_ipv4(data)
        except MalformedPacket:
            return  # forged and malformed; nobody to tell
        self.icmp.report(now, packet, icmp.DESTINATION_UNREACHABLE, icmp.HOST_UNREACHABLE)

    # Receiving.

    def _flow(self, interface: Interface, src: bytes, dst: bytes) -> Path | None:
        """What becomes of packets with this source and destination. None: they are refused."""
        outside = interface.index != LOOPBACK_INDEX
        net = src[0]
        local = self._paths.local
        if outside and (
            net >= 224 or net == 127 or net == 0 or dst[0] == 127 or src in local or src in self._paths.broadcast
        ):
            # Addresses that nobody outside can have, ours among them (RFC 1122 3.2.1.3, RFC 1812 5.3.7, 5.3.8).
            return None
        if dst in local or dst[0] == 127:
            path = self._to_us
        elif dst in self._paths.broadcast:
            path = self._to_all
        elif not self.parameters.ip_forward or dst[0] >= 224:
            return None
        else:
            found = self._paths.to(dst)
            if found is None:
                return self._no_route
            path = found
        if outside:
            if len(self._paths.flows) >= MAX_PATHS:
                self._paths.flows.clear()
            self._paths.flows[src + dst] = path
        return path

    def _on_tcp(
        self,
        now: int,
        interface: Interface,
        src: bytes,
        dst: bytes,
        data: bytes,
        start: int,
        end: int,
        addresses: int,
        ecn: int,
    ) -> None:
        """A TCP segment for us in `data[start:end]`; `addresses` is congruent to the sum of both, `ecn` the ECN field
        of its packet."""
        if (sum16_part(data, start, end) + addresses + _TCP + end - start) % 65535:
            self._refuse_tcp(now, data[start:end], causes.BAD_CHECKSUM)
            return
        try:
            segment = decode_tcp_part(data, start, end)
        except MalformedPacket:
            self._refuse_tcp(now, data[start:end], causes.MALFORMED)
            return
        segment.ecn = ecn
        self.tcp.on_segment(now, src, dst, segment, interface.trace_name, interface.rx_packets)

    def _refuse_tcp(self, now: int, data: bytes, cause: int) -> None:
        counters = self.counters
        counters.TcpInSegs += 1
        counters.TcpInErrs += 1
        if cause == causes.BAD_CHECKSUM:
            counters.TcpInCsumErrors += 1
        seq = int.from_bytes(data[4:8], "big")
        self.sink.discard(now, self.node, 0, cause, seq, len(data), int.from_bytes(data[12:14], "big") & 0x1FF)

    def _deliver(self, now: int, interface: Interface, packet: Ipv4Packet, broadcast: bool) -> None:
        counters = self.counters
        counters.IpInDelivers += 1
        if packet.protocol == ipv4.UDP:
            if not self.udp.on_packet(packet.src, packet.dst, packet.payload, broadcast) and not broadcast:
                self.icmp.report(now, packet, icmp.DESTINATION_UNREACHABLE, icmp.PORT_UNREACHABLE)
        elif packet.protocol == ipv4.ICMP:
            if not broadcast:
                self.icmp.on_packet(now, packet)
        elif packet.protocol == _TCP:
            if not broadcast:
                addresses = sum16(packet.src) + sum16(packet.dst)
                data = packet.payload
                self._on_tcp(now, interface, packet.src, packet.dst, data, 0, len(data), addresses, packet.tos & 3)
        else:
            counters.IpInUnknownProtos += 1
            if not broadcast:
                self.icmp.report(now, packet, icmp.DESTINATION_UNREACHABLE, icmp.PROTOCOL_UNREACHABLE)

    def _forward(self, now: int, path: Path, frame: bytes, third: i64, end: i64) -> bool:
        """Pass on a packet for somebody else (RFC 1812 section 5.2.1); `third` is the third word of its header: TTL,
        protocol, checksum. False: that moved no deadline."""
        counters = self.counters
        if not self.parameters.ip_forward or frame[0] & 1:
            counters.IpInAddrErrors += 1
            return False
        if third < 0x0200_0000:
            counters.IpInHdrErrors += 1
            self.icmp.report(now, decode_ipv4(frame[_IP_START:end]), icmp.TIME_EXCEEDED, icmp.TTL_EXCEEDED)
            return True
        if path is self._no_route:
            counters.IpOutNoRoutes += 1
            self.icmp.report(now, decode_ipv4(frame[_IP_START:end]), icmp.DESTINATION_UNREACHABLE, icmp.NET_UNREACHABLE)
            return True
        if end - _IP_START > path.link_mtu:
            self._forward_large(now, path, decode_ipv4(frame[_IP_START:end]))
            return True
        counters.IpForwDatagrams += 1
        # The TTL's byte goes down by one, so the checksum goes up by 0x0100 in one's complement (RFC 1624).
        third -= 0xFF_FF00 if third & 0xFFFF < 0xFEFF else 0xFF_FF00 + 0xFFFF
        neighbour = path.neighbour
        if now >= neighbour.fresh_until:
            self._link.send(now, path, passed_on(b"", frame, third) + frame[26:end], None)
            return True
        out = path.interface
        out.tx_packets += 1
        out.tx_bytes += end
        self._link.out.append((out.index, passed_on(neighbour.header, frame, third) + frame[26:end]))
        return False

    def _forward_large(self, now: int, path: Path, packet: Ipv4Packet) -> None:
        if packet.fragment & DONT_FRAGMENT:
            self.counters.IpFragFails += 1
            self.icmp.report(now, packet, icmp.DESTINATION_UNREACHABLE, icmp.FRAGMENTATION_NEEDED, path.link_mtu)
            return
        self.counters.IpForwDatagrams += 1
        packet.ttl -= 1
        self._send_packet(now, path, packet, path.link_mtu)

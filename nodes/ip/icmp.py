"""ICMP of one host: answers echo requests, reports errors, and hands errors to whom they concern (RFC 792, 1122)."""

from __future__ import annotations

from typing import Final

from nodes.base.errors import SocketError
from nodes.ip.counters import HostCounters
from nodes.ip.errors import ErrorLimit, error_about, may_report, quoted_packet
from nodes.ip.output import IpOutput
from nodes.ip.ping import Pings
from nodes.ip.udp import Udp
from nodes.packet import icmp, ipv4
from nodes.packet.icmp import IcmpMessage, decode_icmp, encode_icmp
from nodes.packet.ipv4 import Ipv4Packet
from nodes.packet.malformed import MalformedPacket
from nodes.tcp.endpoints import Tcp
from nodes.tcp.parameters import Parameters

#: Lowest next-hop MTU that is believed (Linux: min_pmtu).
MIN_PATH_MTU: Final = 552


class Icmp:
    """The ICMP of one host."""

    def __init__(self, output: IpOutput, tcp: Tcp, udp: Udp, parameters: Parameters, counters: HostCounters) -> None:
        self.pings = Pings(output, counters)
        self._output = output
        self._tcp = tcp
        self._udp = udp
        self._limit = ErrorLimit(parameters)
        self._counters = counters

    def on_packet(self, now: int, packet: Ipv4Packet) -> None:
        """An ICMP packet for this host; echo requests to a broadcast address are not handed here."""
        counters = self._counters
        counters.IcmpInMsgs += 1
        try:
            message = decode_icmp(packet.payload)
        except MalformedPacket:
            counters.IcmpInErrors += 1
            return
        if message.type == icmp.ECHO_REQUEST:
            counters.IcmpInEchos += 1
            counters.IcmpOutEchoReps += 1
            self._send(now, packet.dst, packet.src, message._replace(type=icmp.ECHO_REPLY))
        elif message.type == icmp.ECHO_REPLY:
            counters.IcmpInEchoReps += 1
            self.pings.on_answer(
                now, message.rest, packet.src, message.type, message.code, packet.ttl, len(message.payload)
            )
        elif message.type in icmp.ERRORS:
            if message.type == icmp.DESTINATION_UNREACHABLE:
                counters.IcmpInDestUnreachs += 1
            elif message.type == icmp.TIME_EXCEEDED:
                counters.IcmpInTimeExcds += 1
            quoted = quoted_packet(message.payload)
            if quoted is not None and self._output.is_local(quoted.src):
                self.on_error(now, packet.src, message, quoted, packet.ttl)

    def on_error(self, now: int, reporter: bytes, message: IcmpMessage, quoted: Ipv4Packet, ttl: int) -> None:
        """`reporter` says that `quoted`, which we sent, failed."""
        kind, code, payload = message.type, message.code, quoted.payload
        mtu = 0
        if kind == icmp.DESTINATION_UNREACHABLE and code == icmp.FRAGMENTATION_NEEDED:
            mtu = max(message.rest & 0xFFFF, MIN_PATH_MTU)
        ours = False
        if quoted.protocol == ipv4.TCP and len(payload) >= 8:
            src_port = int.from_bytes(payload[0:2], "big")
            dst_port = int.from_bytes(payload[2:4], "big")
            seq = int.from_bytes(payload[4:8], "big")
            ours = self._tcp.on_icmp_error(now, quoted.src, quoted.dst, src_port, dst_port, seq, kind, code, mtu)
        elif quoted.protocol == ipv4.UDP:
            ours = self._udp.on_icmp_error(quoted.src, quoted.dst, payload, kind, code)
        elif quoted.protocol == ipv4.ICMP and len(payload) >= 8 and payload[0] == icmp.ECHO_REQUEST:
            rest = int.from_bytes(payload[4:8], "big")
            ours = self.pings.on_answer(now, rest, reporter, kind, code, ttl, len(payload) - 8)
        if mtu and ours:
            self._output.too_big(now, quoted.dst, mtu)

    def report(self, now: int, packet: Ipv4Packet, kind: int, code: int, rest: int = 0) -> None:
        """Tell the sender of `packet` that it failed here, if that may be told."""
        if not may_report(packet):
            return
        message = error_about(packet, kind, code, rest)
        if self._output.is_local(packet.src):
            self.on_error(now, packet.src, message, packet, packet.ttl)
            return
        needed = kind == icmp.DESTINATION_UNREACHABLE and code == icmp.FRAGMENTATION_NEEDED
        if not self._limit.spend(now, packet.src, needed):
            return
        if kind == icmp.DESTINATION_UNREACHABLE:
            self._counters.IcmpOutDestUnreachs += 1
        elif kind == icmp.TIME_EXCEEDED:
            self._counters.IcmpOutTimeExcds += 1
        source = packet.dst if self._output.is_local(packet.dst) else b""
        self._send(now, source, packet.src, message)

    def _send(self, now: int, src: bytes, dst: bytes, message: IcmpMessage) -> None:
        try:
            src = src or self._output.source_for(dst)
            self._counters.IcmpOutMsgs += 1
            self._output.send_ip(now, src, dst, ipv4.ICMP, encode_icmp(message))
        except SocketError:
            return  # no way back to the sender: nothing to tell it

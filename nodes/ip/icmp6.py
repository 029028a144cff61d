"""ICMPv6 of one host: answers echo requests, reports errors, and hands errors to whom they concern (RFC 4443)."""

from __future__ import annotations

from typing import Final

from nodes.base.errors import SocketError
from nodes.ip.counters import HostCounters
from nodes.ip.errors import ErrorLimit
from nodes.ip.interface import Interface
from nodes.ip.link import LinkLayer
from nodes.ip.output import IpOutput
from nodes.ip.ping import Pings
from nodes.ip.udp import Udp
from nodes.packet import icmp6, ipv6
from nodes.packet.icmp import IcmpMessage
from nodes.packet.icmp6 import decode_icmp6, encode_icmp6
from nodes.packet.ipv6 import HEADER, HEADER_LEN, Ipv6Packet, encode_ipv6, upper_layer
from nodes.packet.malformed import MalformedPacket
from nodes.tcp.endpoints import Tcp
from nodes.tcp.parameters import Parameters

_ECHO_REPLY: Final = bytes((icmp6.ECHO_REPLY,))


class Icmp6:
    """The ICMPv6 of one host. Neighbour discovery is the link layer's."""

    def __init__(
        self,
        output: IpOutput,
        link: LinkLayer,
        tcp: Tcp,
        udp: Udp,
        pings: Pings,
        parameters: Parameters,
        counters: HostCounters,
    ) -> None:
        self._output = output
        self._link = link
        self._tcp = tcp
        self._udp = udp
        self._pings = pings
        self._limit = ErrorLimit(parameters)
        self._counters = counters

    def on_packet(self, now: int, interface: Interface, packet: Ipv6Packet, data: bytes) -> None:
        """An ICMPv6 message `data` for this host, or for a group that it is in."""
        counters = self._counters
        counters.Icmp6InMsgs += 1
        try:
            message = decode_icmp6(data, packet.src, packet.dst)
            if message.type in (icmp6.NEIGHBOUR_SOLICITATION, icmp6.NEIGHBOUR_ADVERTISEMENT):
                if message.type == icmp6.NEIGHBOUR_SOLICITATION:
                    counters.Icmp6InNeighborSolicits += 1
                else:
                    counters.Icmp6InNeighborAdvertisements += 1
                self._link.on_discovery(now, interface, packet, message)
                return
        except MalformedPacket:
            counters.Icmp6InErrors += 1
            return
        kind = message.type
        if kind == icmp6.ECHO_REQUEST:
            counters.Icmp6InEchos += 1
            counters.Icmp6OutEchoReplies += 1
            ours = b"" if packet.dst[0] == 0xFF else packet.dst
            self._send(now, ours, packet.src, message._replace(type=icmp6.ECHO_REPLY))
        elif kind == icmp6.ECHO_REPLY:
            counters.Icmp6InEchoReplies += 1
            size = len(message.payload)
            self._pings.on_answer(now, message.rest, packet.src, kind, message.code, packet.hop_limit, size)
        elif kind < icmp6.INFORMATIONAL:
            if kind == icmp6.DESTINATION_UNREACHABLE:
                counters.Icmp6InDestUnreachs += 1
            elif kind == icmp6.PACKET_TOO_BIG:
                counters.Icmp6InPktTooBigs += 1
            elif kind == icmp6.TIME_EXCEEDED:
                counters.Icmp6InTimeExcds += 1
            elif kind == icmp6.PARAMETER_PROBLEM:
                counters.Icmp6InParmProblems += 1
            self._on_error(now, packet.src, message, packet.hop_limit)

    def _on_error(self, now: int, reporter: bytes, message: IcmpMessage, hop_limit: int) -> None:
        """`reporter` says that a packet failed which the message quotes, and which we sent."""
        data = message.payload
        if len(data) < HEADER_LEN or data[0] >> 4 != 6:
            return
        _, _, next_header, _, src, dst = HEADER.unpack_from(data)
        if not self._output.is_local(src):
            return
        protocol, payload = _quoted(next_header, data[HEADER_LEN:])
        kind, code = message.type, message.code
        mtu = max(message.rest, ipv6.MIN_MTU) if kind == icmp6.PACKET_TOO_BIG else 0
        ours = False
        if protocol == ipv6.TCP and len(payload) >= 8:
            src_port = int.from_bytes(payload[0:2], "big")
            dst_port = int.from_bytes(payload[2:4], "big")
            seq = int.from_bytes(payload[4:8], "big")
            ours = self._tcp.on_icmp_error(now, src, dst, src_port, dst_port, seq, kind, code, mtu)
        elif protocol == ipv6.UDP:
            ours = self._udp.on_icmp_error(src, dst, payload, kind, code)
        elif protocol == ipv6.ICMP and len(payload) >= 8 and payload[0] == icmp6.ECHO_REQUEST:
            rest = int.from_bytes(payload[4:8], "big")
            ours = self._pings.on_answer(now, rest, reporter, kind, code, hop_limit, len(payload) - 8)
        elif protocol == ipv6.ICMP and payload[:1] == _ECHO_REPLY:
            ours = True  # nobody remembers our replies; Linux believes it too
        if mtu and ours:
            self._output.too_big(now, dst, mtu)

    def report(self, now: int, packet: Ipv6Packet, kind: int, code: int, rest: int = 0) -> None:
        """Tell the sender of `packet` that it failed here, if that may be told (RFC 4443 section 2.4)."""
        if not self._may_report(packet, kind, code):
            return
        message = IcmpMessage(kind, code, rest, encode_ipv6(packet)[: ipv6.MIN_MTU - HEADER_LEN - 8])
        if self._output.is_local(packet.src):
            self._on_error(now, packet.src, message, packet.hop_limit)
            return
        if not self._limit.spend(now, packet.src, kind == icmp6.PACKET_TOO_BIG):
            return
        counters = self._counters
        if kind == icmp6.DESTINATION_UNREACHABLE:
            counters.Icmp6OutDestUnreachs += 1
        elif kind == icmp6.PACKET_TOO_BIG:
            counters.Icmp6OutPktTooBigs += 1
        elif kind == icmp6.TIME_EXCEEDED:
            counters.Icmp6OutTimeExcds += 1
        else:
            counters.Icmp6OutParmProblems += 1
        self._send(now, packet.dst if self._output.is_local(packet.dst) else b"", packet.src, message)

    def _may_report(self, packet: Ipv6Packet, kind: int, code: int) -> bool:
        if packet.src == ipv6.ANY or packet.src[0] == 0xFF:
            return False
        if packet.dst[0] == 0xFF and (kind, code) not in (
            (icmp6.PACKET_TOO_BIG, 0),
            (icmp6.PARAMETER_PROBLEM, icmp6.UNKNOWN_OPTION),
        ):
            return False
        protocol, payload = _quoted(packet.next_header, packet.payload)
        if protocol != ipv6.ICMP:
            return True
        return payload != b"" and icmp6.INFORMATIONAL <= payload[0] != icmp6.REDIRECT

    def _send(self, now: int, src: bytes, dst: bytes, message: IcmpMessage) -> None:
        try:
            src = src or self._output.source_for(dst)
            self._counters.Icmp6OutMsgs += 1
            self._output.send_ip(now, src, dst, ipv6.ICMP, encode_icmp6(message, src, dst))
        except SocketError:
            return  # no way back to the sender: nothing to tell it


def _quoted(next_header: int, payload: bytes) -> tuple[int, bytes]:
    """Protocol and bytes of the upper layer of a packet that may be cut; behind a later fragment there is none."""
    try:
        upper = upper_layer(next_header, payload)
        if upper.protocol == ipv6.FRAGMENT and len(payload) >= upper.at + 8:
            if int.from_bytes(payload[upper.at + 2 : upper.at + 4], "big") & 0xFFF8:
                return ipv6.FRAGMENT, b""
            inner = upper_layer(payload[upper.at], payload[upper.at + 8 :])
            return inner.protocol, payload[upper.at + 8 + inner.at :]
    except MalformedPacket:
        return ipv6.NO_NEXT_HEADER, b""
    return upper.protocol, payload[upper.at :]

"""Which packets an ICMP error may be sent about, and how one is made.

RFC 1122 section 3.2.2, RFC 1812 section 4.3.2; how many, for both families: RFC 4443 section 2.4 (f).
"""

from __future__ import annotations

from typing import Final

from nodes.base.clock import MILLISECOND
from nodes.packet import icmp, ipv4
from nodes.packet.icmp import IcmpMessage
from nodes.packet.ipv4 import OFFSET_MASK, Ipv4Packet, encode_ipv4
from nodes.tcp.parameters import Parameters

#: An ICMP error's packet is at most this long (RFC 1812 section 4.3.2.3).
MAX_ERROR_LEN: Final = 576

#: Errors that may be sent to one host at once; then one per icmp_ratelimit (Linux: XRLIM_BURST_FACTOR).
BURST: Final = 6
#: Hosts of which it is known how many errors they were sent.
MAX_LIMITED: Final = 1024


class ErrorLimit:
    """How many errors each host is sent, if any. What path MTU discovery needs is not counted, as in Linux."""

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters
        #: Until when a host has used up what it may be sent, ns.
        self._used: dict[bytes, int] = {}

    def spend(self, now: int, dst: bytes, needed: bool) -> bool:
        """Whether one more error may be sent to `dst`; if so, it counts."""
        if not self._parameters.icmp_errors:
            return False
        if needed:
            return True
        interval = self._parameters.icmp_ratelimit * MILLISECOND
        used = max(self._used.get(dst, 0), now) + interval
        if used > now + BURST * interval:
            return False
        if dst not in self._used and len(self._used) >= MAX_LIMITED:
            del self._used[next(iter(self._used))]
        self._used[dst] = used
        return True


def may_report(packet: Ipv4Packet) -> bool:
    """False for later fragments, broadcast and multicast, senders that are not one host, and ICMP errors."""
    if packet.fragment & OFFSET_MASK or packet.dst[0] >= 224 or packet.src[0] >= 224 or not any(packet.src):
        return False
    return packet.protocol != ipv4.ICMP or (packet.payload[:1] != b"" and packet.payload[0] not in icmp.ERRORS)


def error_about(packet: Ipv4Packet, kind: int, code: int, rest: int = 0) -> IcmpMessage:
    """The message; it quotes as much of `packet` as MAX_ERROR_LEN leaves room for."""
    return IcmpMessage(kind, code, rest, encode_ipv4(packet)[: MAX_ERROR_LEN - ipv4.HEADER_LEN - 8])


def quoted_packet(data: bytes) -> Ipv4Packet | None:
    """The packet an ICMP error quotes, cut as it is; None when there is not even a header.

    Its lengths and checksum are not verified: routers quote what they have changed.
    """
    if len(data) < ipv4.HEADER_LEN or data[0] >> 4 != 4:
        return None
    version, tos, _, identification, fragment, ttl, protocol, _, src, dst = ipv4.HEADER.unpack_from(data)
    header_len = (version & 15) << 2
    if header_len < ipv4.HEADER_LEN or fragment & OFFSET_MASK:
        return None
    return Ipv4Packet(src, dst, protocol, data[header_len:], ttl, identification, fragment, tos)

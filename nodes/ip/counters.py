"""The counters of one host: those of IP, ICMP and UDP (RFC 4293, RFC 4113; `nstat` names) beside those of TCP."""

from __future__ import annotations

from typing import Final

from nodes.tcp.counters import NAMES as TCP_NAMES
from nodes.tcp.counters import Counters

NAMES: Final = (
    "IpInReceives",  # packets received, in error or not
    "IpInHdrErrors",  # discarded: header malformed, bad checksum, TTL exhausted
    "IpInAddrErrors",  # discarded: not for us, and we do not forward
    "IpInUnknownProtos",  # discarded: no such protocol here
    "IpInDelivers",  # handed to TCP, UDP or ICMP
    "IpForwDatagrams",  # passed on
    "IpOutRequests",  # asked to be sent by this host
    "IpOutNoRoutes",  # discarded: no route
    "IpOutDiscards",  # discarded: neighbour does not answer, or its queue is full
    "IpReasmReqds",  # fragments received
    "IpReasmOKs",  # packets put together
    "IpReasmFails",  # packets given up: timeout, overlap, no room
    "IpFragOKs",  # packets fragmented
    "IpFragFails",  # packets that needed it and must not be
    "IpFragCreates",  # fragments made
    "IcmpInMsgs",
    "IcmpInErrors",  # malformed or bad checksum
    "IcmpInDestUnreachs",
    "IcmpInTimeExcds",
    "IcmpInEchos",
    "IcmpInEchoReps",
    "IcmpOutMsgs",
    "IcmpOutDestUnreachs",
    "IcmpOutTimeExcds",
    "IcmpOutEchos",
    "IcmpOutEchoReps",
    "UdpInDatagrams",  # delivered to a socket's buffer
    "UdpNoPorts",  # received for a port without a socket
    "UdpInErrors",  # received but not delivered for another reason
    "UdpOutDatagrams",
    "UdpRcvbufErrors",  # of UdpInErrors: the socket's buffer was full
    "UdpInCsumErrors",  # of UdpInErrors: malformed or bad checksum
)


class HostCounters(Counters):
    """One int per name of NAMES and of TCP's, from 0."""

    __slots__ = NAMES

    IpInReceives: int
    IpInHdrErrors: int
    IpInAddrErrors: int
    IpInUnknownProtos: int
    IpInDelivers: int
    IpForwDatagrams: int
    IpOutRequests: int
    IpOutNoRoutes: int
    IpOutDiscards: int
    IpReasmReqds: int
    IpReasmOKs: int
    IpReasmFails: int
    IpFragOKs: int
    IpFragFails: int
    IpFragCreates: int
    IcmpInMsgs: int
    IcmpInErrors: int
    IcmpInDestUnreachs: int
    IcmpInTimeExcds: int
    IcmpInEchos: int
    IcmpInEchoReps: int
    IcmpOutMsgs: int
    IcmpOutDestUnreachs: int
    IcmpOutTimeExcds: int
    IcmpOutEchos: int
    IcmpOutEchoReps: int
    UdpInDatagrams: int
    UdpNoPorts: int
    UdpInErrors: int
    UdpOutDatagrams: int
    UdpRcvbufErrors: int
    UdpInCsumErrors: int

    def __init__(self) -> None:
        super().__init__()
        for name in NAMES:
            setattr(self, name, 0)

    def as_dict(self) -> dict[str, int]:
        """Every counter by name, IP first."""
        return {name: getattr(self, name) for name in NAMES + TCP_NAMES}

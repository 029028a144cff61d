"""The counters of one host: those of IP, ICMP and UDP of both families (RFC 4293, RFC 4113; `nstat` names) beside those
of TCP."""

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
    "IpExtInNoECTPkts",  # packets received by their ECN field (RFC 3168): not ECN-capable,
    "IpExtInECT1Pkts",  # ECT(1),
    "IpExtInECT0Pkts",  # ECT(0),
    "IpExtInCEPkts",  # CE: marked on the way; those passed on are among all of these
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
    "Ip6InReceives",  # packets received, in error or not
    "Ip6InHdrErrors",  # discarded: header malformed, hop limit exhausted
    "Ip6InTooBigErrors",  # not passed on: larger than the link's MTU
    "Ip6InNoRoutes",  # not passed on: no route
    "Ip6InAddrErrors",  # discarded: not for us, and we do not forward
    "Ip6InUnknownProtos",  # discarded: no such protocol here
    "Ip6InTruncatedPkts",  # discarded: shorter than their header says
    "Ip6InDelivers",  # handed to TCP, UDP or ICMPv6
    "Ip6InMcastPkts",  # of them: sent to a group
    "Ip6InNoECTPkts",  # as those of IpExt above
    "Ip6InECT1Pkts",
    "Ip6InECT0Pkts",
    "Ip6InCEPkts",
    "Ip6OutForwDatagrams",  # passed on
    "Ip6OutRequests",  # asked to be sent by this host
    "Ip6OutNoRoutes",  # discarded: no route
    "Ip6OutDiscards",  # discarded: neighbour does not answer, or its queue is full
    "Ip6ReasmReqds",  # fragments received
    "Ip6ReasmOKs",  # packets put together
    "Ip6ReasmFails",  # packets given up: timeout, overlap, no room
    "Ip6FragOKs",  # packets fragmented
    "Ip6FragFails",  # packets that needed it on the way, where it must not be
    "Ip6FragCreates",  # fragments made
    "Icmp6InMsgs",
    "Icmp6InErrors",  # malformed or bad checksum
    "Icmp6InDestUnreachs",
    "Icmp6InPktTooBigs",
    "Icmp6InTimeExcds",
    "Icmp6InParmProblems",
    "Icmp6InEchos",
    "Icmp6InEchoReplies",
    "Icmp6InNeighborSolicits",
    "Icmp6InNeighborAdvertisements",
    "Icmp6OutMsgs",
    "Icmp6OutDestUnreachs",
    "Icmp6OutPktTooBigs",
    "Icmp6OutTimeExcds",
    "Icmp6OutParmProblems",
    "Icmp6OutEchos",
    "Icmp6OutEchoReplies",
    "Icmp6OutNeighborSolicits",
    "Icmp6OutNeighborAdvertisements",
    "Udp6InDatagrams",  # over IPv6, as those of UDP above
    "Udp6NoPorts",
    "Udp6InErrors",
    "Udp6OutDatagrams",
    "Udp6RcvbufErrors",
    "Udp6InCsumErrors",
)


class HostCounters(Counters):
    """One int per name of NAMES and of TCP's, from 0."""

    __slots__ = NAMES

    # What is counted for most packets, side by side with that of TCP.
    IpInReceives: int
    IpInDelivers: int
    IpOutRequests: int
    IpExtInNoECTPkts: int
    IpInHdrErrors: int
    IpInAddrErrors: int
    IpInUnknownProtos: int
    IpForwDatagrams: int
    IpOutNoRoutes: int
    IpOutDiscards: int
    IpReasmReqds: int
    IpReasmOKs: int
    IpReasmFails: int
    IpFragOKs: int
    IpFragFails: int
    IpFragCreates: int
    IpExtInECT1Pkts: int
    IpExtInECT0Pkts: int
    IpExtInCEPkts: int
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
    Ip6InReceives: int
    Ip6InHdrErrors: int
    Ip6InTooBigErrors: int
    Ip6InNoRoutes: int
    Ip6InAddrErrors: int
    Ip6InUnknownProtos: int
    Ip6InTruncatedPkts: int
    Ip6InDelivers: int
    Ip6InMcastPkts: int
    Ip6InNoECTPkts: int
    Ip6InECT1Pkts: int
    Ip6InECT0Pkts: int
    Ip6InCEPkts: int
    Ip6OutForwDatagrams: int
    Ip6OutRequests: int
    Ip6OutNoRoutes: int
    Ip6OutDiscards: int
    Ip6ReasmReqds: int
    Ip6ReasmOKs: int
    Ip6ReasmFails: int
    Ip6FragOKs: int
    Ip6FragFails: int
    Ip6FragCreates: int
    Icmp6InMsgs: int
    Icmp6InErrors: int
    Icmp6InDestUnreachs: int
    Icmp6InPktTooBigs: int
    Icmp6InTimeExcds: int
    Icmp6InParmProblems: int
    Icmp6InEchos: int
    Icmp6InEchoReplies: int
    Icmp6InNeighborSolicits: int
    Icmp6InNeighborAdvertisements: int
    Icmp6OutMsgs: int
    Icmp6OutDestUnreachs: int
    Icmp6OutPktTooBigs: int
    Icmp6OutTimeExcds: int
    Icmp6OutParmProblems: int
    Icmp6OutEchos: int
    Icmp6OutEchoReplies: int
    Icmp6OutNeighborSolicits: int
    Icmp6OutNeighborAdvertisements: int
    Udp6InDatagrams: int
    Udp6NoPorts: int
    Udp6InErrors: int
    Udp6OutDatagrams: int
    Udp6RcvbufErrors: int
    Udp6InCsumErrors: int

    def __init__(self) -> None:
        super().__init__()
        for name in NAMES:
            setattr(self, name, 0)

    def as_dict(self) -> dict[str, int]:
        """Every counter by name, IP first."""
        return {name: getattr(self, name) for name in NAMES + TCP_NAMES}

"""Connections that speak AccECN (RFC 9768), opened by either end, and how its handshake says things."""

from __future__ import annotations

from nodes.packet.tcp import ACK, AE, CE, CWR, ECE, ECT_0, ECT_1, NOT_ECT, SYN, AccEcnOption, Segment
from nodes.tcp.connection import Connection

from .harness import HTTP, PEER, Host, Peer

MSS = 1460
ASKS = AE | CWR | ECE
FLAGS = ASKS
#: How a handshake tells the codepoint that came: tables 2 and 3.
TELLS = {NOT_ECT: CWR, ECT_1: CWR | ECE, ECT_0: AE, CE: AE | CWR}
#: An option as a peer that has counted nothing sends it.
FRESH = AccEcnOption(0, (1, 0, 1))


def ace(segment: Segment) -> int:
    return segment.flags >> 6 & 7


def flags(number: int) -> int:
    """The three flags as the ACE field has a number."""
    return number << 6


def give(host: Host, segment: Segment) -> list[Segment]:
    host.tcp.on_segment(host.now, PEER, host.local, segment, 0, 0)
    return host.take()


def server(
    host: Host,
    asked: int = ASKS,
    came: int = NOT_ECT,
    third: int = CWR,
    option: AccEcnOption | None = FRESH,
    accept: bool = True,
) -> tuple[Connection, Peer, Segment]:
    """A connection that the peer opens, our SYN-ACK to its SYN; `third` are the flags of its ACK."""
    listener = host.tcp.listen(host.now, b"", HTTP, 16)
    peer = Peer(host, 5000, HTTP)
    (answer,) = give(host, peer.segment(SYN | asked, 0, mss=MSS, sack_permitted=True, ecn=came))
    peer.irs = answer.seq
    if accept:
        assert give(host, peer.segment(ACK | third, 1, 1, accecn=option)) == []
        c = listener.accept(host.now)
        assert c is not None
    else:
        (c,) = host.tcp.connections.values()
    return c, peer, answer


def client(
    host: Host, answer: int = CWR, came: int = NOT_ECT, option: AccEcnOption | None = FRESH, data: bytes = b""
) -> tuple[Connection, Peer, list[Segment]]:
    """A connection that we open, with `data` written meanwhile; what we send: SYN, then what answers the SYN-ACK."""
    c = host.tcp.open(host.now, PEER, HTTP)
    peer = Peer(host, HTTP, c.local_port)
    sent = host.take()
    peer.irs = sent[0].seq
    if data:
        c.send(host.now, data)
    syn_ack = peer.segment(SYN | ACK | answer, 0, 1, mss=MSS, sack_permitted=True, ecn=came, accecn=option)
    return c, peer, sent + give(host, syn_ack)


def mode(c: Connection) -> str:
    told = c.status(0).options
    return "accurate" if "accecn" in told else "classic" if "ecn" in told else "none"


def sends(host: Host, c: Connection, size: int = 100) -> Segment:
    """The next data segment."""
    c.set_option(host.now, "TCP_NODELAY", 1)
    c.send(host.now, b"x" * size)
    (segment,) = host.take()
    return segment


def sender(host: Host) -> tuple[Connection, Peer]:
    c, peer, _ = client(host)
    return c, peer

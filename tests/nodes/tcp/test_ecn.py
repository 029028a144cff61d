"""Explicit congestion notification (RFC 3168 section 6.1), and every mark told exactly (RFC 8257 section 3)."""

from __future__ import annotations

import pytest

from nodes.base import causes
from nodes.base.clock import MILLISECOND
from nodes.packet.tcp import ACK, CWR, ECE, FIN, SYN, Segment
from nodes.tcp.connection import Connection

from .harness import HTTP, PEER, Host, Peer

MSS = 1460
CE = 3
ECT_0 = 2


def give(host: Host, segment: Segment) -> list[Segment]:
    host.tcp.on_segment(host.now, PEER, host.local, segment, 0, 0)
    return host.take()


def server(host: Host, flags: int = SYN | ECE | CWR, control: str = "newreno") -> tuple[Connection, Peer, Segment]:
    """A connection that the peer opens with such a SYN, and the SYN-ACK."""
    host.parameters.set("tcp_congestion_control", control)
    listener = host.tcp.listen(host.now, b"", HTTP, 16)
    peer = Peer(host, 5000, HTTP)
    (answer,) = give(host, peer.segment(flags, 0, mss=MSS))
    peer.irs = answer.seq
    give(host, peer.segment(ACK, 1, 1))
    c = listener.accept(host.now)
    assert c is not None
    return c, peer, answer


def client(host: Host, answer: int) -> tuple[Connection, Peer, Segment]:
    """A connection that we open and the peer grants with such flags; our SYN."""
    c = host.tcp.open(host.now, PEER, HTTP)
    peer = Peer(host, HTTP, c.local_port)
    (syn,) = host.take()
    peer.irs = syn.seq
    give(host, peer.segment(answer, 0, 1, mss=MSS))
    return c, peer, syn


@pytest.mark.parametrize(
    ("tcp_ecn", "flags", "granted"),
    [
        (2, SYN | ECE | CWR, True),
        (1, SYN | ECE | CWR, True),
        (0, SYN | ECE | CWR, False),
        (2, SYN, False),
        (2, SYN | ECE, False),
        (2, SYN | CWR, False),
    ],
)
def test_who_asks_is_granted(tcp_ecn: int, flags: int, granted: bool) -> None:
    """Section 6.1.1: an ECN-setup SYN has ECE and CWR, the SYN-ACK to it ECE alone; neither is ECT."""
    host = Host(tcp_ecn=tcp_ecn)
    c, _, answer = server(host, flags)
    assert answer.flags == SYN | ACK | (ECE if granted else 0)
    assert answer.ecn == 0
    c.send(host.now, b"x" * MSS)
    assert [segment.ecn for segment in host.take()] == [ECT_0 if granted else 0]
    assert ("ecn" in c.status(host.now).options) == granted
    assert "ecn_seen" not in c.status(host.now).options  # no marked packet has come


@pytest.mark.parametrize(
    ("answer", "agreed"),
    [(SYN | ACK | ECE, True), (SYN | ACK, False), (SYN | ACK | ECE | CWR, False), (SYN | ACK | CWR, False)],
)
def test_what_a_syn_ack_grants(answer: int, agreed: bool) -> None:
    """Section 6.1.1: one with both bits comes from a host that only reflects them."""
    host = Host(tcp_ecn=1)
    c, _, syn = client(host, answer)
    assert syn.flags == SYN | ECE | CWR
    c.send(host.now, b"x")
    assert [segment.ecn for segment in host.take()] == [ECT_0 if agreed else 0]


@pytest.mark.parametrize(("fallback", "flags"), [(1, SYN), (0, SYN | ECE | CWR)])
def test_a_syn_that_was_lost_is_sent_again_without(fallback: int, flags: int) -> None:
    """Section 6.1.1.1: perhaps somebody on the path drops it for its flags."""
    host = Host(tcp_ecn=1, tcp_ecn_fallback=fallback)
    host.tcp.open(host.now, PEER, HTTP)
    host.take()
    host.after(1100 * MILLISECOND)
    assert [segment.flags for segment in host.take()] == [flags]


@pytest.mark.rfc("9293", "SHLD-8")
def test_a_mark_is_echoed_until_cwr() -> None:
    """Section 6.1.3: every ACK has ECE from the mark on until a segment with CWR comes; a mark on that one counts."""
    host = Host(tcp_delack_ms=0)
    c, peer, _ = server(host)
    echoes = []
    at = 1
    for ecn, flags in ((ECT_0, 0), (CE, 0), (ECT_0, 0), (ECT_0, 0), (ECT_0, CWR), (ECT_0, 0), (CE, CWR), (ECT_0, 0)):
        (answer,) = give(host, peer.segment(ACK | flags, at, 1, b"x" * 100, ecn=ecn))
        echoes.append(bool(answer.flags & ECE))
        assert answer.ecn == 0  # section 6.1.4: pure ACKs are not ECT
        at += 100
    assert echoes == [False, True, True, True, False, False, True, True]
    assert "ecn_seen" in c.status(host.now).options
    assert c.status(host.now).ca_state == "Open"


@pytest.mark.rfc("9293", "SHLD-8")
def test_the_sender_halves_once_in_a_round_trip_and_tells() -> None:
    """Section 6.1.2: as for a loss, but nothing is sent again; CWR on the first new data; no second reduction before
    what was outstanding is acknowledged."""
    host = Host(tcp_ecn=1, tcp_congestion_control="newreno")
    c, peer, _ = client(host, SYN | ACK | ECE)
    c.send(host.now, b"x" * (40 * MSS))
    assert len(host.take()) == 10
    give(host, peer.segment(ACK | ECE, 1, 1 + MSS))
    status = c.status(host.now)
    # Half of nine, in whole segments.
    assert (status.snd_cwnd, status.snd_ssthresh, status.ca_state) == (4 * MSS, 4 * MSS, "CWR")
    sent = []
    for acked in range(2, 11):
        sent += give(host, peer.segment(ACK | ECE, 1, 1 + acked * MSS))
    assert [bool(segment.flags & CWR) for segment in sent] == [True] + [False] * (len(sent) - 1)
    assert c.status(host.now).total_retrans == 0
    assert [e["cause"] for e in host.sink.of("cwnd")].count(causes.ECN_ECHO) == 2  # the second by the last ACK
    assert host.counters.TcpExtTCPDeliveredCE == 10


def test_what_is_sent_again_is_not_marked() -> None:
    """Section 6.1.5. The reduction of a timeout is told by CWR as well (6.1.2)."""
    host = Host(tcp_ecn=1)
    c, peer, _ = client(host, SYN | ACK | ECE)
    c.send(host.now, b"x" * MSS)
    host.take()
    host.after(500 * MILLISECOND)
    assert {segment.ecn for segment in host.take()} == {0}
    give(host, peer.segment(ACK, 1, 1 + MSS))
    c.send(host.now, b"y")
    (new,) = host.take()
    assert (new.ecn, new.flags & CWR) == (ECT_0, CWR)
    c.close(host.now)
    assert [(segment.flags & FIN, segment.ecn) for segment in host.take()] == [(FIN, 0)]


def test_dctcp_asks_by_itself_and_echoes_every_mark() -> None:
    """RFC 8257 section 3.2: the ACK that is delayed says how what it acknowledges was marked."""
    host = Host(tcp_ecn=0, tcp_congestion_control="dctcp")
    host.tcp.open(host.now, PEER, HTTP)
    assert host.take()[0].flags == SYN | ECE | CWR
    host = Host(tcp_ecn=0)
    _c, peer, _ = server(host, control="dctcp")
    told = []
    at = 1
    for marked in (False, True, True, True, False, False, False, False):
        for answer in give(host, peer.segment(ACK, at, 1, b"x" * MSS, ecn=CE if marked else ECT_0)):
            told.append(((answer.ack - peer.iss - 1) // MSS, bool(answer.flags & ECE)))
        at += MSS
    host.after(50 * MILLISECOND)
    told += [((one.ack - peer.iss - 1) // MSS, bool(one.flags & ECE)) for one in host.take()]
    echo_of: dict[int, bool] = {}
    for upto, echo in told:
        for segment in range(len(echo_of), upto):
            echo_of[segment] = echo
    assert list(echo_of.values()) == [False, True, True, True, False, False, False, False]

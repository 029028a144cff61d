"""What a sender believes of the feedback it gets, and does about it (RFC 9768 sections 3.2.2.5.2 and 3.2.3.2)."""

from __future__ import annotations

import pytest

from nodes.base import causes
from nodes.base.clock import SECOND
from nodes.packet.tcp import ACK, CWR, SYN, AccEcnOption

from .accecn_scenes import ASKS, MSS, ace, client, flags, give, sender, sends
from .harness import HTTP, Host, Peer


@pytest.mark.parametrize("marks", [[1, 0, 1, 1], [3, 7], [0, 0], [7, 7, 7, 7]])
def test_marks_are_counted_across_the_wrap(marks: list[int]) -> None:
    """An ACK of up to seven segments says exactly how many were marked."""
    host = Host(tcp_ecn=3)
    c, peer = sender(host)
    size = c.status(host.now).snd_mss
    acked = 1
    total = 0
    for count in marks:
        c.send(host.now, b"x" * (size * max(count, 1)))
        while c.status(host.now).unacked < size * max(count, 1):
            host.after(SECOND)  # a window that marks have made small
            break
        sent = c.status(host.now).unacked
        acked += sent
        total += count
        give(host, peer.segment(ACK | flags((5 + total) % 8), 1, acked))
        while c.status(host.now).unacked:
            acked += c.status(host.now).unacked
            give(host, peer.segment(ACK | flags((5 + total) % 8), 1, acked))
    assert c.status(host.now).delivered_ce_segs == total == host.counters.TcpExtTCPDeliveredCE


@pytest.mark.rfc("9768", "3.1.5-14")
def test_marks_halve_the_window_once_in_a_round_trip_and_nothing_says_cwr() -> None:
    """As an echo of RFC 3168 does, but there is no CWR to stop it: ACE has the same bit, and is a counter."""
    host = Host(tcp_ecn=3, tcp_congestion_control="newreno")
    c, peer = sender(host)
    size = c.status(host.now).snd_mss
    c.send(host.now, b"x" * (40 * size))
    assert len(host.take()) == 10
    give(host, peer.segment(ACK | flags(6), 1, 1 + size))
    status = c.status(host.now)
    assert (status.snd_cwnd, status.ca_state, status.delivered_ce_segs) == (4 * size, "CWR", 1)
    sent = []
    for acked in range(2, 10):
        sent += give(host, peer.segment(ACK | flags((5 + acked) % 8), 1, 1 + acked * size))
    assert c.status(host.now).delivered_ce_segs == 9
    assert [e["cause"] for e in host.sink.of("cwnd")].count(causes.ECN_ECHO) == 1
    assert {ace(segment) for segment in sent} == {5}


@pytest.mark.parametrize(("tcp_abe", "window"), [(0, 5), (1, 8)])
def test_abe_counts_a_mark_for_less(tcp_abe: int, window: int) -> None:
    """RFC 8511 for Reno: 0.8 instead of a half, in congestion avoidance."""
    host = Host(tcp_ecn=3, tcp_congestion_control="newreno", tcp_abe=tcp_abe)
    c, peer = sender(host)
    size = c.status(host.now).snd_mss
    c.congestion.ssthresh = 10 * size
    c.send(host.now, b"x" * (40 * size))
    host.take()
    give(host, peer.segment(ACK | flags(6), 1, 1))  # nothing new: it counts for nothing
    assert c.status(host.now).delivered_ce_segs == 0
    give(host, peer.segment(ACK | flags(6), 1, 1 + size, sack=()))
    assert c.status(host.now).snd_ssthresh // size == pytest.approx(window, abs=1)


def test_dctcp_takes_the_share_that_was_marked() -> None:
    """RFC 8257 section 3.3 with feedback that needs no ACK of its own for each change: of eight segments acknowledged
    by one ACK three were marked."""
    host = Host(tcp_ecn=3, tcp_congestion_control="dctcp")
    c, peer = sender(host)
    size = c.status(host.now).snd_mss
    c.send(host.now, b"x" * (30 * size))
    host.take()
    give(host, peer.segment(ACK | flags(5), 1, 1 + 2 * size))
    before = c.congestion.alpha  # type: ignore[attr-defined]
    give(host, peer.segment(ACK | flags((5 + 3) % 8), 1, 1 + 8 * size))
    give(host, peer.segment(ACK | flags((5 + 3) % 8), 1, 1 + 10 * size))
    give(host, peer.segment(ACK | flags((5 + 3) % 8), 1, 1 + 12 * size))
    alpha = c.congestion.alpha  # type: ignore[attr-defined]
    # One round trip ends within: 15/16 of what alpha was and 1/16 of the share, 3 of at most 12 and at least 6.
    assert before * 15 // 16 + 1024 // 16 * 3 // 12 - 2 <= alpha <= before * 15 // 16 + 1024 // 16 * 3 // 6 + 2
    assert c.status(host.now).delivered_ce_segs == 3


@pytest.mark.rfc("9768", "3.2.2.5.2-1", "3.2.3.2.3-1", "3.2.3.2.4-1", "3.2.3.2.5-1")
@pytest.mark.parametrize(
    ("step", "told", "option", "counted"),
    [
        (10, 0, None, 8),  # it may have wrapped once, as ACKs were lost
        (10, 2, None, 10),
        (10, 3, None, 3),  # 11 marks of 10 segments there cannot be
        (7, 0, None, 0),  # so few cannot wrap it
        (10, 0, 0, 0),  # the option says that nothing was
        (10, 2, 2, 2),
        (10, 2, 10, 10),
        (10, 2, 6, 10),  # more bytes than two segments have
    ],
)
def test_an_ack_of_many_segments_counts_what_is_likely_and_safe(
    step: int, told: int, option: int | None, counted: int
) -> None:
    """Section 3.2.2.5.2 and appendix A.2. `option` has so many segments' bytes; `told` is the step of ACE."""
    host = Host(tcp_ecn=3)
    c, peer = sender(host)
    size = c.status(host.now).snd_mss
    c.send(host.now, b"x" * (60 * size))
    acked = 0
    for _ in range(10):  # a peer that acknowledges every second segment
        acked += 2
        give(host, peer.segment(ACK | flags(5), 1, 1 + acked * size))
    fields = None if option is None else AccEcnOption(0, (1 + (step - option) * size + acked * size, option * size, 1))
    give(host, peer.segment(ACK | flags((5 + told) % 8), 1, 1 + (acked + step) * size, accecn=fields))
    assert c.status(host.now).delivered_ce_segs == counted


def test_a_peer_that_always_acknowledges_many_is_believed() -> None:
    """Appendix A.2.1: the size of a step tells nothing of lost ACKs where it is always so."""
    host = Host(tcp_ecn=3, tcp_wmem="4096 1000000 4194304", tcp_initial_cwnd=100)
    c, peer, _ = client(host)
    size = c.status(host.now).snd_mss
    c.send(host.now, b"x" * (40 * size))
    for acked in range(10, 41, 10):
        give(host, peer.segment(ACK | flags(5), 1, 1 + min(acked, c.status(host.now).unacked // size + acked) * size))
    assert c.status(host.now).delivered_ce_segs == 0


@pytest.mark.parametrize("stamps", [True, False])
def test_an_ack_that_may_be_old_counts_for_nothing(stamps: bool) -> None:
    """Section 3.2.2.2: without news of data only a later timestamp shows that it is no old one."""
    host = Host(tcp_ecn=3)
    listener = host.tcp.listen(0, b"", HTTP, 16)
    peer = Peer(host, 5000, HTTP)
    if stamps:
        peer.tsval = 100
    (answer,) = give(host, peer.segment(SYN | ASKS, 0, mss=MSS, sack_permitted=True))
    peer.irs = answer.seq
    peer.tsecr = max(answer.tsval, 0)
    give(host, peer.segment(ACK | CWR, 1, 1))
    c = listener.accept(0)
    assert c is not None
    if stamps:
        peer.tsval = 101
    give(host, peer.segment(ACK | flags(6), 1, 1))
    assert c.status(0).delivered_ce_segs == int(stamps)
    give(host, peer.segment(ACK | flags(7), 1, 1))
    assert c.status(0).delivered_ce_segs == int(stamps)


def test_an_old_ack_counts_for_nothing() -> None:
    host = Host(tcp_ecn=3)
    c, peer = sender(host)
    size = c.status(host.now).snd_mss
    c.send(host.now, b"x" * (10 * size))
    give(host, peer.segment(ACK | flags(7), 1, 1 + 4 * size))
    give(host, peer.segment(ACK | flags(6), 1, 1 + 2 * size))
    assert c.status(host.now).delivered_ce_segs == 2
    give(host, peer.segment(ACK | flags(7), 1, 1 + 6 * size))
    assert c.status(host.now).delivered_ce_segs == 2


@pytest.mark.rfc("9768", "3.2.2.5.2-2")
def test_more_marks_than_segments_acknowledged_are_believed() -> None:
    """ACKs of ours were marked, or an ACK of the peer's was lost."""
    host = Host(tcp_ecn=3)
    c, peer = sender(host)
    first = sends(host, c)
    give(host, peer.segment(ACK | flags((5 + 6) % 8), 1, 1 + len(first.payload)))
    assert c.status(host.now).delivered_ce_segs == 6

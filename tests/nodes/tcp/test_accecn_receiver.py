"""How a receiver counts what comes, and tells it (RFC 9768 sections 3.2.2 and 3.2.3)."""

from __future__ import annotations

import itertools

import pytest

from nodes.base.clock import SECOND
from nodes.packet.tcp import ACK, CE, CWR, ECT_0, ECT_1, NOT_ECT, SYN

from .accecn_scenes import ASKS, FRESH, MSS, ace, flags, give, server
from .harness import HTTP, Host, Peer, Wire


@pytest.mark.rfc("9768", "3.2-1", "3.2-2", "3.2-3", "3.1.5-15", "3.2.2-1", "3.2.2-2", "3.2.3-1", "3.2.3-2", "3.2.3.1-1")
@pytest.mark.rfc("9768", "3.2.3.3-3", "3.2.3.3-4", "3.2.3.3-6", "3.2.3.3-7", "3.2.3.3-8", "3.2.3.3-9")
@pytest.mark.parametrize("profile", ["linux", "rfc"])
def test_every_segment_tells_what_came(profile: str) -> None:
    """Packets with CE in ACE, from 5 and modulo 8; bytes by codepoint in the option, of 24 bits."""
    host = Host(profile, tcp_ecn=3, tcp_delack_ms=0)
    _, peer, _ = server(host)
    marked = 0
    counted = {ECT_0: 0, CE: 0, ECT_1: 0}
    at = 1
    for came in (ECT_0, CE, CE, ECT_1, CE, NOT_ECT, CE, CE, ECT_0, CE, CE, CE, CE, CE):
        (answer,) = give(host, peer.segment(ACK | flags(5), at, 1, b"x" * 100, ecn=came))
        at += 100
        marked += came == CE
        if came:
            counted[came] += 100
        assert ace(answer) == (5 + marked) % 8
        assert answer.accecn is not None
        order = (ECT_0, CE, ECT_1) if answer.accecn.order == 0 else (ECT_1, CE, ECT_0)
        assert answer.accecn.fields == tuple(counted[one] + (one != CE) for one in order)
    status = host.tcp.connections[1].status(host.now)
    assert (status.received_ce, status.received_e0_bytes, status.received_ce_bytes, status.received_e1_bytes) == (
        marked,
        counted[ECT_0],
        counted[CE],
        counted[ECT_1],
    )


def test_byte_counters_wrap_at_24_bits() -> None:
    host = Host(tcp_ecn=3, tcp_rmem="4096 65536 1048576")
    c, peer, _ = server(host)
    size = 8192
    last = None
    for at in range(0, (1 << 24) + 10 * size, size):
        for answer in give(host, peer.segment(ACK | flags(5), at + 1, 1, b"x" * size, ecn=ECT_0)):
            if answer.accecn is not None:
                last = (answer.ack - peer.iss - 1, answer.accecn.fields[2])
        c.receive(host.now, 1 << 20)
    assert last is not None
    assert last[0] > 1 << 24
    assert last[1] == (last[0] + 1) % (1 << 24)


@pytest.mark.rfc("9768", "3.2.2.5.1-1")
def test_the_first_mark_and_the_end_of_marks_are_acknowledged_at_once() -> None:
    """Section 3.2.2.5.1, change-triggered ACKs; Linux sends one for any change."""
    host = Host("rfc", tcp_ecn=3)
    _, peer, _ = server(host)
    at = 1
    answered = []
    for came in (NOT_ECT, ECT_0, ECT_0, CE, ECT_0, CE):
        host.after(SECOND)
        host.take()
        answered.append([one.flags & ACK for one in give(host, peer.segment(ACK | flags(5), at, 1, b"x", ecn=came))])
        at += 1
    assert answered == [[], [ACK], [], [ACK], [ACK], [ACK]]


@pytest.mark.rfc("9768", "3.2.2.5.1-2", "3.2.2.5.1-3", "3.2.2.5.1-6")
def test_every_second_mark_on_data_is_acknowledged_at_once() -> None:
    host = Host("rfc", tcp_ecn=3)
    _, peer, _ = server(host)
    answers = [give(host, peer.segment(ACK | flags(5), 1 + n, 1, b"x", ecn=CE)) for n in range(7)]
    assert [len(one) for one in answers] == [1, 0, 1, 0, 1, 0, 1]


@pytest.mark.rfc("9768", "3.2.2.5.1-4", "3.2.2.5.1-5", "3.2.2.5.1-8", "3.2.2.5.1-9")
@pytest.mark.parametrize("sack", [True, False])
def test_every_third_mark_on_acks_is_told_where_sack_shows_that_it_is_no_duplicate(sack: bool) -> None:
    host = Host(tcp_ecn=3, tcp_sack=int(sack))
    _, peer, _ = server(host)
    answers = [give(host, peer.segment(ACK | flags(5), 1, 1, ecn=CE)) for _ in range(9)]
    assert [len(one) for one in answers] == ([0, 0, 1] * 3 if sack else [0] * 9)
    assert all(not one.sack and not one.payload for one in itertools.chain(*answers))


@pytest.mark.rfc("9768", "3.2.3.3-1")
@pytest.mark.parametrize("timestamps", [0, 1])
def test_full_segments_leave_room_for_the_option(timestamps: int) -> None:
    """With it they are as large as the path takes, not larger."""
    wire = Wire(tcp_ecn=3, tcp_timestamps=timestamps)
    c, s = wire.connect()
    c.send(wire.now, b"x" * 100_000)
    wire.run(wire.now + SECOND, until=lambda: s.buffered > 50_000)
    sizes = {len(segment.payload) + 12 for _, end, segment in wire.log if end == "a" and segment.accecn is not None}
    assert max(sizes) == 1460 - 12 * timestamps
    assert c.status(wire.now).snd_mss == 1460 - 12 * timestamps - 12


@pytest.mark.rfc("9768", "3.2.3.3-2", "3.2.3.3-5", "3.1.1-7", "3.1.1-8")
def test_two_sack_blocks_go_before_the_option() -> None:
    """With timestamps two blocks leave 8 bytes: two fields. What has changed may need three: then there is none."""
    host = Host(tcp_ecn=3)
    listener = host.tcp.listen(0, b"", HTTP, 16)
    peer = Peer(host, 5000, HTTP)
    peer.tsval = 1
    (answer,) = give(host, peer.segment(SYN | ASKS, 0, mss=MSS, sack_permitted=True))
    peer.irs = answer.seq
    peer.tsecr = max(answer.tsval, 0)
    give(host, peer.segment(ACK | CWR, 1, 1, accecn=FRESH, ecn=ECT_1))
    assert listener.accept(0) is not None
    answers = []
    for at, came in ((101, ECT_1), (301, CE), (501, ECT_1), (701, ECT_0), (701, ECT_0)):
        answers += give(host, peer.segment(ACK | flags(5), at, 1, b"x" * 100, ecn=came))
    told = [(len(answer.sack), None if answer.accecn is None else len(answer.accecn.fields)) for answer in answers]
    assert told == [(1, 3), (2, 2), (2, 2), (3, None), (3, None)]  # the last has a D-SACK among them


@pytest.mark.rfc("9768", "3.2.3.3-10")
def test_every_counter_is_told_in_four_megabytes() -> None:
    """Where the option goes only with news, no byte counter can wrap twice unseen."""
    host = Host(tcp_ecn=3, tcp_ecn_option=1, tcp_ecn_option_beacon=0)
    c, peer, _ = server(host)
    size = 8192
    at = 1
    gaps = [0]
    while at < 1 << 24:
        answers = give(host, peer.segment(ACK | flags(5), at, 1, b"x" * size, ecn=ECT_0))
        at += size
        c.receive(host.now, 1 << 20)
        if any(answer.accecn is not None for answer in answers):
            gaps.append(at)
    assert 1 << 21 < max(b - a for a, b in itertools.pairwise(gaps)) <= 1 << 22

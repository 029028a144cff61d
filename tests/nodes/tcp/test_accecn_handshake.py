"""AccECN is agreed on in the handshake (RFC 9768 section 3.1)."""

from __future__ import annotations

import pytest

from nodes.base import causes
from nodes.base.clock import SECOND
from nodes.packet.tcp import ACK, AE, CE, CWR, ECE, ECT_0, ECT_1, NOT_ECT, RST, SYN, AccEcnOption, Segment
from nodes.packet.tcp_codec import decode_tcp, encode_tcp

from .accecn_scenes import ASKS, FLAGS, FRESH, MSS, TELLS, ace, client, flags, give, mode, sends, server
from .harness import HERE, HTTP, PEER, Host, Peer, Wire


@pytest.mark.rfc("9768", "3.1.1-1", "3.1.1-5", "3.1.1-6", "3.1.2-1", "3.1.2-2", "3.1.2-6", "3.1.3-3", "3.1.5-11")
@pytest.mark.parametrize(
    ("answer", "agreed"),
    [
        (CWR, "accurate"),
        (CWR | ECE, "accurate"),
        (AE, "accurate"),
        (AE | CWR, "accurate"),
        (AE | ECE, "accurate"),  # reserved: as if nothing had been changed
        (ECE, "classic"),
        (0, "none"),
        (AE | CWR | ECE, "none"),  # broken: it only reflects
    ],
)
def test_what_a_syn_ack_makes_of_it(answer: int, agreed: str) -> None:
    """Table 2, and section 3.1.3 for what it leaves open."""
    host = Host(tcp_ecn=3)
    c, _, (syn, _) = client(host, answer)
    assert (syn.flags, syn.ecn, syn.accecn) == (SYN | ASKS, NOT_ECT, None)
    assert mode(c) == agreed
    mangled = answer in (CWR | ECE, AE, AE | CWR)  # we sent it as not ECN-capable
    assert sends(host, c).ecn == (NOT_ECT if agreed == "none" or mangled else ECT_0)


@pytest.mark.rfc("9768", "3.1.1-2", "3.1.1-4", "3.1.2-3", "3.1.2-4", "3.1.2-5", "3.1.3-1", "3.1.3-4", "3.1.5-10")
@pytest.mark.parametrize("tcp_ecn", range(6))
def test_what_a_syn_is_granted(tcp_ecn: int) -> None:
    """Table 2; whatever combination is none of the three that are known asks for AccECN (section 3.1.3)."""
    for asked in (flags(number) for number in range(8)):
        host = Host(tcp_ecn=tcp_ecn)
        c, _, answer = server(host, asked, accept=False)
        if tcp_ecn >= 3 and asked not in (0, ECE | CWR):
            expected, agreed = CWR, "accurate"
        elif tcp_ecn and asked & (ECE | CWR) == ECE | CWR:
            expected, agreed = ECE, "classic"
        else:
            expected, agreed = 0, "none"
        assert (answer.flags & FLAGS, mode(c)) == (expected, agreed)


@pytest.mark.parametrize(("tcp_ecn", "asked"), [(0, 0), (1, ECE | CWR), (2, 0), (3, ASKS), (4, ECE | CWR), (5, 0)])
@pytest.mark.rfc("9768", "3.1.3-2")
def test_what_each_value_of_the_knob_asks_for(tcp_ecn: int, asked: int) -> None:
    host = Host(tcp_ecn=tcp_ecn)
    host.tcp.open(host.now, PEER, HTTP)
    assert [segment.flags for segment in host.take()] == [SYN | asked]


@pytest.mark.rfc("9768", "3.1.1-3", "3.2.2.2-2", "3.2.2.3-3", "3.2.2.3-4")
@pytest.mark.parametrize("came", TELLS)
def test_the_syn_ack_tells_how_the_syn_came(came: int) -> None:
    """And a mark on the SYN is told so, not counted: the counter stays at 5."""
    host = Host(tcp_ecn=3)
    c, _, answer = server(host, came=came)
    assert answer.flags & FLAGS == TELLS[came]
    assert answer.ecn == NOT_ECT
    assert ace(sends(host, c)) == 5


@pytest.mark.rfc("9768", "3.2.2.1-1", "3.2.2.1-2", "3.2.2.2-4", "3.2.2.2-1")
@pytest.mark.parametrize("came", TELLS)
@pytest.mark.parametrize("data", [b"", b"x" * 100])
def test_an_ack_without_data_tells_how_the_syn_ack_came(came: int, data: bytes) -> None:
    """Table 3. It goes before data that waits."""
    host = Host(tcp_ecn=3)
    c, _, (_, first, *rest) = client(host, came=came, data=data)
    assert (first.flags & FLAGS, first.payload) == (TELLS[came], b"")
    rest = rest or [sends(host, c)]
    assert [ace(segment) for segment in rest] == [6 if came == CE else 5]


@pytest.mark.rfc("9768", "3.2.2.1-3", "3.1.5-7", "3.1.5-2", "3.2.2-3")
def test_the_ack_of_a_repeated_syn_ack_tells_how_that_came() -> None:
    """However many come marked, one is counted. Its flags change nothing any more."""
    host = Host(tcp_ecn=3, tcp_invalid_ratelimit=0)
    c, peer, _ = client(host)
    for came, told in ((ECT_0, AE), (CE, AE | CWR), (CE, AE | CWR), (NOT_ECT, CWR)):
        (again,) = give(host, peer.segment(SYN | ACK | ECE, 0, 1, mss=MSS, sack_permitted=True, ecn=came))
        assert (again.flags & FLAGS, again.payload) == (told, b"")
    assert ace(sends(host, c)) == 6
    assert mode(c) == "accurate"


@pytest.mark.rfc("9768", "3.2.2.1-4", "3.2.2.1-5", "3.2.2.1-6", "3.2.2.1-7", "3.2.2.1-8", "3.2.2.2-5")
@pytest.mark.parametrize("number", range(8))
def test_what_the_third_ack_tells_a_server(number: int) -> None:
    """Table 4: 0 means that feedback does not work, so nothing is sent as ECN-capable and no mark is believed; anything
    but "not ECT" that the SYN-ACK was changed on the way."""
    host = Host(tcp_ecn=3)
    c, peer, _ = server(host, third=flags(number))
    counted = 1 if number == 0b110 else 0
    sent = sends(host, c)
    assert sent.ecn == (NOT_ECT if number in (0, 0b011, 0b100, 0b110) else ECT_0)
    give(host, peer.segment(ACK | flags(5 + counted + 1), 1, 101))
    status = c.status(host.now)
    assert status.delivered_ce_segs == (0 if number == 0 else 1)
    # As receiver it goes on.
    (answer,) = give(host, peer.segment(ACK | flags(5), 1, 101, b"x", ecn=CE))
    assert ace(answer) == 6


@pytest.mark.parametrize(("side", "window"), [("client", 1), ("server", 1), ("", 10)])
def test_a_mark_in_the_handshake_is_congestion(side: str, window: int) -> None:
    """Section 3.2.2.2 wants the usual response; what that is for the first window RFC 5562 section 3.2 says."""
    host = Host(tcp_ecn=3)
    if side == "client":
        c, _, _ = client(host, AE | CWR)
    else:
        c, _, _ = server(host, third=AE | CWR if side else CWR)
    assert c.status(host.now).snd_cwnd == window * c.status(host.now).snd_mss


@pytest.mark.rfc("9768", "3.1.4.1-1", "3.1.4.1-2", "3.1.4.1-3", "3.1.5-3")
def test_a_lost_syn_asks_once_more_and_then_not() -> None:
    host = Host(tcp_ecn=3)
    host.tcp.open(host.now, PEER, HTTP)
    syns = host.take()
    host.after(8 * SECOND)
    syns += host.take()
    assert [segment.flags & FLAGS for segment in syns[:4]] == [ASKS, ASKS, 0, 0]
    assert len({segment.seq for segment in syns}) == 1


def test_without_fall_back_every_syn_asks() -> None:
    host = Host(tcp_ecn=3, tcp_ecn_fallback=0)
    host.tcp.open(host.now, PEER, HTTP)
    host.after(8 * SECOND)
    assert {segment.flags & FLAGS for segment in host.take()} == {ASKS}


@pytest.mark.rfc("9768", "3.1.5-1")
def test_a_grant_to_the_first_syn_counts_after_a_syn_that_did_not_ask() -> None:
    """Section 3.1.4.1: the mode is that of the first SYN-ACK, and a client may still send ECT."""
    host = Host(tcp_ecn=3)
    c = host.tcp.open(host.now, PEER, HTTP)
    host.after(5 * SECOND)
    syns = host.take()
    assert syns[-1].flags & FLAGS == 0
    peer = Peer(host, HTTP, c.local_port)
    peer.irs = syns[0].seq
    give(host, peer.segment(SYN | ACK | CWR, 0, 1, mss=MSS, sack_permitted=True))
    assert mode(c) == "accurate"
    assert sends(host, c).ecn == ECT_0


@pytest.mark.rfc("9768", "3.2.3.2.2-1", "3.2.3.2.2-2", "3.1.5-13", "3.1.5-4")
@pytest.mark.parametrize("timeouts", [0, 1, 2])
def test_a_lost_syn_ack_goes_without_option_and_then_without_flags(timeouts: int) -> None:
    """After that the server may not send ECT, for it cannot know what the client thinks (section 3.1.5)."""
    host = Host(tcp_ecn=3)
    listener = host.tcp.listen(host.now, b"", HTTP, 16)
    peer = Peer(host, 5000, HTTP)
    answers = give(host, peer.segment(SYN | ASKS, 0, mss=MSS, sack_permitted=True))
    for n in range(timeouts):
        host.after((1 << n) * SECOND)
        answers += host.take()
    told = [(answer.flags & FLAGS, answer.accecn is not None) for answer in answers]
    assert told == [(CWR, True), (CWR, False), (0, False)][: timeouts + 1]
    peer.irs = answers[0].seq
    give(host, peer.segment(ACK | CWR, 1, 1, accecn=FRESH))
    c = listener.accept(host.now)
    assert c is not None
    assert mode(c) == "accurate"
    assert sends(host, c).ecn == (NOT_ECT if timeouts == 2 else ECT_0)


@pytest.mark.rfc("9768", "3.1.5-8", "3.1.5-7", "3.1.5-13")
def test_a_syn_that_comes_again_without_flags() -> None:
    """It is answered by what was agreed, telling how this one came; but ECT is not sent any more."""
    host = Host(tcp_ecn=3)
    c, peer, _ = server(host, accept=False)
    (again,) = give(host, peer.segment(SYN, 0, mss=MSS, sack_permitted=True, ecn=ECT_1))
    assert again.flags & FLAGS == TELLS[ECT_1]
    assert again.accecn is None
    give(host, peer.segment(ACK | CWR, 1, 1, accecn=FRESH))
    assert mode(c) == "accurate"
    assert sends(host, c).ecn == NOT_ECT


@pytest.mark.rfc("9768", "3.1.5-5")
@pytest.mark.parametrize(("first", "second"), [(ASKS, CWR | ECE), (CWR | ECE, ASKS)])
def test_syns_that_ask_for_both_kinds_are_reset(first: int, second: int) -> None:
    host = Host(tcp_ecn=3)
    _, peer, _ = server(host, first, accept=False)
    (answer,) = give(host, peer.segment(SYN | second, 0, mss=MSS))
    assert answer.flags & RST
    assert [e["cause"] for e in host.sink.of("reset")] == [causes.ECN_MIXED]


@pytest.mark.rfc("9768", "3.1.5-9")
def test_who_did_not_ask_at_first_gets_nothing_later() -> None:
    host = Host(tcp_ecn=3)
    c, peer, _ = server(host, 0, accept=False)
    (again,) = give(host, peer.segment(SYN | ASKS, 0, mss=MSS))
    assert again.flags & FLAGS == 0
    assert mode(c) == "none"


@pytest.mark.rfc("9768", "3.1.2-7", "3.1.2-8")
def test_a_simultaneous_open_is_as_if_both_had_answered() -> None:
    host = Host(tcp_ecn=3)
    c = host.tcp.open(host.now, PEER, HTTP)
    (syn,) = host.take()
    peer = Peer(host, HTTP, c.local_port)
    peer.irs = syn.seq
    (answer,) = give(host, peer.segment(SYN | ASKS, 0, mss=MSS, sack_permitted=True, ecn=ECT_0))
    assert answer.flags == SYN | ACK | AE
    assert mode(c) == "accurate"
    wire = Wire(tcp_ecn=3)
    a = wire.a.tcp.open(0, PEER, 5001, local_port=5000)
    b = wire.b.tcp.open(0, wire.a.local, 5000, local_port=5001)
    wire.run(SECOND)
    for one in (a, b):
        assert (mode(one), one.status(wire.now).accecn_fail_mode) == ("accurate", 0)


@pytest.mark.rfc("9768", "3.1.5-16")
def test_ect_alone_agrees_on_nothing() -> None:
    host = Host(tcp_ecn=3)
    c, peer, _ = server(host, 0, third=0, option=None)
    answers = give(host, peer.segment(ACK, 1, 1, b"x" * 100, ecn=CE))
    host.after(SECOND)
    (answer,) = answers + host.take()
    assert answer.flags & FLAGS == 0
    assert sends(host, c).ecn == NOT_ECT


@pytest.mark.parametrize("number", range(8))
def test_a_syn_cookie_comes_back_with_accecn(number: int) -> None:
    """Section 5.1: from 2 to 7 only who was granted AccECN has in the ACK of a SYN-ACK."""
    host = Host(tcp_ecn=3, tcp_syncookies=2)
    listener = host.tcp.listen(host.now, b"", HTTP, 16)
    peer = Peer(host, 5000, HTTP)
    (answer,) = give(host, peer.segment(SYN | ASKS, 0, mss=MSS))
    assert answer.flags & FLAGS == CWR
    assert not host.tcp.connections
    peer.irs = answer.seq
    give(host, peer.segment(ACK | flags(number), 1, 1))
    c = listener.accept(host.now)
    assert c is not None
    assert mode(c) == ("accurate" if number > 1 else "none")


@pytest.mark.rfc("9768", "3.2.2.2-3")
def test_a_mark_on_our_syn_is_not_counted() -> None:
    """The SYN-ACK tells it, and the server does not count it either: both go on from 5."""
    host = Host(tcp_ecn=3)
    c, peer, _ = client(host, AE | CWR)
    first = sends(host, c)
    give(host, peer.segment(ACK | flags(5), 1, 1 + len(first.payload)))
    assert c.status(host.now).delivered_ce_segs == 0


@pytest.mark.rfc("9768", "3.2.3.2.1-2")
def test_an_option_on_a_syn_is_not_read() -> None:
    syn = Segment(5000, HTTP, 9000, 0, SYN | ASKS, 65535, b"")
    syn.accecn = AccEcnOption(0, (0, 0, 0))
    encoded = encode_tcp(syn, PEER, HERE)
    assert b"\xac\x0b" in encoded
    assert decode_tcp(encoded).accecn is None

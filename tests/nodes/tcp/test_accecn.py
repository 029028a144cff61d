"""More accurate ECN feedback (RFC 9768)."""

from __future__ import annotations

import itertools

import pytest

from nodes.base import causes
from nodes.base.clock import MILLISECOND, SECOND
from nodes.packet.tcp import ACK, AE, CE, CWR, ECE, ECT_0, ECT_1, FIN, NOT_ECT, RST, SYN, AccEcnOption, Segment
from nodes.packet.tcp_codec import decode_tcp, encode_tcp
from nodes.tcp.connection import Connection

from .harness import HERE, HTTP, PEER, Host, Peer, Wire

MSS = 1460
ASKS = AE | CWR | ECE
FLAGS = AE | CWR | ECE
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


# The handshake.


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


# Counting what comes.


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


# Believing what is told.


def sender(host: Host) -> tuple[Connection, Peer]:
    c, peer, _ = client(host)
    return c, peer


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


# Mangling, bleaching, blocking.


@pytest.mark.rfc("9768", "3.2.2.3-1", "3.2.2.3-2")
@pytest.mark.parametrize(("fallback", "sent"), [(1, NOT_ECT), (0, ECT_0)])
def test_a_syn_that_was_changed_on_the_way_ends_ect_but_not_feedback(fallback: int, sent: int) -> None:
    host = Host(tcp_ecn=3, tcp_ecn_fallback=fallback)
    c, peer, _ = client(host, AE)
    first = sends(host, c)
    assert first.ecn == sent
    size = len(first.payload)
    give(host, peer.segment(ACK | flags(6), 1, 1 + size))
    assert c.status(host.now).delivered_ce_segs == 1  # still obeyed
    (answer,) = give(host, peer.segment(ACK | flags(6), 1, 1 + size, b"x", ecn=CE))
    assert ace(answer) == 6
    assert mode(c) == "accurate"
    mangled = [e for e in host.sink.of("ecn") if e["cause"] == causes.ECN_MANGLED]
    assert [e["sends_ect"] for e in mangled] == [0] * fallback


@pytest.mark.rfc("9768", "3.2.2.4-1", "3.2.2.4-2")
@pytest.mark.parametrize(("number", "believed"), [(0, False), (1, True), (3, True), (7, True)])
def test_a_counter_that_is_cleared_on_the_way(number: int, believed: bool) -> None:
    """It begins at 5, so that 0 cannot be when fewer than three packets could have been marked; whatever else it begins
    with is believed."""
    host = Host(tcp_ecn=3)
    c, peer = sender(host)
    first = sends(host, c)
    give(host, peer.segment(ACK | flags(number), 1, 1 + len(first.payload)))
    assert sends(host, c).ecn == (ECT_0 if believed else NOT_ECT)
    assert (c.status(host.now).delivered_ce_segs > 0) == believed
    (answer,) = give(host, peer.segment(ACK | flags(number), 1, 201, b"x", ecn=CE))
    assert ace(answer) == 6


@pytest.mark.rfc("9768", "3.2.3.2.4-2")
@pytest.mark.parametrize(
    ("fields", "seen"),
    [((1, 0, 1), 2), ((7, 0, 9), 2), ((0, 0, 1), 3), ((1, 0, 0), 3), ((), 1), ((5,), 2)],
)
@pytest.mark.parametrize("end", ["client", "server"])
def test_an_option_that_is_cleared_on_the_way_is_not_believed(fields: tuple[int, ...], seen: int, end: str) -> None:
    """Section 3.2.3.2.4. A counter may begin with anything but 0."""
    host = Host(tcp_ecn=3)
    option = AccEcnOption(0, fields)
    c, _, _ = client(host, option=option) if end == "client" else server(host, option=option)
    status = c.status(host.now)
    assert (status.accecn_opt_seen, status.accecn_fail_mode) == (seen, 8 if seen == 3 else 0)


@pytest.mark.rfc("9768", "3.2.3.2.5-2")
def test_marked_bytes_without_marked_packets_end_ect() -> None:
    host = Host(tcp_ecn=3)
    c, peer = sender(host)
    first = sends(host, c)
    size = len(first.payload)
    give(host, peer.segment(ACK | flags(5), 1, 1 + size, accecn=AccEcnOption(0, (1, size, 1))))
    assert sends(host, c).ecn == NOT_ECT


@pytest.mark.rfc("9768", "3.2.3-3", "3.2.3-4", "3.2.3-5")
def test_options_of_either_order_and_any_length_are_read() -> None:
    host = Host(tcp_ecn=3)
    c, peer = sender(host)
    c.send(host.now, b"x" * 400)
    host.take()
    marked = [
        (AccEcnOption(0, (101,)), (0, 100, 0)),
        (AccEcnOption(1, (1, 50, 151)), (0, 150, 50)),
        (AccEcnOption(1, (51, 50)), (50, 150, 50)),
        (AccEcnOption(0, ()), (50, 150, 50)),
    ]
    for n, (option, (e1, e0, ce)) in enumerate(marked, 1):
        give(host, peer.segment(ACK | flags(6 if ce else 5), 1, 1 + 100 * n, accecn=option))
        status = c.status(host.now)
        assert (status.delivered_e1_bytes, status.delivered_e0_bytes, status.delivered_ce_bytes) == (e1, e0, ce)


@pytest.mark.rfc("9768", "3.2.3.2.1-3", "3.2.3.2.1-4", "3.2.3.2.1-5", "3.2.3-6")
def test_the_option_is_tried_in_the_handshake_and_with_the_first_data() -> None:
    for host, sent in ((Host(tcp_ecn=3), "server"), (Host("rfc", tcp_ecn=3), "client")):
        if sent == "server":
            c, _, answer = server(host)
            assert answer.accecn == AccEcnOption(1, (1, 0, 1))
        else:
            c, _, (_, third) = client(host)
            assert third.accecn == AccEcnOption(0, (1, 0, 1))
        assert sends(host, c).accecn is not None


@pytest.mark.parametrize(("profile", "sent"), [("linux", False), ("rfc", True)])
def test_without_an_option_from_the_peer_linux_sends_none(profile: str, sent: bool) -> None:
    host = Host(profile, tcp_ecn=3)
    c, peer, (_, third) = client(host, option=None)
    assert (third.accecn is not None) == sent
    first = sends(host, c)
    assert (first.accecn is not None) == sent
    give(host, peer.segment(ACK | flags(5), 1, 1 + len(first.payload), accecn=AccEcnOption(0, (101, 0, 1))))
    assert sends(host, c).accecn is not None


@pytest.mark.rfc("9768", "3.2.3.2.2-4")
def test_first_data_that_is_lost_with_an_option_goes_again_without() -> None:
    host = Host(tcp_ecn=3, tcp_early_retrans=0)
    c, _ = sender(host)
    assert sends(host, c).accecn is not None
    host.after(SECOND)
    assert [segment.accecn for segment in host.take()] == [None, None]
    assert c.status(host.now).accecn_fail_mode == 4


@pytest.mark.rfc("9768", "3.2.3.2.2-5", "3.2.3.2.2-3")
def test_acks_that_do_not_arrive_go_without_option() -> None:
    """What is acknowledged comes again and again. Other data that comes twice, as over a path that duplicates, does not
    show that."""
    host = Host(tcp_ecn=3, tcp_invalid_ratelimit=0)
    _, peer, _ = server(host)
    told = []
    for at in (1, 1, 11, 11, 21, 21, 21, 21, 31):
        for answer in give(host, peer.segment(ACK | flags(5), at, 1, b"x" * 10, ecn=ECT_0)):
            told.append(answer.accecn is not None)
        host.after(50 * MILLISECOND)
        host.take()
    assert told[:5] == [True] * 5
    assert told[-3:] == [False] * 3


@pytest.mark.rfc("9768", "3.2.3.2.1-1")
@pytest.mark.parametrize("tcp_ecn_option", [0, 1, 2])
def test_what_the_knob_of_the_option_does(tcp_ecn_option: int) -> None:
    """0: none; 1: with news, twice, and three times in a round trip without; 2: with every segment."""
    host = Host(tcp_ecn=3, tcp_ecn_option=tcp_ecn_option, tcp_ecn_option_beacon=0)
    listener = host.tcp.listen(host.now, b"", HTTP, 16)
    peer = Peer(host, 5000, HTTP)
    (answer,) = give(host, peer.segment(SYN | ASKS, 0, mss=MSS, sack_permitted=True))
    assert (answer.accecn is not None) == (tcp_ecn_option > 0)
    peer.irs = answer.seq
    give(host, peer.segment(ACK | CWR, 1, 1, accecn=FRESH, ecn=ECT_0))
    c = listener.accept(host.now)
    assert c is not None
    told = [sends(host, c, 10).accecn is not None for _ in range(4)]
    assert told == [[False] * 4, [True, True, False, False], [True] * 4][tcp_ecn_option]


def test_the_beacon_sends_the_option_so_many_times_in_a_round_trip() -> None:
    host = Host(tcp_ecn=3, tcp_ecn_option=1, tcp_ecn_option_beacon=3, tcp_delack_ms=0)
    c = host.tcp.open(host.now, PEER, HTTP)
    peer = Peer(host, HTTP, c.local_port)
    (syn,) = host.take()
    peer.irs = syn.seq
    host.after(90 * MILLISECOND)
    give(host, peer.segment(SYN | ACK | CWR, 0, 1, mss=MSS, sack_permitted=True, accecn=FRESH))
    told = []
    for n in range(19):
        (answer,) = give(host, peer.segment(ACK | flags(5), 1 + n, 1, b"x"))
        told.append(answer.accecn is not None)
        host.after(10 * MILLISECOND)
    # 90 ms: every 30, so every third of these.
    assert sum(told[4:16]) == 4


# Room.


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


# Both ends ours.


@pytest.mark.rfc("9768", "3.1.5-12")
@pytest.mark.parametrize("profile", ["linux", "rfc"])
@pytest.mark.parametrize("control", ["cubic", "reno", "dctcp", "bbr"])
def test_both_ends_count_the_same(profile: str, control: str) -> None:
    """Every eleventh data packet is marked and every ninth ACK lost; at the end both know the same, to the packet."""
    marked = 0
    seen = {"data": 0, "acks": 0}

    def fate(n: int, segment: Segment) -> list[int]:
        nonlocal marked
        if segment.payload:
            seen["data"] += 1
            if seen["data"] % 11 == 0 and segment.ecn:
                marked += 1
                segment.ecn = CE
        elif not segment.flags & (SYN | FIN):
            seen["acks"] += 1
            if seen["acks"] % 9 == 0:
                return []
        return [5 * MILLISECOND]

    wire = Wire(profile, fate=fate, tcp_ecn=3, tcp_congestion_control=control)
    c, s = wire.connect()
    size = 600_000
    left = size
    while s.bytes_received < size:
        if left and c.send_room > 0:
            left -= c.send(wire.now, b"x" * min(left, 50_000))
        if s.buffered:
            s.receive(wire.now, size)
        assert wire.step(60 * SECOND)
    wire.run(wire.now + SECOND)
    ours, theirs = c.status(wire.now), s.status(wire.now)
    assert marked > 20
    assert theirs.received_ce == marked
    assert ours.delivered_ce_segs == marked
    assert ours.delivered_ce_bytes == theirs.received_ce_bytes
    assert ours.delivered_e0_bytes == theirs.received_e0_bytes == size - theirs.received_ce_bytes
    assert ours.accecn_fail_mode == theirs.accecn_fail_mode == 0


def test_the_trace_has_marks_and_decisions() -> None:
    host = Host(tcp_ecn=3)
    c, peer = sender(host)
    first = sends(host, c)
    give(host, peer.segment(ACK | flags(6), 1, 1 + len(first.payload)))
    told = [(e["cause"], e["delivered_ce"], e["sends_ect"], e["sends_option"]) for e in host.sink.of("ecn")]
    assert told == [(causes.ECN_ACCURATE, 0, 1, 1), (causes.ECN_ECHO, 1, 1, 1)]


@pytest.mark.rfc("9768", "3.2.2.2-3")
def test_a_mark_on_our_syn_is_not_counted() -> None:
    """The SYN-ACK tells it, and the server does not count it either: both go on from 5."""
    host = Host(tcp_ecn=3)
    c, peer, _ = client(host, AE | CWR)
    first = sends(host, c)
    give(host, peer.segment(ACK | flags(5), 1, 1 + len(first.payload)))
    assert c.status(host.now).delivered_ce_segs == 0


@pytest.mark.rfc("9768", "3.2.2.5.2-2")
def test_more_marks_than_segments_acknowledged_are_believed() -> None:
    """ACKs of ours were marked, or an ACK of the peer's was lost."""
    host = Host(tcp_ecn=3)
    c, peer = sender(host)
    first = sends(host, c)
    give(host, peer.segment(ACK | flags((5 + 6) % 8), 1, 1 + len(first.payload)))
    assert c.status(host.now).delivered_ce_segs == 6


@pytest.mark.rfc("9768", "3.2.3.2.1-2")
def test_an_option_on_a_syn_is_not_read() -> None:
    syn = Segment(5000, HTTP, 9000, 0, SYN | ASKS, 65535, b"")
    syn.accecn = AccEcnOption(0, (0, 0, 0))
    encoded = encode_tcp(syn, PEER, HERE)
    assert b"\xac\x0b" in encoded
    assert decode_tcp(encoded).accecn is None

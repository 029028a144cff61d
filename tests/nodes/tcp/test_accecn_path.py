"""Paths that change, clear or drop what AccECN sends (RFC 9768 sections 3.2.2.3, 3.2.2.4 and 3.2.3.2)."""

from __future__ import annotations

import pytest

from nodes.base import causes
from nodes.base.clock import MILLISECOND, SECOND
from nodes.packet.tcp import ACK, AE, CE, CWR, ECT_0, NOT_ECT, SYN, AccEcnOption

from .accecn_scenes import ASKS, FRESH, MSS, ace, client, flags, give, mode, sender, sends, server
from .harness import HTTP, PEER, Host, Peer


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

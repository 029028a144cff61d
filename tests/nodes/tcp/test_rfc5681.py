"""Congestion control by RFC 5681, where test_retransmission.py leaves something to be shown."""

from __future__ import annotations

import pytest

from nodes.base.clock import MILLISECOND
from nodes.packet.tcp import ACK, FIN, PSH, SYN
from nodes.tcp import states

from . import scenes
from .harness import HTTP, PEER, Host, Peer, client, server
from .loss_scenes import MSS, opened, resent, sacked
from .test_sack import transfer


@pytest.mark.rfc("5681", "3.2-9", "3.2-10")
def test_further_duplicate_acks_inflate_the_window() -> None:
    host = Host(tcp_congestion_control="reno")
    c, peer = client(host)
    c.send(0, bytes(30 * MSS))
    peer.got()
    for _ in range(3):
        peer.send(ACK, 1, 1)
    window = c.congestion.cwnd
    assert window == c.congestion.ssthresh + 3 * MSS
    for more in range(1, 5):
        peer.send(ACK, 1, 1)
        assert c.congestion.cwnd == window + more * MSS


@pytest.mark.rfc("5681", "4.2-7")
@pytest.mark.parametrize("state", [states.ESTABLISHED, states.FIN_WAIT_1, states.FIN_WAIT_2])
def test_one_segment_is_answered_with_one_ack_at_most(state: int) -> None:
    _host, _c, peer, seq, ack = scenes.SCENES[state](Host())
    for flags, offset, size in (
        (ACK, 0, 1460),
        (ACK, 0, 1460),  # again
        (ACK, 2000, 1460),  # out of order
        (ACK | PSH, 1000, 3000),  # on both sides of what is there
        (ACK, 60_000, 10_000),  # beyond the window in part
        (ACK, 100_000, 10),  # and wholly
        (ACK, 1460, 540),
        (ACK | FIN, 4000, 10),
        (ACK | FIN, 4000, 10),
    ):
        assert len(peer.send(flags, seq + offset, ack, bytes(size))) <= 1


@pytest.mark.rfc("5681", "3.1-2")
@pytest.mark.parametrize(("mss", "segments"), [(536, 4), (1095, 4), (1096, 3), (2190, 3), (2191, 2), (8960, 2)])
def test_initial_window_by_the_size_of_segments(mss: int, segments: int) -> None:
    host = Host("rfc")
    host.network.mtu = 9000
    c, peer = client(host, mss=mss)
    c.send(0, bytes(10 * mss))
    assert [line.split("(")[1] for line in peer.got()] == [f"{mss}) ack 1"] * segments


@pytest.mark.rfc("5681", "3.1-3")
@pytest.mark.parametrize(("profile", "segments"), [("linux", 10), ("rfc", 3)])
def test_the_handshake_does_not_open_the_window(profile: str, segments: int) -> None:
    """Nor does it of the end that was waiting."""
    host = Host(profile)
    c, peer = server(host)
    c.send(0, bytes(30 * MSS))
    assert len(peer.got()) == segments


@pytest.mark.rfc("5681", "3.1-4")
@pytest.mark.parametrize(("lost", "segments"), [(1, 1), (0, 3)])
def test_the_initial_window_after_one_lost_syn(lost: int, segments: int) -> None:
    host = Host("rfc", tcp_timestamps=0)
    c = host.tcp.open(0, PEER, HTTP)
    peer = Peer(host, HTTP, c.local_port)
    peer.irs = c.iss
    host.after(lost * 1500 * MILLISECOND)
    host.take()
    peer.send(SYN | ACK, 0, 1, mss=MSS)
    c.send(host.now, bytes(20 * MSS))
    assert len(peer.got()) == segments


@pytest.mark.rfc("5681", "3.1-6")
@pytest.mark.parametrize("control", ["reno", "newreno", "tahoe", "cubic"])
def test_ssthresh_begins_above_every_window(control: str) -> None:
    c, _ = client(Host(tcp_congestion_control=control))
    assert c.status(0).snd_ssthresh >= 65_535 << 14


@pytest.mark.rfc("5681", "3.2-5", "3.2-11")
def test_duplicate_acks_and_the_window() -> None:
    """The first two leave it as it is. Then it is 5 + 3 segments with 12 in flight, so the fifth further one is the
    first that lets something new go."""
    host = Host(tcp_congestion_control="newreno")
    c, peer = client(host)
    c.send(0, bytes(30 * MSS))
    assert len(peer.got()) == 10
    for _ in range(2):
        assert len(peer.send(ACK, 1, 1)) == 1
        assert c.congestion.cwnd == 10 * MSS
    assert peer.send(ACK, 1, 1) == [resent(peer, 0)]
    answers = [peer.send(ACK, 1, 1) for _ in range(6)]
    assert answers[:4] == [[]] * 4
    assert answers[4:] == [[resent(peer, 12)], [resent(peer, 13)]]


@pytest.mark.rfc("5681", "3.2-6")
def test_with_sack_only_news_lets_new_data_go() -> None:
    host = Host()
    c, peer = opened(host)
    c.send(host.now, bytes(30 * MSS))
    assert len(peer.got()) == 10
    host.after(100 * MILLISECOND)
    for _ in range(5):
        assert peer.send(ACK, 1, 1) == []
    assert sacked(peer, 0, (1, 1)) == [resent(peer, 10)]
    assert sacked(peer, 0, (1, 1)) == []


@pytest.mark.rfc("5681", "4.3-3")
@pytest.mark.rfc("6675", "5-7")
@pytest.mark.rfc("8985", "9.3-2")
@pytest.mark.parametrize("recovery", [0, 1])
def test_half_of_the_flight_goes_in_the_round_trip_after_a_loss(recovery: int) -> None:
    """Twelve segments are outstanding when the loss shows. One ACK after the other tells of what is beyond it: with
    RFC 6937 there goes one segment for every two of them."""
    host = Host(tcp_recovery=recovery, tcp_congestion_control="newreno")
    c, peer = opened(host)
    c.send(host.now, bytes(40 * MSS))
    assert len(peer.got()) == 10
    host.after(100 * MILLISECOND)
    assert [len(sacked(peer, 0, (1, last))) for last in (1, 2)] == [1, 1]
    sent = [sacked(peer, 0, (1, last)) for last in range(3, 12)]
    assert sent[0] == [resent(peer, 0)]
    assert max(len(each) for each in sent) == 1
    assert 4 <= sum(len(each) for each in sent) <= 6


@pytest.mark.rfc("5681", "4.3-5")
def test_losses_in_two_windows_reduce_twice() -> None:
    """The second is of the window that follows the recovery."""
    wire, _ = transfer({30, 90}, 200, tcp_congestion_control="newreno", tcp_rmem=1 << 20)
    assert [one["entered"] for one in wire.a.sink.of("recovery")] == [1, 0, 1, 0]
    first, second = dict.fromkeys(one["ssthresh"] for one in wire.a.sink.of("cwnd") if one["ssthresh"] < 1 << 30)
    assert 2 * second <= first + 4 * MSS

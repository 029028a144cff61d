"""RFC 5681, 6675 and 8985: congestion control and loss recovery, where test_retransmission.py and test_sack.py leave
something to be shown."""

from __future__ import annotations

import pytest

from nodes.base.clock import MILLISECOND, SECOND
from nodes.packet.tcp import ACK, SYN
from nodes.tcp.connection import Connection

from .harness import HTTP, PEER, Host, Peer, client, server
from .test_requirements import MSS, opened, resent, sacked
from .test_sack import transfer


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


def burst(host: Host, segments: int) -> tuple[Connection, Peer]:
    c, peer = opened(host)
    c.send(host.now, bytes(segments * MSS))
    peer.got()
    host.after(100 * MILLISECOND)
    return c, peer


@pytest.mark.rfc("9438", "4.6-1", "4.6-2")
@pytest.mark.rfc("8985", "9.3-2")
def test_cubic_after_a_loss() -> None:
    """With the ACK that shows it ssthresh is 0.7 of the ten segments that the window had let go; cwnd follows in the
    round trip (PRR)."""
    host = Host(tcp_congestion_control="cubic")
    c, peer = opened(host)
    c.send(host.now, bytes(40 * MSS))
    peer.got()
    host.after(100 * MILLISECOND)
    for last in (1, 2, 3):
        sacked(peer, 0, (1, last))
    assert c.status(host.now).snd_ssthresh == 7 * MSS
    for last in range(4, 12):
        sacked(peer, 0, (1, last))
        assert c.congestion.cwnd <= 10 * MSS
    sacked(peer, (c.recover - c.iss) // MSS)
    assert c.status(host.now).snd_cwnd == 7 * MSS


@pytest.mark.rfc("6675", "4-5", "4-9")
@pytest.mark.parametrize("recovery", [0, 1])
def test_what_is_lost_goes_first_then_new_data_then_nothing(recovery: int) -> None:
    """Segment 0 of ten is lost, and two more wait to be sent for the first time."""
    host = Host(tcp_recovery=recovery, tcp_early_retrans=0)
    _, peer = burst(host, 12)
    sent: list[str] = []
    for last in range(1, 10):
        sent += sacked(peer, 0, (1, last))
    assert sorted(sent) == sorted([resent(peer, 0), resent(peer, 10), f"P{resent(peer, 11)}"])
    host.after(MILLISECOND)
    assert peer.got() == []


@pytest.mark.rfc("6675", "5-1")
@pytest.mark.rfc("8985", "4-2")
def test_an_ack_that_comes_late_still_tells() -> None:
    host = Host()
    c, peer = burst(host, 10)
    sacked(peer, 2, (4, 4))
    assert c.status(host.now).sacked == MSS
    sacked(peer, 1, (6, 7))
    assert c.status(host.now).sacked == 3 * MSS


@pytest.mark.rfc("6675", "5-5")
def test_what_arrived_beyond_a_recovery_is_known_after_it() -> None:
    """Segments 0 and 10 are lost; 11, sent during the recovery, has arrived when that ends."""
    host = Host()
    c, peer = burst(host, 30)
    for last in range(1, 10):
        sacked(peer, 0, (1, last))
    sacked(peer, 0, (1, 9), (13, 13))
    point = (c.recover - c.iss - 1) // MSS
    assert point < 13
    sacked(peer, point, (13, 13))
    assert [one["entered"] for one in host.sink.of("recovery")][:2] == [1, 0]
    assert c.status(host.now).sacked == MSS


@pytest.mark.rfc("6675", "5.1-3", "5.1-7")
def test_slow_start_after_a_timeout_sends_only_what_is_missing() -> None:
    """Segments 0 to 3 are lost, and so is the first retransmission of each; 4 to 9 have arrived."""
    host = Host(tcp_early_retrans=0)
    c, peer = burst(host, 10)
    sacked(peer, 0, (4, 9))
    host.after(5 * SECOND)
    assert host.counters.TcpExtTCPTimeouts >= 1
    peer.got()
    sent: list[str] = []
    for ack in (1, 2, 3, 10):
        sent += sacked(peer, ack, (4, 9)) if ack < 4 else sacked(peer, ack)
        host.after(50 * MILLISECOND)
    assert set(sent + peer.got()) <= {resent(peer, ordinal) for ordinal in range(1, 4)}
    assert not c.outstanding


@pytest.mark.rfc("8985", "3.3.2-1")
def test_three_small_segments_beyond_leave_no_doubt_either() -> None:
    """It is segments that count, not their bytes."""
    host = Host()
    c, peer = opened(host)
    c.set_option(host.now, "TCP_NODELAY", 1)
    for _ in range(5):
        c.send(host.now, b"0123456789")
    assert len(peer.got()) == 5
    host.after(100 * MILLISECOND)
    start = peer.irs + 1
    blocks = ((start + 10 & 0xFFFF_FFFF, start + 40 & 0xFFFF_FFFF),)
    assert peer.send(ACK, 1, 1, sack=blocks) == ["P. 1:11(10) ack 1"]


@pytest.mark.rfc("8985", "6.2-1")
def test_the_least_round_trip_is_forgotten_after_five_minutes() -> None:
    """The path has become ten times as long: what is late is then waited for a quarter of that."""
    host = Host()
    c, peer = opened(host, 10 * MILLISECOND)
    acked = 1

    def exchange() -> None:
        nonlocal acked
        c.send(host.now, b"x")
        acked += 1
        host.after(100 * MILLISECOND)
        peer.send(ACK, 1, acked)

    for _ in range(61):
        exchange()
        host.after(5 * SECOND)
    exchange()
    c.send(host.now, bytes(5 * MSS))
    peer.got()
    host.after(100 * MILLISECOND)
    start = peer.irs + acked + MSS
    peer.send(ACK, 1, acked, sack=((start & 0xFFFF_FFFF, start + MSS & 0xFFFF_FFFF),))
    host.after(25 * MILLISECOND - 1)
    assert peer.got() == []
    host.after(1)
    assert len(peer.got()) == 1


@pytest.mark.rfc("8985", "7.2-2")
def test_the_probe_waits_a_second_where_no_round_trip_is_known() -> None:
    """The SYN was sent twice, so its ACK tells nothing of the path."""
    host = Host(tcp_timestamps=0)
    c = host.tcp.open(0, PEER, HTTP)
    peer = Peer(host, HTTP, c.local_port)
    peer.irs = c.iss
    host.after(1500 * MILLISECOND)
    host.take()
    peer.send(SYN | ACK, 0, 1, mss=MSS, sack_permitted=True)
    c.send(host.now, bytes(2 * MSS))
    peer.got()
    host.after(SECOND - 1)
    assert peer.got() == []
    host.after(1)
    assert peer.got() == [f"P{resent(peer, 1)}"]


@pytest.mark.rfc("8985", "7.2-3")
@pytest.mark.parametrize(("segments", "after"), [(3, 200), (1, 300)])
def test_the_probe_waits_two_round_trips(segments: int, after: int) -> None:
    """A single segment may be acknowledged late, but it does not wait beyond the RTO: 100 ms and 200 ms here."""
    host = Host()
    c, peer = opened(host)
    c.send(host.now, bytes(segments * MSS))
    peer.got()
    host.after(after * MILLISECOND - 1)
    assert peer.got() == []
    host.after(1)
    assert peer.got()[0].endswith(resent(peer, segments - 1))


@pytest.mark.rfc("8985", "7.3-4")
def test_the_probe_is_new_data_where_there_is_some() -> None:
    """Ten segments are in flight and the window is full; the probe is the eleventh."""
    host = Host()
    c, peer = opened(host)
    c.send(host.now, bytes(20 * MSS))
    assert len(peer.got()) == 10
    host.after(200 * MILLISECOND)
    assert peer.got() == [resent(peer, 10)]


@pytest.mark.rfc("8985", "9.2")
@pytest.mark.parametrize(("recovery", "answers"), [(1, 0), (0, 1)])
def test_rack_does_not_count(recovery: int, answers: int) -> None:
    """Once reordering was seen, three segments beyond a hole are proof for RFC 6675, and none for RACK."""
    host = Host(tcp_recovery=recovery)
    c, peer = burst(host, 3)
    sacked(peer, 0, (1, 1))
    sacked(peer, 3)
    c.send(host.now, bytes(6 * MSS))
    peer.got()
    host.after(100 * MILLISECOND)
    assert [one for one in sacked(peer, 3, (4, 6)) if one == resent(peer, 3)] == [resent(peer, 3)] * answers


@pytest.mark.rfc("8985", "9.3-1")
def test_what_is_lost_waits_for_the_window() -> None:
    """Eight of ten are lost at once; as much goes as PRR lets, and the others when something arrives."""
    host = Host()
    _, peer = burst(host, 10)
    host.after(MILLISECOND)
    first = sacked(peer, 0, (8, 9))
    host.after(30 * MILLISECOND)
    first += peer.got()
    assert 1 <= len(first) <= 4
    assert first[0] == resent(peer, 0)
    assert sacked(peer, 1, (8, 9)) != []

"""RACK and tail loss probes (RFC 8985)."""

from __future__ import annotations

import pytest

from nodes.base.clock import MILLISECOND, SECOND
from nodes.packet.tcp import ACK, SYN, Segment

from .harness import HTTP, PEER, Host, Peer, Wire
from .loss_scenes import MSS, burst, opened, resent, sacked

MINUTE = 60 * SECOND


@pytest.mark.rfc("8985", "4-1")
def test_without_sack_no_probe() -> None:
    """The tail is lost: without SACK only the time-out tells."""
    host = Host()
    c, peer = opened(host, sack_permitted=False)
    c.send(host.now, bytes(2 * MSS))
    sent_at = host.now
    peer.got()
    host.after(c.rto - 1)
    assert peer.got() == []
    host.after(1)
    assert peer.got() == [resent(peer, 0)]
    assert host.now - sent_at == 300 * MILLISECOND  # SRTT, and 200 ms above it
    assert host.counters.TcpExtTCPLossProbes == 0


@pytest.mark.rfc("8985", "1", "3.3.2-2", "4-3", "6.2-2", "8")
@pytest.mark.rfc("2018", "5.1-1")
def test_a_segment_is_waited_for_a_quarter_of_a_round_trip() -> None:
    """Segment 1 has arrived before segment 0: it may be late by a quarter of the least round trip."""
    host = Host()
    c, peer = opened(host)
    c.send(host.now, bytes(5 * MSS))
    peer.got()
    host.after(100 * MILLISECOND)
    assert sacked(peer, 0, (1, 1)) == []
    host.after(25 * MILLISECOND - 1)
    assert peer.got() == []
    host.after(1)
    assert peer.got() == [resent(peer, 0)]


@pytest.mark.rfc("8985", "3.3.2-1")
def test_three_segments_beyond_leave_no_doubt() -> None:
    """No reordering was seen, so there is no waiting."""
    host = Host()
    c, peer = opened(host)
    c.send(host.now, bytes(5 * MSS))
    peer.got()
    host.after(100 * MILLISECOND)
    assert resent(peer, 0) in sacked(peer, 0, (1, 3))


@pytest.mark.rfc("8985", "3.3.2-3", "3.3.2-4", "3.3.2-5", "4-4")
@pytest.mark.parametrize(("told", "quarters"), [(1, 2), (2, 3), (6, 4)])
def test_what_came_twice_widens_the_window_up_to_a_round_trip(told: int, quarters: int) -> None:
    """Each D-SACK of what was sent again, once per round trip, adds a quarter of the least round trip; never above the
    smoothed one."""
    host = Host()
    c, peer = opened(host)
    sent = 0
    for _ in range(told):
        c.send(host.now, bytes(MSS))
        host.after(350 * MILLISECOND)  # a tail loss probe
        assert len(peer.got()) == 2
        sent += 1
        sacked(peer, sent, (sent - 1, sent - 1))
    peer.got()
    c.send(host.now, bytes(5 * MSS))
    peer.got()
    host.after(100 * MILLISECOND)
    sacked(peer, sent, (sent + 1, sent + 1))
    host.after(quarters * 25 * MILLISECOND - 2)
    assert peer.got() == []
    host.after(4)
    assert peer.got() == [resent(peer, sent)]


def test_copies_that_the_network_makes_widen_nothing() -> None:
    """RFC 3708 section 4: nothing was sent again, so a D-SACK tells of no superfluous retransmission (Linux:
    TCPDSACKIgnoredDubious)."""
    host = Host()
    c, peer = opened(host)
    for sent in range(1, 7):
        c.send(host.now, bytes(MSS))
        host.after(100 * MILLISECOND)
        sacked(peer, sent, (sent - 1, sent - 1))
    assert host.counters.TcpExtTCPDSACKIgnoredDubious == host.counters.TcpExtTCPDSACKRecv == 6
    peer.got()
    c.send(host.now, bytes(5 * MSS))
    peer.got()
    host.after(100 * MILLISECOND)
    sacked(peer, 6, (7, 7))
    host.after(27 * MILLISECOND)
    assert peer.got() == [resent(peer, 6)]


@pytest.mark.rfc("8985", "1")
def test_the_echo_of_a_first_transmission_is_no_sample_of_the_second() -> None:
    """Segment 0 was late, not lost: its ACK follows 1 ms after it was sent again. Were that taken for a round trip,
    all that was sent before would count as lost."""
    host = Host()
    c, peer = opened(host)
    c.send(host.now, bytes(10 * MSS))
    peer.got()
    host.after(100 * MILLISECOND)
    assert resent(peer, 0) in sacked(peer, 0, (1, 4))
    host.after(MILLISECOND)
    sent = sacked(peer, 5)
    assert not any(one == resent(peer, ordinal) for one in sent for ordinal in range(10))


def lost_tail(probes_lost: int) -> Wire:
    """20 segments; the last is lost, and so are so many of its retransmissions."""
    left = 1 + probes_lost

    def fate(_: int, segment: Segment) -> list[int]:
        nonlocal left
        if len(segment.payload) == 100 and left:
            left -= 1
            return []
        return [5 * MILLISECOND]

    wire = Wire(fate=fate)
    c, s = wire.connect()
    end = 19 * c.mss + 100
    c.send(wire.now, bytes(end))
    wire.run(until=lambda: s.buffered == end, limit=MINUTE)
    assert s.buffered == end
    wire.run(limit=wire.now + SECOND)
    # Only what is acknowledged beyond it tells that a probe was no duplicate.
    c.send(wire.now, bytes(1000))
    wire.run(limit=wire.now + SECOND)
    return wire


@pytest.mark.rfc("8985", "7.4.2-1", "7.4.2-2")
def test_a_loss_that_the_probe_repaired_slows_down() -> None:
    wire = lost_tail(0)
    assert wire.a.counters.TcpExtTCPLossProbes == 1
    assert wire.a.counters.TcpExtTCPLossProbeRecovery == 1
    assert wire.a.counters.TcpExtTCPTimeouts == 0
    windows = wire.a.sink.of("cwnd")
    at = next(at for at, one in enumerate(windows) if one["ssthresh"] != windows[0]["ssthresh"])
    assert windows[at]["ssthresh"] == windows[at - 1]["cwnd"] * 7 // 10


@pytest.mark.rfc("8985", "7.3-1", "7.3-3", "7.3-7")
def test_one_probe_per_flight() -> None:
    """The probe is lost too: the time-out follows, not another probe."""
    wire = lost_tail(1)
    assert wire.a.counters.TcpExtTCPLossProbes == 1
    assert wire.a.counters.TcpExtTCPTimeouts == 1


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

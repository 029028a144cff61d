"""Loss recovery by SACK (RFC 2018, RFC 6675), where test_sack.py leaves something to be shown."""

from __future__ import annotations

import pytest

from nodes.base.clock import MILLISECOND, SECOND
from nodes.packet.tcp import ACK

from .harness import Host
from .loss_scenes import MSS, burst, opened, resent, sacked


@pytest.mark.rfc("2018", "5-3", "8-3")
@pytest.mark.rfc("6675", "4-2")
def test_what_sack_told_is_kept_until_it_is_acknowledged() -> None:
    """The receiver has discarded what it had told of, as it may: everything is sent again."""
    host = Host(tcp_early_retrans=0)
    c, peer = opened(host)
    c.send(host.now, bytes(3 * MSS))
    peer.got()
    host.after(100 * MILLISECOND)
    sacked(peer, 0, (1, 2))
    host.after(SECOND)
    assert resent(peer, 0) in peer.got()
    peer.send(ACK, 1, 1 + MSS)
    host.after(10 * SECOND)
    sent = peer.got()
    assert resent(peer, 1) in sent
    peer.send(ACK, 1, 1 + 2 * MSS)
    host.after(10 * SECOND)
    sent += peer.got()
    assert [one for one in sent if f"{1 + 2 * MSS}:" in one]


@pytest.mark.rfc("6675", "5.1-4", "5.1-5", "5.1-6")
def test_no_recovery_begins_after_a_timeout_before_all_is_acknowledged() -> None:
    host = Host(tcp_early_retrans=0)
    c, peer = opened(host)
    c.send(host.now, bytes(10 * MSS))
    peer.got()
    host.after(2 * SECOND)
    assert host.counters.TcpExtTCPTimeouts >= 1
    entered = [one["entered"] for one in host.sink.of("recovery")]
    window = c.congestion.ssthresh
    for last in range(2, 9):
        sacked(peer, 0, (2, last))
    assert [one["entered"] for one in host.sink.of("recovery")] == entered
    assert c.congestion.ssthresh == window
    assert host.counters.TcpExtTCPSackRecovery == 0


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

"""Connections under CUBIC (RFC 9438); test_cubic.py has its formulas."""

from __future__ import annotations

import pytest

from nodes.base.clock import MILLISECOND, NEVER
from nodes.packet.tcp import ACK

from .harness import Host, client
from .loss_scenes import MSS, opened, resent, sacked


def test_a_timeout_of_cubic() -> None:
    """ssthresh is 0.7 of what was in flight; slow start follows."""
    host = Host(tcp_early_retrans=0, tcp_congestion_control="cubic")
    c, peer = client(host)
    c.send(0, bytes(20 * MSS))
    assert len(peer.got()) == 10
    host.after(300 * MILLISECOND)
    assert peer.got() == [resent(peer, 0)]
    assert (c.congestion.ssthresh, c.congestion.cwnd) == (7 * MSS, MSS)


@pytest.mark.rfc("9438", "4.10-1")
def test_slow_start_of_cubic() -> None:
    """It adds what is acknowledged, as many segments at most as tcp_abc says (RFC 5681, RFC 3465)."""
    host = Host(tcp_congestion_control="cubic", tcp_abc=2)
    c, peer = client(host)
    c.send(0, bytes(60 * MSS))
    peer.got()
    for ordinal in range(1, 6):
        window = c.congestion.cwnd
        peer.send(ACK, 1, 1 + ordinal * MSS)
        assert c.congestion.cwnd == window + MSS
    window = c.congestion.cwnd
    peer.send(ACK, 1, 1 + 9 * MSS)
    assert c.congestion.cwnd == window + 2 * MSS
    assert c.congestion.cwnd < c.congestion.ssthresh and c.next_deadline() != NEVER


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

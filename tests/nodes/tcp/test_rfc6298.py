"""The retransmission timeout of RFC 6298, where test_retransmission.py leaves something to be shown."""

from __future__ import annotations

from itertools import pairwise

import pytest

from nodes.base.clock import MILLISECOND, SECOND
from nodes.packet.tcp import ACK, SYN

from .harness import HTTP, PEER, Host, Peer, Wire, client
from .loss_scenes import MSS


@pytest.mark.rfc("6298", "1", "2.4", "2.5")
def test_lowest_and_highest_rto() -> None:
    """Profile rfc, after round trips of no time: the first time-out after 1 s; then doubled, up to 120 s."""
    host = Host("rfc", tcp_retries2=12)
    c, _ = client(host)
    c.send(0, b"x")
    host.after(3600 * SECOND)
    sent = [at for at, _, _, segment, *_ in host.network.sent if segment.payload]
    gaps = [(after - before) // SECOND for before, after in pairwise(sent)]
    assert gaps == [1, 2, 4, 8, 16, 32, 64, 120, 120, 120, 120, 120]


@pytest.mark.rfc("6298", "3-2")
def test_every_round_trip_gives_a_sample() -> None:
    wire = Wire()
    c, s = wire.connect()
    samples = len(wire.a.sink.of("rtt"))
    for _ in range(10):
        at = wire.now
        c.send(wire.now, bytes(100))
        wire.run(limit=at + 100 * MILLISECOND)
        assert len(wire.a.sink.of("rtt")) == (samples := samples + 1)
    assert s.buffered == 1000


@pytest.mark.rfc("6298", "5.7")
def test_rto_after_a_syn_that_was_lost() -> None:
    """At least 3 s: the round trip may well be longer than the second that was waited for the SYN."""
    host = Host(tcp_timestamps=0, tcp_early_retrans=0)
    c = host.tcp.open(0, PEER, HTTP)
    peer = Peer(host, HTTP, c.local_port)
    host.after(1500 * MILLISECOND)
    peer.irs = host.take()[-1].seq
    peer.send(SYN | ACK, 0, 1, mss=MSS)
    started = host.now
    c.send(host.now, b"x")
    peer.got()
    host.after(60 * SECOND)
    assert host.network.sent[0][0] - started == 3 * SECOND

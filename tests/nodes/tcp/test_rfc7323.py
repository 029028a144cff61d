"""RFC 7323 (window scale, timestamps, PAWS) and RFC 5961, where test_arrivals.py leaves something to be shown."""

from __future__ import annotations

import pytest

from nodes.base.clock import MILLISECOND, SECOND
from nodes.packet.tcp import ABSENT, ACK, PSH, RST, SYN, Segment
from nodes.tcp import states

from . import scenes
from .harness import HTTP, PEER, Host, Peer, Wire, client

MSS = 1460


@pytest.mark.rfc("5961", "4.2-2", "4.2-4")
@pytest.mark.parametrize("offset", [-100_000, -1, 0, 1, 60_000, 70_000, 1 << 31])
def test_a_syn_anywhere_is_challenged(offset: int) -> None:
    """And the RST of a peer that has forgotten the connection, which the challenge brings, ends it."""
    _host, c, peer, nxt, una = scenes.established(Host())
    assert peer.send(SYN, nxt + offset) == [f". {una}:{una}(0) ack {nxt}"]
    assert c.state == states.ESTABLISHED
    assert peer.send(RST, nxt) == []
    assert (c.state, c.error) == (states.CLOSED, "ECONNRESET")


@pytest.mark.rfc("7323", "2.2-1", "2.3-1", "2.3-2")
@pytest.mark.parametrize(("buffer", "shift"), [(65_535, 0), (1 << 20, 5)])
def test_window_scale_is_offered_answered_and_used(buffer: int, shift: int) -> None:
    """Also where it is 0: it lets the peer scale."""
    host = Host(tcp_rmem=buffer)
    c = host.tcp.open(0, PEER, HTTP)
    (syn,) = host.take()
    assert syn.window_scale == shift
    assert c.status(0).rcv_wscale == shift
    host = Host(tcp_rmem=buffer)
    host.tcp.listen(0, b"", HTTP, 1)
    peer = Peer(host, 5000, HTTP)
    host.tcp.on_segment(0, PEER, host.local, peer.segment(SYN, 0, window_scale=0), 0, 0)
    (syn_ack,) = host.take()
    assert syn_ack.window_scale == shift
    # What is announced later is in units of it.
    peer.irs = syn_ack.seq
    peer.send(ACK, 1, 1)
    host.tcp.on_segment(0, PEER, host.local, peer.segment(ACK | PSH, 1, 1, bytes(1 << shift)), 0, 0)
    host.after(SECOND)
    assert host.take()[-1].window == (buffer - (1 << shift)) >> shift


@pytest.mark.rfc("7323", "2.4-2", "2.4-3")
def test_what_was_in_any_window_is_taken() -> None:
    """With a shift of 5 the window after one byte cannot be said exactly, and the buffer was made smaller meanwhile."""
    buffer = 1 << 20
    host = Host(tcp_rmem=buffer)
    c, peer = client(host, scale=0)
    peer.send(ACK | PSH, 1, 1, b"a")
    c.set_option(0, "SO_RCVBUF", 4096)
    host.after(SECOND)
    peer.got()
    # The SYN's window is not scaled: 65535 bytes from there on were promised.
    peer.send(ACK, 60_001, 1, b"z" * 5534)
    assert c.reassembly.length == 5534
    peer.send(ACK, 65_535, 1, b"!")
    assert c.reassembly.length == 5535


@pytest.mark.rfc("7323", "3.2-3")
def test_the_echo_in_a_syn_is_ignored() -> None:
    host = Host()
    host.tcp.listen(0, b"", HTTP, 4)
    syn = Segment(5000, HTTP, 1, 0, SYN, 65_535, b"")
    syn.tsval, syn.tsecr = 77, 123_456
    host.tcp.on_segment(0, PEER, host.local, syn, 0, 0)
    (answer,) = host.take()
    assert (answer.flags & (SYN | ACK), answer.tsecr) == (SYN | ACK, 77)
    assert host.sink.of("rtt") == []


@pytest.mark.rfc("7323", "3.2-4", "3.2-6")
def test_every_segment_has_timestamps() -> None:
    """Data, ACKs, window updates, keepalives, FINs."""
    wire = Wire()
    c, s = wire.connect({"SO_KEEPALIVE": 1, "TCP_KEEPIDLE": 1})
    c.send(wire.now, bytes(60_000))
    wire.run(until=lambda: s.buffered == 60_000)
    s.receive(wire.now, 60_000)
    wire.run(limit=wire.now + 3 * SECOND)
    s.close(wire.now)
    c.close(wire.now)
    wire.run(limit=wire.now + 3 * SECOND)
    assert len(wire.log) > 50
    assert all(segment.tsval != ABSENT for _, _, segment in wire.log if not segment.flags & RST)


@pytest.mark.rfc("7323", "3.2-9")
def test_timestamps_not_agreed_on_are_ignored() -> None:
    host = Host()
    c, peer = client(host)
    peer.tsval = 5000
    peer.send(ACK | PSH, 1, 1, b"ab")
    peer.tsval = 1  # for PAWS it would be old
    peer.send(ACK | PSH, 3, 1, b"cd")
    assert c.receive(0, 10) == b"abcd"
    c.send(0, b"x")
    assert host.take()[-1].tsval == ABSENT


@pytest.mark.rfc("7323", "4.3-1")
def test_a_delayed_ack_echoes_the_earliest() -> None:
    """Section 4.3 (A): the sender must know of the delay."""
    host = Host()
    c, peer = client(host, tsval=1000)
    c.set_option(0, "TCP_QUICKACK", 0)
    for n, tsval in enumerate((2000, 2010)):
        peer.tsval = tsval
        host.tcp.on_segment(host.now, PEER, host.local, peer.segment(ACK, 1 + n * 100, 1, b"b" * 100), 0, 0)
    host.after(SECOND)
    assert [segment.tsecr for segment in host.take()] == [2000]


@pytest.mark.rfc("7323", "5.2-1", "5.2-7")
def test_the_timestamp_of_the_peer_never_goes_back() -> None:
    """Neither by a segment that PAWS refuses nor by a RST that is not exact."""
    host = Host()
    c, peer = client(host, tsval=1000)
    for flags, seq, tsval in ((ACK, 1, 999), (RST, 2, 5000), (RST, 2, 10), (ACK, 1, 1000)):
        peer.tsval = tsval
        peer.send(flags, seq, 1)
        c.send(host.now, b"x")
        assert [segment.tsecr for segment in host.take()][-1:] in ([1000], [])
        host.after(SECOND)
    assert c.state == states.ESTABLISHED
    assert {segment.tsecr for segment in host.take()} == {1000}


@pytest.mark.rfc("7323", "5.3-2")
def test_paws_is_before_the_window() -> None:
    """Out of the window, and old: it is PAWS that refuses it."""
    host = Host()
    _c, peer = client(host, tsval=1000)
    peer.tsval = 1
    assert peer.send(ACK, 200_000, 1, b"x") == [". 1:1(0) ack 1"]
    assert host.counters.TcpExtPAWSEstab == 1


@pytest.mark.rfc("7323", "5.3-3")
def test_what_waits_out_of_order_is_not_looked_at_again() -> None:
    """The segment that fills the hole is younger than what waited."""
    host = Host()
    c, peer = client(host, tsval=1000)
    peer.tsval = 1001
    peer.send(ACK, 4, 1, b"def")
    host.after(10 * MILLISECOND)
    peer.tsval = 1500
    peer.send(ACK, 1, 1, b"abc")
    assert c.receive(host.now, 10) == b"abcdef"
    assert host.counters.TcpExtPAWSEstab == 0


@pytest.mark.rfc("7323", "2.2-3")
def test_a_window_scale_counts_only_in_a_syn() -> None:
    host = Host()
    c, peer = client(host, scale=1, window=1000)
    peer.send(ACK | PSH, 1, 1, b"x", window=1000, window_scale=10)
    assert c.status(0).snd_wnd == 2000


@pytest.mark.rfc("7323", "3.2-1")
def test_timestamps_in_syns() -> None:
    """A SYN-ACK has them if the SYN had; a SYN echoes nothing."""
    host = Host()
    host.tcp.listen(0, b"", HTTP, 4)
    for port, tsval in ((5000, ABSENT), (5001, 77)):
        syn = Segment(port, HTTP, 1, 0, SYN, 65_535, b"")
        syn.tsval, syn.tsecr = tsval, (ABSENT if tsval == ABSENT else 0)
        host.tcp.on_segment(0, PEER, host.local, syn, 0, 0)
        (answer,) = host.take()
        assert (answer.tsval != ABSENT, answer.tsecr) == (tsval != ABSENT, tsval)
    host.tcp.open(0, PEER, HTTP)
    (ours,) = host.take()
    assert ours.tsval != ABSENT and ours.tsecr == 0


@pytest.mark.rfc("7323", "3.2-5", "5.2-5")
def test_timestamps_and_resets() -> None:
    """Ours has them; the peer's is taken without."""
    host = Host()
    c, _ = client(host, tsval=1)
    c.abort(0)
    (reset,) = host.take()
    assert reset.flags & RST and reset.tsval != ABSENT and reset.tsecr == 1
    other, peer = client(host, tsval=1)
    peer.tsval = None
    peer.send(RST, 1)
    assert (other.state, other.error) == (states.CLOSED, "ECONNRESET")


@pytest.mark.rfc("7323", "4.1", "5.4-1", "5.4-3", "7")
def test_timestamp_clock() -> None:
    """A millisecond is a tick; each connection, and each host, starts somewhere else."""
    first = []
    for seed in (1, 2):
        host = Host(seed=seed)
        for port in (80, 81):
            host.tcp.open(host.now, PEER, port)
            first.append(host.take()[0].tsval)
    assert len(set(first)) == 4
    host = Host()
    c, peer = client(host, tsval=1)
    stamps = []
    for ordinal in range(2):
        c.send(host.now, b"a")
        stamps.append(host.take()[-1].tsval)
        host.now += 250 * MILLISECOND
        peer.send(ACK, 1, 2 + ordinal)
    assert (stamps[1] - stamps[0]) & 0xFFFF_FFFF == 250

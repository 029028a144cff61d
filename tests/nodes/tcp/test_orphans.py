"""Whom nobody holds: orphans, TIME-WAIT, their limits and reuse, TCP_LINGER2, retries; and TCP_INFO's sums."""

from __future__ import annotations

import pytest

from nodes.base import causes
from nodes.base.clock import HOUR, MILLISECOND, SECOND
from nodes.base.errors import SocketError
from nodes.packet.tcp import ACK, FIN, SYN
from nodes.tcp import states

from . import scenes
from .harness import HTTP, PEER, Host, Peer, Wire, client


def time_wait(host: Host, local_port: int = 0) -> tuple[int, Peer]:
    """A connection in TIME-WAIT with timestamps; its local port."""
    c = host.tcp.open(host.now, PEER, HTTP, local_port=local_port)
    peer = Peer(host, HTTP, c.local_port)
    (syn,) = host.take()
    peer.irs, peer.tsval, peer.tsecr = syn.seq, 1000, syn.tsval
    peer.send(SYN | ACK, 0, 1, mss=1460)
    c.close(host.now)
    peer.send(ACK, 1, 2)
    peer.send(FIN | ACK, 1, 2)
    assert c.state == states.TIME_WAIT
    return c.local_port, peer


def test_too_many_orphans() -> None:
    """tcp(7) tcp_max_orphans: the next one is reset, and room comes back when one ends."""
    host = Host(tcp_max_orphans=1)
    first, first_peer = client(host)
    second, second_peer = client(host)
    third, _ = client(host)
    first.close(0)
    assert first_peer.got() == ["F. 1:1(0) ack 1"]
    second.close(0)
    assert [line.split()[0] for line in second_peer.got()] == ["F.", "R."]
    assert (second.state, host.counters.TcpExtTCPAbortOnMemory) == (states.CLOSED, 1)
    first_peer.send(ACK, 1, 2)
    first_peer.send(FIN | ACK, 1, 2)
    assert first.state == states.TIME_WAIT
    third.close(0)
    assert (third.state, host.tcp.orphans) == (states.FIN_WAIT_1, 1)


def test_too_many_in_time_wait() -> None:
    """tcp(7) tcp_max_tw_buckets: no TIME-WAIT for more; the FIN is acknowledged all the same."""
    host = Host(tcp_max_tw_buckets=1)
    time_wait(host)
    c, peer = client(host)
    c.close(0)
    peer.send(ACK, 1, 2)
    assert peer.send(FIN | ACK, 1, 2) == [". 2:2(0) ack 2"]
    assert (c.state, host.counters.TcpExtTCPTimeWaitOverflow) == (states.CLOSED, 1)
    host.after(60 * SECOND)
    assert host.tcp.time_waits == 0


@pytest.mark.parametrize(
    ("reuse", "later", "port"),
    [(0, 10 * SECOND, 0), (2, 10 * SECOND, 0), (1, 999 * MILLISECOND, 0), (1, SECOND, 5000)],
)
def test_time_wait_reuse(reuse: int, later: int, port: int) -> None:
    """ip-sysctl tcp_tw_reuse: an active OPEN takes the port of a TIME-WAIT connection of a second or more, with an ISN
    beyond all that it used (RFC 6191); 2 is for loopback only."""
    host = Host(ip_local_port_range="5000 5000", tcp_tw_reuse=reuse)
    time_wait(host)
    old = host.tcp.connections[1]
    host.after(later)
    if not port:
        with pytest.raises(SocketError, match="EADDRNOTAVAIL"):
            host.tcp.open(host.now, PEER, HTTP)
        return
    new = host.tcp.open(host.now, PEER, HTTP)
    (syn,) = host.take()
    assert (new.local_port, syn.flags) == (port, SYN)
    assert 0 < (syn.seq - old.snd_nxt) & 0xFFFF_FFFF < 1 << 31
    assert (old.state, host.counters.TcpExtTWRecycled) == (states.CLOSED, 1)
    assert [e["cause"] for e in host.sink.of("state") if e["conn"] == 1][-1] == causes.TIME_WAIT_REUSED


def test_time_wait_without_timestamps_is_not_reused() -> None:
    host = Host(ip_local_port_range="5000 5000", tcp_tw_reuse=1)
    c, peer = client(host)
    c.close(0)
    peer.send(ACK, 1, 2)
    peer.send(FIN | ACK, 1, 2)
    host.after(10 * SECOND)
    with pytest.raises(SocketError, match="EADDRNOTAVAIL"):
        host.tcp.open(host.now, PEER, HTTP)


def test_fin_wait_2_that_nobody_waits_in() -> None:
    """tcp(7) TCP_LINGER2 below 0, as Linux has it: RST instead of waiting for the peer's FIN."""
    host, c, peer, *_ = scenes.fin_wait_1(Host(), TCP_LINGER2=-1)
    c.close(0)
    assert peer.send(ACK, 1, 2) == ["R. 2:2(0) ack 1"]
    assert (c.state, host.counters.TcpExtTCPAbortOnLinger) == (states.CLOSED, 1)


def test_orphan_retries() -> None:
    """ip-sysctl tcp_orphan_retries: 0 is 8, by which Linux means 102.2 s from the first retransmission."""
    host, c, *_ = scenes.established(Host())
    c.close(0)
    host.after(HOUR)
    assert (c.state, c.error) == (states.CLOSED, "ETIMEDOUT")
    assert [e["time"] // MILLISECOND for e in host.sink.of("retransmit")][:3] == [200, 600, 1400]
    assert 102_400 <= host.sink.of("state")[-1]["time"] // MILLISECOND <= 102_400 + 120_000
    host, c, *_ = scenes.established(Host("rfc", tcp_orphan_retries=2))
    c.close(0)
    host.after(HOUR)
    assert len(host.sink.of("retransmit")) == 2


def test_what_a_sender_waited_for() -> None:
    """TCP_INFO: 100 ms for the window, then 30 ms for an ACK, then nothing to do (as gtests tcp_info has it)."""
    host = Host()
    c, peer = client(host, window=0)
    c.send(0, b"d" * 1000)
    host.after(100 * MILLISECOND)
    status = c.status(host.now)
    assert (status.rwnd_limited, status.busy_time) == (100 * MILLISECOND, 100 * MILLISECOND)
    peer.send(ACK, 1, 1, window=5000)
    host.after(30 * MILLISECOND)
    peer.send(ACK, 1, 1001, window=5000)
    host.after(SECOND)
    status = c.status(host.now)
    assert (status.rwnd_limited, status.busy_time) == (100 * MILLISECOND, 130 * MILLISECOND)
    assert status.sndbuf_limited == 0


def test_the_peers_window_is_waited_for_only_where_the_congestion_window_is_not() -> None:
    """tcp_write_xmit of Linux asks the congestion window first: both are used up for 50 ms, then the peer's alone."""
    host = Host()
    c, peer = client(host, window=14_600)
    c.send(0, b"d" * 20_000)
    host.after(50 * MILLISECOND)
    assert (c.status(host.now).rwnd_limited, c.status(host.now).busy_time) == (0, 50 * MILLISECOND)
    peer.send(ACK, 1, 14_601, window=1460)
    host.after(30 * MILLISECOND)
    status = c.status(host.now)
    assert (status.rwnd_limited, status.busy_time) == (30 * MILLISECOND, 80 * MILLISECOND)


def test_waiting_for_the_send_buffer() -> None:
    host = Host()
    c, peer = client(host, options={"SO_SNDBUF": 4000})
    assert c.send(0, b"d" * 9000) == 4000
    host.after(20 * MILLISECOND)
    peer.send(ACK, 1, 4001)
    status = c.status(host.now)
    assert (status.sndbuf_limited, status.busy_time, status.rwnd_limited) == (20 * MILLISECOND, 20 * MILLISECOND, 0)


def test_numbers_of_segments_and_bytes() -> None:
    """TCP_INFO's counts of a transfer in which one segment is lost, hand-counted; tcpi_delivered counts the SYN."""
    lost = iter([False] * 4 + [True] + [False] * 100)
    wire = Wire(fate=lambda _, segment: [] if segment.payload and next(lost) else [5 * MILLISECOND])
    c, s = wire.connect()
    c.send(wire.now, b"d" * 10 * c.mss)
    wire.run(limit=wire.now + 10 * SECOND)
    ours, theirs = c.status(wire.now), s.status(wire.now)
    assert (ours.data_segs_out, theirs.data_segs_in) == (11, 10)
    assert (ours.bytes_sent, ours.bytes_retrans) == (11 * c.mss, c.mss)
    assert (ours.delivered_segs, ours.total_retrans, ours.sacked) == (11, 1, 0)
    assert theirs.rcv_ooopack == 5
    assert (theirs.bytes_received, ours.bytes_acked) == (10 * c.mss, 10 * c.mss)
    assert ours.min_rtt == 10 * MILLISECOND
    assert (ours.total_rto, ours.total_rto_recoveries) == (0, 0)
    assert "sack" in ours.options


def test_time_lost_in_timeouts() -> None:
    host = Host()
    c, peer = client(host)
    c.send(0, b"d")
    host.after(1500 * MILLISECOND)
    peer.send(ACK, 1, 2)
    status = c.status(host.now)
    # Timeouts at 200, 600 and 1400 ms; the answer at 1500.
    assert (status.total_rto, status.total_rto_recoveries) == (3, 1)
    assert status.total_rto_time == pytest.approx(1300 * MILLISECOND, abs=100)

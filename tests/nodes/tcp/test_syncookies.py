"""SYN cookies (RFC 4987 section 3.6), with Linux's bits."""

from __future__ import annotations

from typing import Any

import pytest

from nodes.base.clock import SECOND
from nodes.packet.tcp import ABSENT, ACK, CWR, ECE, RST, SYN, Segment
from nodes.tcp import states
from nodes.tcp.connection import Connection
from nodes.tcp.listener import Listener

from .harness import HERE, HTTP, PEER, Host, Peer, letters

LINUX_SYN: dict[str, Any] = {"mss": 1460, "window_scale": 7, "sack_permitted": True, "tsval": 555, "tsecr": 0}


def listening(backlog: int = 8, **knobs: Any) -> tuple[Host, Listener]:
    host = Host(**{"tcp_syncookies": 2, **knobs})
    host.now = 1_000 * SECOND
    return host, host.tcp.listen(host.now, b"", HTTP, backlog)


def knock(host: Host, port: int = 1000, **options: Any) -> tuple[Peer, Segment]:
    peer = Peer(host, port, HTTP)
    host.tcp.on_segment(host.now, PEER, HERE, peer.segment(SYN, 0, **options), 0, 0)
    (answer,) = host.take()
    assert letters(answer) == "S."
    peer.irs = answer.seq
    if answer.tsval != ABSENT:
        peer.tsval, peer.tsecr = 560, answer.tsval
    return peer, answer


def accepted(listener: Listener) -> Connection:
    c = listener.accept(0)
    assert c is not None
    return c


def test_only_when_the_syn_queue_is_full() -> None:
    """tcp_syncookies 1: the queue first. Of 10 SYNs, 3 wait; the others leave nothing behind, and all get in."""
    host, listener = listening(2, tcp_syncookies=1)
    peers = [knock(host, 1000 + n, **LINUX_SYN)[0] for n in range(10)]
    assert (len(listener.syn_queue), len(host.tcp.connections)) == (3, 3)
    counters = host.counters
    assert (counters.TcpExtTCPReqQFullDoCookies, counters.TcpExtSyncookiesSent, counters.TcpExtListenDrops) == (7, 7, 0)
    for number, peer in enumerate(reversed(peers)):
        assert peer.send(ACK, 1, 1) == []
        assert accepted(listener).remote_port == 1009 - number
    assert (counters.TcpExtSyncookiesRecv, counters.TcpPassiveOpens) == (7, 10)


def test_timestamps_carry_the_options() -> None:
    """All options of the SYN come back, and the first data with the ACK is taken."""
    host, listener = listening()
    peer, answer = knock(host, **LINUX_SYN)
    assert (answer.mss, answer.sack_permitted, answer.window_scale, answer.tsecr) == (1460, True, 0, 555)
    assert host.tcp.connections == {}
    peer.send(ACK, 1, 1, b"hello", window=1000)
    c = accepted(listener)
    assert host.sink.path(c.number) == ["LISTEN", "SYN-RECEIVED", "ESTABLISHED"]
    info = c.status(host.now)
    assert info.options == ("timestamps", "sack", "wscale")
    # 1460 less 12 bytes of timestamps in each segment; the window is scaled by the SYN's 7.
    assert (info.snd_mss, info.snd_wscale, info.snd_wnd) == (1448, 7, 128_000)
    assert c.receive(host.now, 10) == b"hello"
    c.send(host.now, b"world")
    assert peer.got() == ["P. 1:6(5) ack 6"]


def test_without_timestamps_only_the_mss_is_kept() -> None:
    host, listener = listening()
    peer, answer = knock(host, mss=1459, window_scale=7, sack_permitted=True)
    assert (answer.window_scale, answer.sack_permitted, answer.tsval) == (ABSENT, False, ABSENT)
    peer.send(ACK, 1, 1, window=1000)
    info = accepted(listener).status(host.now)
    # Of Linux's four MSS (536, 1300, 1440, 1460) the next below.
    assert (info.options, info.snd_mss, info.snd_wnd) == ((), 1440, 1000)


@pytest.mark.parametrize("timestamps", [True, False])
def test_ecn_goes_with_the_timestamps(timestamps: bool) -> None:
    """RFC 3168 section 6.1.1: both ends agree on ECN, or neither does."""
    host, listener = listening(tcp_ecn=1)
    peer = Peer(host, 1000, HTTP)
    options = LINUX_SYN if timestamps else {"mss": 1460}
    host.tcp.on_segment(host.now, PEER, HERE, peer.segment(SYN | ECE | CWR, 0, **options), 0, 0)
    (answer,) = host.take()
    assert bool(answer.flags & ECE) == timestamps
    peer.irs = answer.seq
    if timestamps:
        peer.tsval, peer.tsecr = 560, answer.tsval
    peer.send(ACK, 1, 1)
    assert accepted(listener).ecn == timestamps


@pytest.mark.parametrize(("mss", "kept"), [(100, 536), (1299, 536), (1300, 1300), (9000, 1460)])
def test_the_mss_is_rounded_down(mss: int, kept: int) -> None:
    host, listener = listening()
    peer, _ = knock(host, mss=mss)
    peer.send(ACK, 1, 1)
    assert accepted(listener).mss == kept


def test_the_clock_of_the_timestamps_is_not_ahead() -> None:
    """Up to 64 ms behind, so that a later timestamp is never older (cookie_init_timestamp)."""
    for tick in range(0, 300, 7):
        host, _ = listening()
        plain, _ = listening(tcp_syncookies=0)
        host.now = plain.now = 1_000 * SECOND + tick * 1_000_000
        (_, cookie), (_, queued) = knock(host, **LINUX_SYN), knock(plain, **LINUX_SYN)
        assert 0 <= queued.tsval - cookie.tsval <= 128
        assert cookie.seq != queued.seq


@pytest.mark.parametrize(("later", "good"), [(0, True), (59, True), (119, False), (180, False)])
def test_a_cookie_ages(later: int, good: bool) -> None:
    """Good in the minute it was made and the next: the 1000th second is the 40th of its minute."""
    host, listener = listening()
    peer, _ = knock(host, **LINUX_SYN)
    host.after(later * SECOND)
    assert peer.send(ACK, 1, 1) == ([] if good else ["R 1:1(0)"])
    assert len(listener.accept_queue) == good
    looked = later <= 120
    assert (host.counters.TcpExtSyncookiesRecv, host.counters.TcpExtSyncookiesFailed) == (good, looked and not good)


def test_a_guessed_cookie_is_refused() -> None:
    host, listener = listening()
    peer, _ = knock(host)
    for guess in (4, 5, 1 << 24, 0x7FFF_FFFF):
        assert peer.send(ACK, 1, 1 + guess) == [f"R {1 + guess}:{1 + guess}(0)"]
    # and one for another port, or another number of the peer's
    other = Peer(host, 1001, HTTP)
    other.irs = peer.irs
    assert other.send(ACK, 1, 1) == ["R 1:1(0)"]
    assert peer.send(ACK, 2, 1) == ["R 1:1(0)"]
    assert (host.counters.TcpExtSyncookiesFailed, listener.accept_queue) == (6, type(listener.accept_queue)())


def test_no_ack_is_looked_at_when_no_cookie_was_sent() -> None:
    host, _ = listening(tcp_syncookies=1)
    assert Peer(host, 1000, HTTP).send(ACK, 1, 1) == [f"R {1}:{1}(0)"]
    assert host.counters.TcpExtSyncookiesFailed == 0


def test_the_accept_queue_still_bounds() -> None:
    """A cookie that comes back to a full accept queue is dropped without a word, and so is a SYN."""
    host, listener = listening(0)
    first, second = knock(host, 1000)[0], knock(host, 1001)[0]
    first.send(ACK, 1, 1)
    assert second.send(ACK, 1, 1) == []
    assert Peer(host, 1002, HTTP).send(SYN, 0, mss=1460) == []
    counters = host.counters
    assert (counters.TcpExtListenOverflows, counters.TcpExtListenDrops, len(listener.accept_queue)) == (2, 2, 1)


def test_a_reset_ends_nothing() -> None:
    host, _ = listening()
    peer, _ = knock(host)
    assert peer.send(RST, 1) == []
    assert peer.send(ACK, 1, 1) == []
    assert host.tcp.connections[1].state == states.ESTABLISHED


def test_a_cookie_waits_for_no_data() -> None:
    """TCP_DEFER_ACCEPT counts SYN-ACKs that are sent again, and there are none: as on Linux the ACK establishes. The
    connection must not stay in the SYN queue without a timer."""
    host = Host(tcp_syncookies=2)
    listener = host.tcp.listen(0, b"", HTTP, 8, {"TCP_DEFER_ACCEPT": 5})
    peer, _ = knock(host, **LINUX_SYN)
    peer.send(ACK, 1, 1)
    assert listener.syn_queue == {}
    assert accepted(listener).state == states.ESTABLISHED

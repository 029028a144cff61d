"""Flow control: windows, persist, Nagle, silly windows, delayed ACKs, PSH, keepalive, user timeout."""

from __future__ import annotations

import tracemalloc

import pytest

from nodes.base import causes
from nodes.base.clock import HOUR, MILLISECOND, MINUTE, NEVER, SECOND
from nodes.base.errors import SocketError
from nodes.packet.tcp import ACK, FIN, RST, SYN
from nodes.tcp import states
from nodes.tcp.sendqueue import SendQueue

from . import scenes
from .harness import HERE, HTTP, PEER, Host, Peer, Wire, client

MSS = 1460


@pytest.mark.rfc("9293", "SHLD-18", "MUST-40", "SHLD-19")
@pytest.mark.rfc("5681", "4.2-1", "4.2-2", "4.2-3", "4.2-4")
def test_delayed_ack_and_every_second_segment() -> None:
    """RFC 5681 section 4.2, RFC 9293 section 3.8.6.3: within the delay, and at least every second full segment."""
    for profile, delay in (("linux", 40), ("rfc", 200)):
        host = Host(profile)
        c, peer = client(host)
        c.set_option(0, "TCP_QUICKACK", 0)
        assert peer.send(ACK, 1, 1, b"a" * MSS) == []
        assert peer.send(ACK, 1 + MSS, 1, b"a" * MSS) == [f". 1:1(0) ack {1 + 2 * MSS}"]
        assert peer.send(ACK, 1 + 2 * MSS, 1, b"a" * MSS) == []
        host.after(delay * MILLISECOND - 1)
        assert peer.got() == []
        host.after(1)
        assert peer.got() == [f". 1:1(0) ack {1 + 3 * MSS}"]
        assert host.counters.TcpExtDelayedACKs == 1


@pytest.mark.rfc("9293", "MUST-58")
def test_data_carries_the_ack() -> None:
    """An ACK that waits goes with data, and is not sent again."""
    host = Host()
    c, peer = client(host)
    peer.send(ACK, 1, 1, b"request")
    c.send(host.now, b"answer")
    assert peer.got() == ["P. 1:7(6) ack 8"]
    peer.send(ACK, 8, 7)
    host.after(SECOND)
    assert peer.got() == []


@pytest.mark.rfc("9293", "MUST-60", "MUST-61", "SHLD-28")
def test_psh_ends_each_write() -> None:
    """RFC 9293 section 3.9.1.2: PSH on the last segment of a write."""
    host = Host()
    c, peer = client(host)
    c.send(0, b"a" * (2 * MSS + 100))
    assert [line.split()[0] for line in peer.got()] == [".", ".", "P."]


@pytest.mark.rfc("9293", "SHLD-7", "SHLD-27")
def test_nagle_linux() -> None:
    """RFC 9293 section 3.7.4, as Linux does it (Minshall): a small segment waits only for a small one."""
    host = Host()
    c, peer = client(host)
    c.send(0, b"a" * (MSS + 10))
    assert peer.got() == [f". 1:{1 + MSS}({MSS}) ack 1", f"P. {1 + MSS}:{11 + MSS}(10) ack 1"]
    c.send(0, b"b" * 10)
    c.send(0, b"c" * 10)
    assert peer.got() == []
    assert peer.send(ACK, 1, 11 + MSS) == [f"P. {11 + MSS}:{31 + MSS}(20) ack 1"]


@pytest.mark.rfc("9293", "SHLD-7")
def test_nagle_rfc() -> None:
    """RFC 9293 section 3.7.4: nothing small goes while anything is unacknowledged."""
    host = Host("rfc")
    c, peer = client(host)
    c.send(0, b"a" * (MSS + 10))
    assert peer.got() == [f". 1:{1 + MSS}({MSS}) ack 1"]
    assert peer.send(ACK, 1, 1 + MSS) == [f"P. {1 + MSS}:{11 + MSS}(10) ack 1"]


@pytest.mark.parametrize("profile", ["linux", "rfc"])
@pytest.mark.rfc("9293", "MUST-17")
def test_nodelay(profile: str) -> None:
    host = Host(profile)
    c, peer = client(host)
    c.send(0, b"a")
    c.send(0, b"b")
    assert peer.got() == ["P. 1:2(1) ack 1"]
    c.set_option(0, "TCP_NODELAY", 1)
    assert peer.got() == ["P. 2:3(1) ack 1"]
    c.send(0, b"c")
    assert peer.got() == ["P. 3:4(1) ack 1"]


def test_nagle_with_delayed_ack_costs_40_ms() -> None:
    """Write, write, read: the second small write waits for the peer's delayed ACK."""
    wire = Wire(delay=MILLISECOND)
    c, s = wire.connect()
    s.set_option(wire.now, "TCP_QUICKACK", 0)
    c.send(wire.now, b"a")
    c.send(wire.now, b"b")
    started = wire.now
    wire.run(until=lambda: s.buffered == 2)
    assert 40 * MILLISECOND <= wire.now - started <= 50 * MILLISECOND


@pytest.mark.rfc("9293", "MUST-38")
def test_sender_silly_window_avoidance() -> None:
    """RFC 9293 section 3.8.6.2.1: a window smaller than a segment and than half the largest seen is not used at once,
    but after the override time."""
    host = Host()
    c, peer = client(host, window=10_000)
    c.send(0, b"d" * 12_000)
    peer.got()
    assert peer.send(ACK, 1, 8_761, window=100) == []
    host.after(190 * MILLISECOND)
    assert peer.got() == []
    host.after(20 * MILLISECOND)
    assert peer.got() == [". 8761:8861(100) ack 1"]


@pytest.mark.rfc("9293", "MUST-39")
def test_receiver_silly_window_avoidance() -> None:
    """RFC 9293 section 3.8.6.2.2: the window opens by a segment or half the buffer, not by what little was read."""
    host = Host(tcp_rmem=4000)
    c, peer = client(host)
    for n in range(4):
        peer.send(ACK, 1 + 1000 * n, 1, b"d" * 1000)
    host.after(SECOND)
    host.take()
    for _ in range(9):
        c.receive(host.now, 100)
        assert host.take() == []
    c.receive(host.now, 400)
    (update,) = host.take()
    assert update.window == 1300
    assert host.network.sent == []


def test_window_update_after_zero_window() -> None:
    host = Host(tcp_rmem=3000)
    c, peer = client(host)
    peer.send(ACK, 1, 1, b"d" * 1000)
    peer.send(ACK, 1001, 1, b"d" * 1000)
    assert peer.send(ACK, 2001, 1, b"d" * 1000) == [". 1:1(0) ack 3001"]
    assert len(c.receive(0, 3000)) == 3000
    (update,) = host.take()
    assert update.window == 3000
    assert [(e["window"], e["side"]) for e in host.sink.of("window") if e["side"] == 2][-1] == (3000, 2)


@pytest.mark.rfc("9293", "SHLD-14")
def test_right_edge_never_moves_left() -> None:
    """RFC 9293 section 3.8.6: a smaller SO_RCVBUF takes effect as data arrives, the announced edge stays."""
    host = Host(tcp_rmem=10_000)
    c, peer = client(host)
    c.set_option(0, "SO_RCVBUF", 1000)
    host.tcp.on_segment(0, PEER, HERE, peer.segment(ACK, 1, 1, b"d" * 500), 0, 0)
    host.after(SECOND)
    assert host.take()[-1].window == 9500


@pytest.mark.parametrize(("profile", "probe"), [("linux", ". 1000:1000(0) ack 1"), ("rfc", ". 1001:1002(1) ack 1")])
@pytest.mark.rfc("9293", "MUST-35", "MUST-36", "SHLD-29", "SHLD-30", "MUST-37")
def test_zero_window_probes(profile: str, probe: str) -> None:
    """RFC 9293 section 3.8.6.1: probes at RTO, doubling, for as long as the peer answers; data flows when it opens."""
    host = Host(profile, tcp_retries2=3)
    lowest = {"linux": 200, "rfc": 1000}[profile] * MILLISECOND
    c, peer = client(host, window=1000)
    c.send(0, b"d" * 3000)
    assert peer.got() == [". 1:1001(1000) ack 1"]
    peer.send(ACK, 1, 1001, window=0)
    for doubled in range(8):
        before = host.now
        while not host.network.sent:
            host.run_until(host.tcp.next_deadline())
        assert peer.got() == [probe]
        assert host.now - before == pytest.approx(min(lowest << doubled, 120 * SECOND), abs=1000)
        peer.send(ACK, 1, 1001, window=0)
    assert host.counters.TcpExtTCPWinProbe == 8
    assert c.state == states.ESTABLISHED
    got = peer.send(ACK, 1, 1001, window=65535)
    if profile == "linux":
        assert got == [". 1001:2461(1460) ack 1", "P. 2461:3001(540) ack 1"]
    else:
        assert got[0] == ". 1002:2462(1460) ack 1"
        host.after(100 * SECOND)
        assert ". 1001:1002(1) ack 1" in peer.got()


def test_unanswered_probes_give_up() -> None:
    host = Host(tcp_retries2=3)
    c, peer = client(host, window=0)
    c.send(0, b"d")
    host.after(HOUR)
    assert len(peer.got()) == 3
    assert (c.state, c.error) == (states.CLOSED, "ETIMEDOUT")


def test_fin_waits_for_the_window() -> None:
    """A FIN takes a sequence number and does not go into a closed window; the state changes all the same."""
    host = Host()
    c, peer = client(host, window=0)
    c.shutdown(0)
    assert (c.state, peer.got()) == (states.FIN_WAIT_1, [])
    assert peer.send(ACK, 1, 1, window=10) == ["F. 1:1(0) ack 1"]


@pytest.mark.rfc("7323", "2.2-2", "2.2-4", "2.3-3", "2.3-4", "2.3-5")
@pytest.mark.rfc("9293", "REC-1")
def test_window_scale() -> None:
    """RFC 7323 section 2.2: both SYNs must carry the option; the SYN's own window is not scaled."""
    host = Host(tcp_rmem=1 << 20)
    c, peer = client(host, window=100, scale=3)
    status = c.status(0)
    assert (status.snd_wnd, status.snd_wscale, status.rcv_wscale) == (100, 3, 5)
    peer.send(ACK, 1, 1, window=100)
    assert c.status(0).snd_wnd == 800
    c.send(0, b"x")
    assert host.take()[-1].window == (1 << 20) >> 5
    c, peer = client(Host(tcp_rmem=1 << 20), window=100)
    peer.send(ACK, 1, 1, window=100)
    assert (c.status(0).snd_wnd, c.status(0).rcv_wscale) == (100, 0)


@pytest.mark.rfc("7323", "2.3-6")
def test_window_scale_of_more_than_14() -> None:
    """RFC 7323 section 2.3: more than 14 counts as 14."""
    c, _peer = client(Host(), scale=200)
    assert c.status(0).snd_wscale == 14


@pytest.mark.rfc("9293", "SHLD-5", "MUST-67")
@pytest.mark.rfc("2018", "2")
def test_syn_options_follow_the_knobs() -> None:
    host = Host(tcp_timestamps=0, tcp_window_scaling=0)
    host.tcp.open(0, PEER, HTTP, options={"TCP_MAXSEG": 500})
    (syn,) = host.take()
    assert (syn.mss, syn.window_scale, syn.tsval) == (500, -1, -1)
    host = Host()
    host.tcp.open(0, PEER, HTTP)
    (syn,) = host.take()
    assert (syn.mss, syn.window_scale >= 0, syn.tsval >= 0, syn.tsecr) == (1460, True, True, 0)
    host.tcp.listen(0, b"", HTTP, 1)
    peer = Peer(host, 5000, HTTP)
    host.tcp.on_segment(0, PEER, HERE, peer.segment(SYN, 0), 0, 0)
    (syn_ack,) = host.take()
    assert (syn_ack.mss, syn_ack.window_scale, syn_ack.tsval) == (1460, -1, -1)


@pytest.mark.parametrize(("mss", "largest"), [(1460, 1460), (500, 500), (-1, 536), (9000, 1460), (1, 48), (0, 536)])
@pytest.mark.rfc("9293", "MUST-14", "MUST-15", "MUST-16")
def test_segments_fit_the_peer_and_the_path(mss: int, largest: int) -> None:
    """RFC 9293 section 3.7.1: Eff.snd.MSS; 536 when the peer says nothing; no absurdly small one."""
    host = Host()
    c, _peer = client(host, mss=mss)
    c.send(0, b"d" * 20_000)
    assert max(len(s.payload) for s in host.take()) == largest


@pytest.mark.rfc("9293", "MUST-16")
def test_timestamps_take_their_room() -> None:
    """RFC 6691: the MSS does not count options, so a segment with timestamps carries 12 bytes less."""
    host = Host()
    c, _peer = client(host, tsval=1)
    c.send(0, b"d" * 5000)
    assert len(host.take()[0].payload) == 1448


@pytest.mark.rfc("9293", "MUST-24", "MUST-26", "MUST-28", "SHLD-12")
def test_keepalive_of_an_idle_peer() -> None:
    """RFC 1122 section 4.2.3.6: after tcp_keepalive_time of idleness a probe; an answer starts the wait anew."""
    host = Host()
    c, peer = client(host, options={"SO_KEEPALIVE": 1})
    host.after(2 * HOUR - 1)
    assert peer.got() == []
    host.after(1)
    assert peer.got() == [". 0:0(0) ack 1"]
    peer.send(ACK, 1, 1)
    host.after(2 * HOUR - 1)
    assert peer.got() == []
    host.after(1)
    assert len(peer.got()) == 1
    assert (c.state, host.counters.TcpExtTCPKeepAlive) == (states.ESTABLISHED, 2)


@pytest.mark.rfc("9293", "MUST-26")
def test_no_keepalive_while_data_is_outstanding() -> None:
    """It is the retransmissions that ask the peer then."""
    host = Host()
    c, peer = client(host, options={"SO_KEEPALIVE": 1, "TCP_KEEPIDLE": 1})
    c.send(host.now, b"x")
    host.after(10 * SECOND)
    assert set(peer.got()) == {"P. 1:2(1) ack 1"}
    assert host.counters.TcpExtTCPKeepAlive == 0


@pytest.mark.rfc("9293", "MUST-29")
def test_keepalive_of_a_dead_peer() -> None:
    """Nine probes 75 s apart, then RST and ETIMEDOUT."""
    host = Host()
    c, peer = client(host, options={"SO_KEEPALIVE": 1})
    host.after(24 * HOUR)
    sent = peer.got()
    assert sent == [". 0:0(0) ack 1"] * 9 + ["R. 1:1(0) ack 1"]
    assert (c.state, c.error) == (states.CLOSED, "ETIMEDOUT")
    assert host.sink.of("state")[-1]["time"] == 2 * HOUR + 9 * 75 * SECOND
    assert host.sink.of("state")[-1]["cause"] == causes.KEEPALIVE_PROBES_EXHAUSTED
    with pytest.raises(SocketError, match="ETIMEDOUT: connection timed out"):
        c.receive(host.now, 1)


def test_keepalive_of_a_rebooted_peer() -> None:
    """The peer has forgotten the connection and answers RST."""
    host = Host()
    c, peer = client(host, options={"SO_KEEPALIVE": 1, "TCP_KEEPIDLE": 10})
    host.after(10 * SECOND)
    peer.got()
    peer.send(RST, 1)
    assert c.error == "ECONNRESET"


@pytest.mark.rfc("9293", "MUST-24", "MUST-25", "MUST-27")
def test_keepalive_can_be_set_and_unset() -> None:
    host = Host()
    c, peer = client(host)
    host.after(HOUR)
    assert host.tcp.next_deadline() == NEVER
    c.set_option(host.now, "TCP_KEEPIDLE", 10)
    c.set_option(host.now, "TCP_KEEPINTVL", 2)
    c.set_option(host.now, "TCP_KEEPCNT", 1)
    c.set_option(host.now, "SO_KEEPALIVE", 1)
    host.after(SECOND)
    assert peer.got() == [". 0:0(0) ack 1"]
    c.set_option(host.now, "SO_KEEPALIVE", 0)
    host.after(HOUR)
    assert (peer.got(), c.state) == ([], states.ESTABLISHED)


def test_keepalive_does_not_take_any_segment_for_life() -> None:
    """Others send segments of the connection; none is in the window, so the peer is as dead as before."""
    host = Host()
    c, peer = client(host, options={"SO_KEEPALIVE": 1, "TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 1, "TCP_KEEPCNT": 3})
    for _ in range(13):
        host.after(SECOND)
        peer.send(ACK, 500_000, 1)
    assert (c.state, c.error) == (states.CLOSED, "ETIMEDOUT")


def test_no_keepalive_in_time_wait() -> None:
    host = Host()
    c, peer = client(host)
    c.shutdown(0)
    peer.send(ACK | FIN, 1, 2)
    assert c.state == states.TIME_WAIT
    c.set_option(0, "TCP_KEEPIDLE", 1)
    c.set_option(0, "SO_KEEPALIVE", 1)
    peer.got()
    host.after(2 * MINUTE)
    assert (peer.got(), c.state) == ([], states.CLOSED)


@pytest.mark.rfc("9293", "MUST-21")
def test_user_timeout() -> None:
    """RFC 9293 section 3.10.8, RFC 5482: what waits longer ends the connection; progress starts the timeout anew."""
    host = Host()
    c, peer = client(host, options={"TCP_USER_TIMEOUT": 3000})
    host.after(HOUR)
    c.send(host.now, b"a")
    host.after(2 * SECOND)
    peer.send(ACK, 1, 2)
    c.send(host.now, b"b")
    started = host.now
    host.after(HOUR)
    assert (c.state, c.error) == (states.CLOSED, "ETIMEDOUT")
    last = host.sink.of("state")[-1]
    assert (last["time"] - started, last["cause"]) == (3 * SECOND, causes.USER_TIMEOUT_EXPIRED)
    with pytest.raises(SocketError, match="ETIMEDOUT: connection aborted due to user timeout"):
        c.send(host.now, b"c")


def test_send_takes_what_fits() -> None:
    """SEND returns how much was taken; `ready` is told when a third of the buffer is free again."""
    host = Host(tcp_wmem=3000)
    c, peer = client(host, window=1000)
    told: list[bool] = []
    c.on_ready = lambda: told.append(c.writable)
    assert c.send(0, b"d" * 5000) == 3000
    assert c.send(0, b"d") == 0
    assert not c.writable
    peer.send(ACK, 1, 501, window=1000)
    assert told == []
    peer.send(ACK, 1, 1001, window=1000)
    assert told == [True]


def test_writes_that_go_on_and_on() -> None:
    """MSG_MORE: each write continues the one before, for ever. Every byte comes out once, and none is kept longer."""
    queue = SendQueue()
    written = sent = 0
    tracemalloc.start()
    for count in range(5000):
        queue.append(bytes([count & 0xFF]) * 1001, more=True)
        written += 1001
        if queue.length >= 1460:
            assert queue.take(1460) == bytes((at // 1001) & 0xFF for at in range(sent, sent + 1460))
            sent += 1460
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert queue.length == written - sent < 1460
    assert peak < 300_000


def test_data_before_the_handshake_waits_for_it() -> None:
    """RFC 9293 section 3.10.2: SEND in SYN-SENT queues the data for transmission after ESTABLISHED."""
    _host, c, peer, _, _ = scenes.syn_sent(Host())
    assert c.send(0, b"early") == 5
    assert peer.got() == []
    assert peer.send(SYN | ACK, 0, 1, mss=1460) == ["P. 1:6(5) ack 1"]


def test_time_outs_have_ends() -> None:
    """A connection with nothing to do has no timer: the lab may say that nothing is left."""
    host, c, peer, _, _ = scenes.established(Host())
    assert host.tcp.next_deadline() == NEVER
    c.send(0, b"x")
    assert host.tcp.next_deadline() != NEVER
    peer.send(ACK, 1, 2)
    assert host.tcp.next_deadline() == NEVER


@pytest.mark.rfc("9293", "SHLD-19")
@pytest.mark.rfc("5681", "4.2-3")
def test_every_second_small_mss_segment_is_acknowledged() -> None:
    """RFC 5681 section 4.2: "full-sized" is what the peer may send, here 100 bytes."""
    host = Host()
    c, peer = client(host, options={"TCP_MAXSEG": 100})
    c.set_option(0, "TCP_QUICKACK", 0)
    assert peer.send(ACK, 1, 1, b"a" * 100) == []
    assert peer.send(ACK, 101, 1, b"a" * 100) == [". 1:1(0) ack 201"]

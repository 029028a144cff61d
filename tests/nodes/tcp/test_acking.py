"""When ACKs are sent: quick-ack mode, ping-pong, small segments read, the options TCP_QUICKACK and TCP_DEFER_ACCEPT."""

from __future__ import annotations

import pytest

from nodes.base.clock import MILLISECOND, SECOND
from nodes.packet.tcp import ACK, FIN, PSH, SYN
from nodes.tcp import states

from .harness import HTTP, PEER, Host, Peer, client, server

MSS = 1460


def test_quick_acks_at_the_beginning() -> None:
    """Linux: the first 16 segments are acknowledged one by one, then every second and the last after 40 ms."""
    host = Host()
    _, peer = client(host)
    counts = [len(peer.send(ACK, 1 + MSS * n, 1, b"a" * MSS)) for n in range(20)]
    assert counts == [1] * 16 + [0, 1, 0, 1]
    peer.send(ACK, 1 + MSS * 20, 1, b"a" * MSS)
    host.after(40 * MILLISECOND - 1)
    assert peer.got() == []
    host.after(1)
    assert peer.got() == [f". 1:1(0) ack {1 + MSS * 21}"]


def test_quick_acks_are_for_half_a_window() -> None:
    """Linux: at most as many as the window has pairs of segments."""
    host = Host(tcp_rmem=6 * MSS)
    c, peer = client(host)
    counts = []
    for n in range(6):
        counts.append(len(peer.send(ACK, 1 + MSS * n, 1, b"a" * MSS)))
        c.receive(0, MSS)
        peer.got()
    assert counts == [1, 1, 1, 0, 1, 0]


def test_who_answers_delays_its_acks() -> None:
    """Linux: an answer within the delay makes the session interactive; its ACKs wait for the next answer."""
    host = Host()
    c, peer = client(host)
    assert peer.send(ACK | PSH, 1, 1, b"first") == [". 1:1(0) ack 6"]
    c.receive(0, 100)
    c.send(0, b"answer")
    assert peer.got() == ["P. 1:7(6) ack 6"]
    peer.send(ACK, 6, 7)
    assert peer.send(ACK | PSH, 6, 7, b"second") == []
    c.receive(0, 100)
    assert peer.got() == []
    c.send(0, b"answer")
    assert peer.got() == ["P. 7:13(6) ack 12"]
    # The delay passed without an answer: not interactive any more.
    peer.send(ACK | PSH, 12, 13, b"third")
    host.after(40 * MILLISECOND)
    assert peer.got() == [". 13:13(0) ack 17"]
    assert peer.send(ACK | PSH, 17, 13, b"fourth") == [". 13:13(0) ack 23"]


def test_a_long_gap_brings_quick_acks_back() -> None:
    host = Host()
    _, peer = client(host)
    for n in range(16):
        peer.send(ACK, 1 + MSS * n, 1, b"a" * MSS)
    at = 1 + MSS * 16
    host.after(10 * SECOND)
    assert [len(peer.send(ACK, at + MSS * n, 1, b"a" * MSS)) for n in range(4)] == [1] * 4


def test_reading_a_small_segment_acknowledges_it() -> None:
    """Linux: who has read all there was, after a segment smaller than the rest, need not wait for more."""
    host = Host()
    c, peer = client(host)
    for n in range(16):
        peer.send(ACK, 1 + MSS * n, 1, b"a" * MSS)
    at = 1 + MSS * 16
    assert peer.send(ACK | PSH, at, 1, b"small") == []
    c.receive(0, 10)
    assert peer.got() == []
    c.receive(0, 100_000)
    assert peer.got() == [f". 1:1(0) ack {at + 5}"]


def test_the_rfc_profile_has_none_of_it() -> None:
    host = Host("rfc")
    c, peer = client(host)
    assert peer.send(ACK | PSH, 1, 1, b"small") == []
    c.receive(0, 100)
    assert peer.got() == []
    host.after(200 * MILLISECOND)
    assert peer.got() == [". 1:1(0) ack 6"]


def test_a_segment_that_comes_twice_brings_quick_acks() -> None:
    """Linux: our ACKs seem to be lost, so there are more of them, in an interactive session too."""
    host = Host()
    c, peer = client(host)
    peer.send(ACK | PSH, 1, 1, b"first")
    c.send(0, b"answer")
    peer.got()
    assert c.get_option("TCP_QUICKACK") == 0
    assert peer.send(ACK | PSH, 1, 7, b"first") == [". 7:7(0) ack 6"]
    assert (host.counters.TcpExtDelayedACKLost, c.get_option("TCP_QUICKACK")) == (1, 1)
    assert peer.send(ACK | PSH, 6, 7, b"second") == [". 7:7(0) ack 12"]


def test_quickack_option() -> None:
    """tcp(7): 0 delays ACKs, 1 sends what waits; it is no permanent setting."""
    host = Host()
    c, peer = client(host)
    assert c.get_option("TCP_QUICKACK") == 1
    c.set_option(0, "TCP_QUICKACK", 0)
    assert c.get_option("TCP_QUICKACK") == 0
    assert peer.send(ACK | PSH, 1, 1, b"data") == []
    c.set_option(0, "TCP_QUICKACK", 1)
    assert peer.got() == [". 1:1(0) ack 5"]
    assert peer.send(ACK | PSH, 5, 1, b"data") == [". 1:1(0) ack 9"]


@pytest.mark.parametrize("options", [{"TCP_QUICKACK": 0}, {"TCP_DEFER_ACCEPT": 1}])
def test_the_ack_of_a_syn_ack_can_wait_for_data(options: dict[str, object]) -> None:
    """tcp(7): who will send first says so, and saves a segment; after 200 ms it goes alone (Linux)."""
    for data in (b"", b"hello"):
        host = Host(tcp_timestamps=0)
        c = host.tcp.open(0, PEER, HTTP, options=options)
        peer = Peer(host, HTTP, c.local_port)
        peer.irs = host.take()[0].seq
        assert peer.send(SYN | ACK, 0, 1, mss=MSS) == []
        assert c.state == states.ESTABLISHED
        if data:
            c.send(0, data)
            assert peer.got() == ["P. 1:6(5) ack 1"]
        else:
            host.after(200 * MILLISECOND)
            assert peer.got() == [". 1:1(0) ack 1"]


def test_defer_accept() -> None:
    """tcp(7): the listener has a connection only when data comes; the ACK alone is dropped."""
    host = Host(tcp_timestamps=0)
    listener = host.tcp.listen(0, b"", HTTP, 16, {"TCP_DEFER_ACCEPT": 2})
    peer = Peer(host, 5000, HTTP)
    peer.send(SYN, 0, mss=MSS)
    (c,) = host.tcp.connections.values()
    peer.irs = c.iss
    assert peer.send(ACK, 1, 1) == []
    assert (c.state, len(listener.accept_queue)) == (states.SYN_RECEIVED, 0)
    assert host.counters.TcpExtTCPDeferAcceptDrop == 1
    assert peer.send(ACK | PSH, 1, 1, b"GET /") == [". 1:1(0) ack 6"]
    assert listener.accept(0) is c
    assert c.receive(0, 100) == b"GET /"


def test_defer_accept_ends() -> None:
    """Linux: 2 s are two timeouts, 1 s and 2 s; then the SYN-ACK goes again, and its ACK is taken."""
    host = Host(tcp_timestamps=0)
    listener = host.tcp.listen(0, b"", HTTP, 16, {"TCP_DEFER_ACCEPT": 2})
    peer = Peer(host, 5000, HTTP)
    peer.send(SYN, 0, mss=MSS)
    (c,) = host.tcp.connections.values()
    peer.irs = c.iss
    peer.send(ACK, 1, 1)
    host.run_until(3 * SECOND - 1)
    assert peer.got() == []
    host.run_until(3 * SECOND)
    assert peer.got() == ["S. 0:0(0) ack 1"]
    assert peer.send(ACK, 1, 1) == []
    assert listener.accept(host.now) is c


def test_defer_accept_takes_a_fin() -> None:
    host = Host(tcp_timestamps=0)
    listener = host.tcp.listen(0, b"", HTTP, 16, {"TCP_DEFER_ACCEPT": 2})
    peer = Peer(host, 5000, HTTP)
    peer.send(SYN, 0, mss=MSS)
    peer.irs = next(iter(host.tcp.connections.values())).iss
    assert peer.send(ACK | FIN, 1, 1) == [". 1:1(0) ack 2"]
    assert listener.accept(0) is not None


def test_rcvlowat() -> None:
    """socket(7): readable when so much is there, or nothing more comes."""
    host = Host()
    c, peer = client(host)
    c.set_option(0, "SO_RCVLOWAT", 10)
    readable = []
    for send in (
        lambda: peer.send(ACK | PSH, 1, 1, b"12345"),
        lambda: peer.send(ACK | PSH, 6, 1, b"67890"),
        lambda: c.receive(0, 7),
        lambda: peer.send(ACK | FIN, 11, 1),
    ):
        send()
        readable.append(c.readable)
    assert readable == [False, True, False, True]


def test_window_clamp() -> None:
    """tcp(7): the window announced is no larger, whatever the buffer; what was announced stays."""
    host = Host()
    c, peer = client(host, options={"TCP_WINDOW_CLAMP": 5000})
    assert c.rcv_wnd == 5000
    peer.send(ACK, 1, 1, b"d" * 1000)
    c.receive(0, 1000)
    c.set_option(0, "TCP_WINDOW_CLAMP", 20_000)
    assert host.take()[-1].window == 20_000
    c.set_option(0, "TCP_WINDOW_CLAMP", 2_000)
    host.tcp.on_segment(0, PEER, host.local, peer.segment(ACK, 1001, 1, b"d" * 1000), 0, 0)
    host.after(SECOND)
    assert host.take()[-1].window == 19_000


def test_cork() -> None:
    """tcp(7): only full segments go, until it is taken out, or 200 ms have passed."""
    host = Host()
    c, peer = client(host)
    c.set_option(0, "TCP_CORK", 1)
    c.set_option(0, "TCP_NODELAY", 1)
    c.send(0, b"a" * (MSS + 10))
    assert peer.got() == [f". 1:{1 + MSS}({MSS}) ack 1"]
    peer.send(ACK, 1, 1 + MSS)
    c.send(0, b"b" * 10)
    assert peer.got() == []
    c.set_option(0, "TCP_CORK", 0)
    assert peer.got() == [f"P. {1 + MSS}:{21 + MSS}(20) ack 1"]
    peer.send(ACK, 1, 21 + MSS)
    c.set_option(0, "TCP_CORK", 1)
    c.send(0, b"c")
    host.after(199 * MILLISECOND)
    assert peer.got() == []
    host.after(2 * MILLISECOND)
    assert peer.got() == [f"P. {21 + MSS}:{22 + MSS}(1) ack 1"]
    peer.send(ACK, 1, 22 + MSS)
    c.send(0, b"d")
    c.shutdown(0)
    assert peer.got() == [f"FP. {22 + MSS}:{23 + MSS}(1) ack 1"]


def test_nodelay_pushes_what_is_corked() -> None:
    """tcp(7): setting TCP_NODELAY sends what waits, also of a corked connection."""
    host = Host()
    c, peer = server(host)
    c.set_option(0, "TCP_CORK", 1)
    c.send(0, b"a")
    assert peer.got() == []
    c.set_option(0, "TCP_NODELAY", 1)
    assert peer.got() == ["P. 1:2(1) ack 1"]

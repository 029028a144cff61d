"""Listening: the SYN queue and the accept queue, each bounded and counted."""

from __future__ import annotations

import pytest

from nodes.base import causes
from nodes.base.clock import NEVER, SECOND
from nodes.base.errors import InvalidArgument, SocketError
from nodes.packet.tcp import ACK, FIN, RST, SYN
from nodes.tcp import states
from nodes.tcp.listener import Listener

from .harness import HERE, HTTP, PEER, Host, Peer, letters, server


def knock(host: Host, port: int) -> Peer:
    """A peer that has sent its SYN."""
    peer = Peer(host, port, HTTP)
    host.tcp.on_segment(host.now, PEER, HERE, peer.segment(SYN, 0, mss=1460), 0, 0)
    answers = host.take()
    peer.irs = answers[0].seq if answers else 0
    return peer


def queues(listener: Listener) -> tuple[int, int]:
    return len(listener.syn_queue), len(listener.accept_queue)


def test_accept_in_order() -> None:
    host = Host()
    listener = host.tcp.listen(0, b"", HTTP, 5)
    told: list[int] = []
    listener.on_ready = lambda: told.append(len(listener.accept_queue))
    assert listener.accept(0) is None
    peers = [knock(host, 1000 + n) for n in range(3)]
    assert (queues(listener), told) == ((3, 0), [])
    for peer in reversed(peers):
        peer.send(ACK, 1, 1)
    assert (queues(listener), told) == ((0, 3), [1, 2, 3])
    accepted = [listener.accept(0) for _ in range(3)]
    assert [c.remote_port for c in accepted if c is not None] == [1002, 1001, 1000]
    assert (host.counters.TcpPassiveOpens, host.counters.TcpActiveOpens) == (3, 0)


def test_accepted_with_data_and_fin() -> None:
    """A connection can be readable, and closed by its peer, before anybody accepts it."""
    host = Host()
    listener = host.tcp.listen(0, b"", HTTP, 5)
    peer = knock(host, 1000)
    peer.send(ACK | FIN, 1, 1, b"hello")
    c = listener.accept(0)
    assert c is not None
    assert (c.state, c.receive(0, 10), c.eof) == (states.CLOSE_WAIT, b"hello", True)


@pytest.mark.parametrize(("backlog", "longest", "kept"), [(5, 4096, 6), (100, 3, 4), (100, 8, 7), (0, 4096, 1)])
def test_syn_queue_is_bounded(backlog: int, longest: int, kept: int) -> None:
    """Without cookies a SYN flood is dropped, not stored, and what was stored goes. As on Linux one more than `backlog`
    is kept, or what leaves a quarter of tcp_max_syn_backlog free."""
    host = Host(tcp_max_syn_backlog=longest, tcp_syncookies=0)
    listener = host.tcp.listen(0, b"", HTTP, backlog)
    for port in range(1000, 1010):
        knock(host, port)
    assert queues(listener) == (kept, 0)
    assert host.counters.TcpExtListenDrops == 10 - kept
    assert host.counters.TcpExtTCPReqQFullDrop == (10 - kept if kept == backlog + 1 else 0)
    assert [e["cause"] for e in host.sink.of("discard")] == [causes.SYN_QUEUE_FULL] * (10 - kept)
    host.after(200 * SECOND)
    assert (queues(listener), len(host.tcp.connections)) == ((0, 0), 0)
    assert (host.counters.TcpAttemptFails, listener.young) == (kept, 0)


def overflow(host: Host) -> tuple[Listener, Peer, Peer]:
    """A listener with one place, in whose accept queue are two, and a third that was in the SYN queue."""
    listener = host.tcp.listen(0, b"", HTTP, 1)
    knock(host, 1000).send(ACK, 1, 1)
    second, third = knock(host, 1001), knock(host, 1002)
    assert second.send(ACK, 1, 1) == []
    return listener, second, third


def test_accept_queue_is_bounded() -> None:
    """listen(2), as on Linux: full beyond `backlog`; then SYNs and final ACKs are dropped, until there is room."""
    host = Host()
    listener, _, third = overflow(host)
    assert third.send(ACK, 1, 1) == []
    assert queues(listener) == (1, 2)
    assert (host.counters.TcpExtListenOverflows, host.counters.TcpExtListenDrops) == (1, 1)
    knock(host, 2000)
    assert queues(listener) == (1, 2)
    assert (host.counters.TcpExtListenOverflows, host.counters.TcpExtListenDrops) == (2, 2)
    listener.accept(0)
    host.after(SECOND)
    assert third.got() == ["S. 0:0(0) ack 1"]
    third.send(ACK, 1, 1)
    assert queues(listener) == (0, 2)


def test_abort_on_overflow() -> None:
    """tcp(7) tcp_abort_on_overflow: the peer is told."""
    host = Host(tcp_abort_on_overflow=1)
    listener, _, third = overflow(host)
    assert third.send(ACK, 1, 1) == ["R 1:1(0)"]
    assert queues(listener) == (0, 2)


def test_old_ones_are_given_up_sooner_in_a_full_queue() -> None:
    """Linux's reqsk_timer_handler: the SYN-ACK goes again five times, but less often where most of the queue is old."""
    host = Host()
    listener = host.tcp.listen(0, b"", HTTP, 9)
    for port in range(1000, 1010):
        knock(host, port)
    host.after(4 * SECOND)
    host.take()
    # All ten have had two timeouts, at 1 s and 3 s, none is young, so two must do: at 7 s the first six go, after
    # which 4 * 2 is not more than the backlog of 9, and the other four go on.
    host.after(4 * SECOND)
    assert (len(host.take()), queues(listener)) == (4, (4, 0))


def test_backlog_is_capped_by_somaxconn() -> None:
    host = Host(somaxconn=7)
    assert host.tcp.listen(0, b"", HTTP, 100).backlog == 7
    with pytest.raises(InvalidArgument, match="backlog: -1"):
        host.tcp.listen(0, b"", HTTP + 1, -1)


def test_close_of_the_listener() -> None:
    """What nobody has accepted is reset; what was accepted lives on, and with SO_REUSEADDR the port is free again."""
    host = Host()
    listener = host.tcp.listen(0, b"", HTTP, 16, {"SO_REUSEADDR": 1})
    c, _peer = server(host, listener=listener)
    knock(host, 1000)
    waiting = knock(host, 1001)
    waiting.send(ACK, 1, 1)
    listener.close(0)
    assert waiting.got() == ["R. 1:1(0) ack 1"]
    assert (queues(listener), c.state) == ((0, 0), states.ESTABLISHED)
    with pytest.raises(SocketError, match="EBADF: connection does not exist"):
        listener.accept(0)
    with pytest.raises(SocketError, match="EBADF"):
        listener.close(0)
    with pytest.raises(SocketError, match="EADDRINUSE"):
        host.tcp.listen(0, b"", HTTP, 1)
    host.tcp.listen(0, b"", HTTP, 1, {"SO_REUSEADDR": 1})


def test_the_more_specific_listener_answers() -> None:
    host = Host()
    host.tcp.listen(0, HERE, HTTP, 1, {"TCP_MAXSEG": 500})
    with pytest.raises(SocketError, match="EADDRINUSE"):
        host.tcp.listen(0, b"", HTTP, 1)
    host.tcp.on_segment(0, PEER, HERE, Peer(host, 5, HTTP).segment(SYN, 0), 0, 0)
    assert host.take()[0].mss == 500


@pytest.mark.rfc("9293", "MUST-11")
def test_reset_in_the_syn_queue() -> None:
    """RFC 9293 section 3.10.7.4, second: a passive OPEN goes back to LISTEN and the user is not told."""
    host = Host()
    listener = host.tcp.listen(0, b"", HTTP, 1)
    peer = knock(host, 1000)
    peer.send(RST, 1)
    assert (queues(listener), host.tcp.connections) == ((0, 0), {})
    assert listener.state == states.LISTEN


def test_queue_events() -> None:
    """Each change of a queue is traced."""
    host = Host()
    server(host, backlog=3)
    rows = [(e["cause"], e["syn_queue"], e["accept_queue"], e["backlog"]) for e in host.sink.of("listener")]
    assert rows == [
        (causes.USER_PASSIVE_OPEN, 0, 0, 3),
        (causes.SYN_RECEIVED, 1, 0, 3),
        (causes.ACK_OF_SYN, 0, 1, 3),
        (0, 0, 0, 3),
    ]


def test_close_of_the_listener_of_a_connection_that_was_closed_before_it_was_accepted() -> None:
    """Calls name connections by number, so one in the SYN queue can be closed: it is in FIN-WAIT-1 then."""
    host = Host()
    listener = host.tcp.listen(0, b"", HTTP, 4)
    peer = Peer(host, 5000, HTTP)
    peer.send(SYN, 0, mss=1460)
    (c,) = host.tcp.connections.values()
    c.close(0)
    assert c.state == states.FIN_WAIT_1
    host.take()
    listener.close(0)
    assert c.state == states.CLOSED
    assert [letters(segment) for segment in host.take()] in (["R"], ["R."])
    assert host.tcp.next_deadline() == NEVER


def test_a_syn_for_a_connection_that_was_closed_before_it_was_accepted() -> None:
    """It has left SYN-RECEIVED, so the SYN is challenged (RFC 5961 section 4.2)."""
    host = Host()
    host.tcp.listen(0, b"", HTTP, 4)
    peer = Peer(host, 5000, HTTP)
    peer.send(SYN, 0, mss=1460)
    (c,) = host.tcp.connections.values()
    peer.irs = c.iss
    c.close(0)
    peer.got()
    assert peer.send(SYN, 1) == [f". {c.snd_nxt - c.iss}:{c.snd_nxt - c.iss}(0) ack 1"]
    assert c.state == states.FIN_WAIT_1


def test_a_listener_defers_for_255_timeouts_at_most() -> None:
    """As Linux (secs_to_retrans): a day of TCP_DEFER_ACCEPT with time-outs of 1 s ends after 255 of them."""
    host = Host(tcp_rto_max_ms=1000)
    host.tcp.listen(0, b"", HTTP, 4, {"TCP_DEFER_ACCEPT": 86_400})
    peer = Peer(host, 5000, HTTP)
    peer.send(SYN, 0, mss=1460)
    (c,) = host.tcp.connections.values()
    peer.irs = c.iss
    peer.send(ACK, 1, 1)
    host.after(250 * SECOND)
    assert c.state == states.SYN_RECEIVED
    host.after(10 * SECOND)
    assert c.state == states.CLOSED

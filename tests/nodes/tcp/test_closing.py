"""Closing: half and simultaneous close, TIME-WAIT, FIN-WAIT-2, linger, unread data, resets and what users see."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from nodes.base import causes
from nodes.base.clock import HOUR, MILLISECOND, NEVER, SECOND
from nodes.base.errors import InvalidArgument, SocketError
from nodes.packet.tcp import ACK, FIN, RST, SYN, Segment
from nodes.tcp import states
from nodes.tcp.seq import MASK, before

from . import scenes
from .harness import HERE, HTTP, PEER, Host, Wire, client
from .scenes import SCENES


def test_normal_close() -> None:
    """RFC 9293 section 3.6, figure 12."""
    wire = Wire()
    c, s = wire.connect()
    c.close(wire.now)
    wire.run(wire.now + SECOND)
    assert s.eof
    s.close(wire.now)
    wire.run()
    assert wire.a.sink.path(1)[2:] == ["ESTABLISHED", "FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT", "CLOSED"]
    assert wire.b.sink.path(1)[2:] == ["ESTABLISHED", "CLOSE-WAIT", "LAST-ACK", "CLOSED"]
    assert (wire.a.counters.TcpExtTW, wire.b.counters.TcpExtTW) == (1, 0)
    assert (wire.a.counters.TcpEstabResets, wire.b.counters.TcpEstabResets) == (0, 0)


def test_simultaneous_close() -> None:
    """RFC 9293 section 3.6, figure 13: FINs cross; both ends go through CLOSING to TIME-WAIT."""
    wire = Wire()
    c, s = wire.connect()
    wire.run(wire.now + SECOND)
    c.close(wire.now)
    s.close(wire.now)
    wire.run()
    for host in wire.hosts:
        assert host.sink.path(1)[2:] == ["ESTABLISHED", "FIN-WAIT-1", "CLOSING", "TIME-WAIT", "CLOSED"]


@pytest.mark.rfc("9293", "MUST-12")
def test_half_close() -> None:
    """RFC 9293 section 3.6: after shutdown one still receives; the other still sends."""
    wire = Wire()
    c, s = wire.connect()
    c.send(wire.now, b"question")
    c.shutdown(wire.now)
    wire.run(wire.now + SECOND)
    assert (s.receive(wire.now, 100), s.eof) == (b"question", True)
    s.send(wire.now, b"answer" * 1000)
    wire.run(wire.now + SECOND)
    assert (c.receive(wire.now, 9000), c.eof) == (b"answer" * 1000, False)
    with pytest.raises(SocketError, match="EPIPE: connection closing"):
        c.send(wire.now, b"x")
    s.close(wire.now)
    wire.run(wire.now + SECOND)
    assert (c.eof, c.state) == (True, states.TIME_WAIT)


def test_state_changes_when_the_close_is_queued() -> None:
    """RFC 9293 section 3.10.4: CLOSE enters FIN-WAIT-1 at once, the FIN follows the queued data."""
    host = Host()
    c, peer = client(host, window=1000)
    c.send(0, b"d" * 1500)
    assert peer.got() == [". 1:1001(1000) ack 1"]
    c.close(0)
    assert (c.state, peer.got()) == (states.FIN_WAIT_1, [])
    assert peer.send(ACK, 1, 1001, window=1000) == ["FP. 1001:1501(500) ack 1"]
    peer.send(ACK, 1, 1502)
    assert c.state == states.FIN_WAIT_2


def test_close_in_syn_received_waits_for_queued_data() -> None:
    """RFC 9293 section 3.10.4: in SYN-RECEIVED with data queued the CLOSE waits for ESTABLISHED."""
    host, c, peer, _, _ = scenes.syn_received_active(Host())
    c.send(0, b"data")
    c.close(0)
    assert c.state == states.SYN_RECEIVED
    assert peer.send(ACK, 1, 1) == ["FP. 1:5(4) ack 1"]
    assert host.sink.path(c.number)[-2:] == ["ESTABLISHED", "FIN-WAIT-1"]


def test_close_in_syn_received_without_data() -> None:
    """RFC 9293 section 3.10.4: ... and without data the FIN goes at once; one ACK may acknowledge SYN and FIN."""
    _host, c, peer, _, _ = scenes.syn_received_active(Host())
    c.close(0)
    assert (c.state, peer.got()) == (states.FIN_WAIT_1, ["F. 1:1(0) ack 1"])
    peer.send(ACK, 1, 2)
    assert c.state == states.FIN_WAIT_2


@pytest.mark.parametrize(("profile", "seconds"), [("linux", 60), ("rfc", 240)])
@pytest.mark.rfc("9293", "MUST-13")
def test_time_wait_lasts_2msl_and_restarts(profile: str, seconds: int) -> None:
    """RFC 9293 section 3.10.7.4, eighth: a retransmitted FIN is acknowledged and restarts the 2MSL timer."""
    host, c, peer, nxt, una = scenes.time_wait(Host(profile))
    host.after((seconds - 1) * SECOND)
    assert peer.send(FIN | ACK, nxt - 1, una) == [f". {una}:{una}(0) ack {nxt}"]
    host.after(seconds * SECOND - 1)
    assert c.state == states.TIME_WAIT
    host.after(1)
    assert c.state == states.CLOSED
    assert host.tcp.next_deadline() == NEVER


def test_lost_last_ack() -> None:
    """RFC 9293 section 3.6.1: LAST-ACK sends its FIN again until TIME-WAIT's ACK arrives."""
    dropped: list[int] = []

    def fate(n: int, segment: Segment) -> list[int]:
        if segment.flags == ACK and segment.ack == fin_end and not dropped:
            dropped.append(n)
            return []
        return [MILLISECOND]

    fin_end = -1
    wire = Wire(fate=fate)
    c, s = wire.connect()
    c.close(wire.now)
    wire.run(wire.now + SECOND)
    fin_end = (s.iss + 2) & MASK
    s.close(wire.now)
    wire.run()
    assert dropped
    assert wire.b.sink.path(1)[-2:] == ["LAST-ACK", "CLOSED"]
    assert [e["cause"] for e in wire.b.sink.of("retransmit")] == [causes.LOSS_PROBE]
    # 2MSL after the FIN that came again, not after the first.
    ends = {e["new"]: e["time"] for e in wire.a.sink.of("state")}
    assert ends[states.CLOSED] - ends[states.TIME_WAIT] > 60 * SECOND + 200 * MILLISECOND


@pytest.mark.parametrize(("knob", "state"), [(0, states.CLOSED), (1, states.TIME_WAIT)])
def test_time_wait_assassination(knob: int, state: int) -> None:
    """RFC 1337: a RST ends TIME-WAIT, unless tcp_rfc1337."""
    _host, c, peer, nxt, _una = scenes.time_wait(Host(tcp_rfc1337=knob))
    peer.send(RST, nxt)
    assert c.state == state


@pytest.mark.parametrize(("seq", "reopens"), [(100_000, True), (-5, False)])
def test_time_wait_reuse_by_sequence(seq: int, reopens: bool) -> None:
    """RFC 9293 section 3.6.1: a SYN beyond the old connection may reopen it, with an ISN beyond the old one's."""
    host, c, peer, _nxt, _una = scenes.time_wait(Host())
    c.set_option(0, "SO_REUSEADDR", 1)
    host.tcp.listen(0, b"", c.local_port, 4, {"SO_REUSEADDR": 1})
    old_end = c.snd_nxt & MASK
    peer.send(SYN, seq, mss=1460)
    assert (c.state == states.CLOSED) is reopens
    if reopens:
        new = host.tcp.connections[2]
        assert new.state == states.SYN_RECEIVED
        assert before(old_end, new.iss)
        assert host.counters.TcpExtTWRecycled == 1


@pytest.mark.parametrize(("newer", "seq", "reopens"), [(1, -5, True), (-1, 100_000, False)])
@pytest.mark.rfc("9293", "SHLD-4")
def test_time_wait_reuse_by_timestamp(newer: int, seq: int, reopens: bool) -> None:
    """RFC 6191 section 2: with timestamps, a later timestamp decides."""
    host = Host()
    c, peer = client(host, tsval=5000)
    c.shutdown(0)
    peer.send(ACK, 1, 2)
    peer.send(FIN | ACK, 1, 2)
    assert c.state == states.TIME_WAIT
    c.set_option(0, "SO_REUSEADDR", 1)
    host.tcp.listen(0, b"", c.local_port, 4, {"SO_REUSEADDR": 1})
    peer.tsval = 5000 + newer
    peer.send(SYN, seq, mss=1460)
    assert (c.state == states.CLOSED) is reopens


def test_fin_wait_2_of_an_orphan_ends() -> None:
    """tcp(7) tcp_fin_timeout: only when the user has closed; TCP_LINGER2 sets it for one connection."""
    host, c, *_ = scenes.fin_wait_2(Host())
    host.after(HOUR)
    assert c.state == states.FIN_WAIT_2
    c.close(host.now)
    host.after(60 * SECOND - 1)
    assert c.state == states.FIN_WAIT_2
    host.after(1)
    assert c.state == states.CLOSED
    host, c, *_ = scenes.fin_wait_2(Host(), TCP_LINGER2=5)
    c.close(0)
    host.after(5 * SECOND)
    assert c.state == states.CLOSED


def test_linger_zero_resets() -> None:
    host, c, peer, _nxt, _una = scenes.established(Host())
    c.set_option(0, "SO_LINGER", 0)
    c.close(0)
    assert (c.state, peer.got()) == (states.CLOSED, ["R. 1:1(0) ack 1"])
    assert (host.counters.TcpExtTCPAbortOnData, host.counters.TcpExtTCPAbortOnLinger) == (1, 0)  # as Linux counts


@pytest.mark.rfc("9293", "SHLD-3")
def test_unread_data_at_close_resets() -> None:
    """RFC 9293 section 3.6.1 (RFC 2525 2.17): the peer must learn that its data was not read."""
    host, c, peer, _nxt, _una = scenes.established(Host())
    peer.send(ACK, 1, 1, b"unread")
    c.close(0)
    assert (c.state, peer.got()) == (states.CLOSED, ["R. 1:1(0) ack 7"])
    assert host.counters.TcpExtTCPAbortOnClose == 1


def test_data_after_close_resets() -> None:
    """RFC 9293 section 3.6.1: data that comes when nobody can read it any more."""
    host, c, peer, _nxt, _una = scenes.established(Host())
    c.close(0)
    peer.got()
    assert peer.send(ACK, 1, 2, b"late") == ["R 2:2(0)"]
    assert (c.state, host.counters.TcpExtTCPAbortOnData) == (states.CLOSED, 1)


@pytest.mark.rfc("9293", "MUST-12")
def test_reset_as_the_user_sees_it() -> None:
    """The error is told once, then EPIPE and end of file; data that came before the RST can be read."""
    host, c, peer, _nxt, _una = scenes.established(Host())
    peer.send(ACK, 1, 1, b"before")
    peer.send(RST, 7)
    assert (c.error, c.readable, c.writable, c.eof) == ("ECONNRESET", True, True, False)
    assert c.receive(0, 100) == b"before"
    with pytest.raises(SocketError, match="ECONNRESET: connection reset"):
        c.receive(0, 100)
    assert (c.receive(0, 100), c.eof) == (b"", True)
    with pytest.raises(SocketError, match="EPIPE"):
        c.send(0, b"x")
    c.close(0)
    assert host.counters.TcpEstabResets == 1
    assert [e["cause"] for e in host.sink.of("error")] == [causes.ERROR_RESET]


@pytest.mark.parametrize("state", SCENES, ids=states.STATE_NAMES.__getitem__)
def test_abort(state: int) -> None:
    """RFC 9293 section 3.10.5: RST where the peer may hold a connection; none in SYN-SENT and TIME-WAIT."""
    host, c, peer, _nxt, una = SCENES[state](Host())
    c.abort(0)
    sent = peer.got()
    assert c.state == states.CLOSED
    assert host.tcp.next_deadline() == NEVER
    if state in (states.SYN_SENT, states.TIME_WAIT):
        assert sent == []
    else:
        assert [line.split()[0].rstrip(".") for line in sent] == ["R"]
        assert sent[0].split()[1] == f"{una}:{una}(0)"


def test_calls_that_are_illegal_in_the_state() -> None:
    """RFC 9293 section 3.10, in its words, with the errno of a socket, and an event each."""
    host, c, _peer, _nxt, _una = scenes.time_wait(Host())
    host.after(HOUR)
    calls: list[tuple[Callable[[], object], str]] = [
        (lambda: c.send(0, b"x"), "EPIPE: connection does not exist"),
        (lambda: c.shutdown(0), "ENOTCONN: connection does not exist"),
        (lambda: c.abort(0), "ENOTCONN: connection does not exist"),
    ]
    for call, words in calls:
        with pytest.raises(SocketError, match=words):
            call()
    assert c.receive(0, 10) == b""
    assert len(host.sink.of("illegal")) == 3
    c.close(0)
    calls = [
        (lambda: c.close(0), "EBADF: connection does not exist"),
        (lambda: c.receive(0, 1), "EBADF: connection closing"),
        (lambda: c.send(0, b"x"), "EBADF: connection closing"),
        (lambda: c.set_option(0, "TCP_NODELAY", 1), "EBADF: connection closing"),
    ]
    for call, words in calls:
        with pytest.raises(SocketError, match=words):
            call()
    assert c.status(0).state_name == "CLOSED"


def test_second_open_of_the_same_connection() -> None:
    """RFC 9293 section 3.10.1: "error: connection already exists"."""
    host = Host()
    c = host.tcp.open(0, PEER, HTTP, local_port=4000)
    with pytest.raises(SocketError, match="EADDRINUSE: connection already exists"):
        host.tcp.open(0, PEER, HTTP, local_port=4000)
    host.tcp.listen(0, b"", HTTP, 1)
    for address in (b"", HERE):
        with pytest.raises(SocketError, match="EADDRINUSE: connection already exists"):
            host.tcp.listen(0, address, HTTP, 1)
    assert [e["cause"] for e in host.sink.of("illegal")] == [causes.ERROR_ALREADY_EXISTS] * 3
    assert len(host.tcp.connections) == 1
    assert c.state == states.SYN_SENT


def test_open_needs_a_route_an_address_and_a_port() -> None:
    host = Host(ip_local_port_range="5000 5001")
    with pytest.raises(SocketError, match="ENETUNREACH"):
        host.tcp.open(0, bytes((192, 0, 2, 1)), HTTP)
    with pytest.raises(SocketError, match="EADDRNOTAVAIL"):
        host.tcp.open(0, PEER, HTTP, local=PEER)
    with pytest.raises(InvalidArgument, match=r"remote_port: 70000 is not allowed; a port from 1 to 65535 is"):
        host.tcp.open(0, PEER, 70_000)
    ports = {host.tcp.open(0, PEER, HTTP).local_port for _ in range(2)}
    assert ports == {5000, 5001}
    with pytest.raises(SocketError, match=r"EADDRNOTAVAIL: no free port in ip_local_port_range 5000\.\.5001"):
        host.tcp.open(0, PEER, HTTP)
    assert host.tcp.open(0, PEER, HTTP + 1).local_port in ports


def test_self_connect() -> None:
    """A connection to one's own address and port is a simultaneous open with oneself (RFC 9293 section 3.5)."""
    host = Host()
    c = host.tcp.open(0, HERE, 4000, local_port=4000)

    def loop() -> None:
        for _ in range(50):
            sent = [(entry[1], entry[2], entry[3]) for entry in host.network.sent]
            host.network.sent.clear()
            for src, dst, segment in sent:
                host.tcp.on_segment(host.now, src, dst, segment, 0, 0)

    loop()
    assert c.state == states.ESTABLISHED
    c.send(0, b"hello me")
    loop()
    assert c.receive(0, 100) == b"hello me"
    c.shutdown(0)
    loop()
    host.after(HOUR)
    assert (c.state, c.error) == (states.CLOSED, "")
    assert host.network.sent == []


def test_reading_after_a_reset_sends_nothing() -> None:
    """What came before the RST may still be read; no window update goes to a connection that is gone."""
    host = Host(tcp_rmem=2000)
    c, peer = client(host)
    peer.send(ACK, 1, 1, b"d" * 1500)
    peer.send(RST, 1501)
    assert len(c.receive(0, 2000)) == 1500
    assert peer.got() == []


def test_an_orphan_does_not_probe_a_closed_window_for_ever() -> None:
    """RFC 6429 section 4: when the user has gone, a peer cannot keep us by answering window probes."""
    host = Host()
    c, peer = client(host, window=0)
    c.send(0, b"never taken")
    c.close(0)
    while host.tcp.next_deadline() != NEVER:
        host.run_until(host.tcp.next_deadline())
        peer.send(ACK, 1, 1, window=0)
    assert (c.state, c.error) == (states.CLOSED, "ETIMEDOUT")
    assert host.counters.TcpExtTCPWinProbe == 8

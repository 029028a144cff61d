"""TCPs that are wrong on purpose: each does its one thing wrong, says so in the trace, and is off unless asked for."""

from __future__ import annotations

import pytest

from nodes.base.clock import MILLISECOND, SECOND
from nodes.base.errors import InvalidArgument
from nodes.packet.tcp import ACK, FIN, SYN, Segment
from nodes.tcp import states
from nodes.tcp.mutants import MUTANTS
from nodes.tcp.parameters import Parameters

from .harness import HERE, HTTP, PEER, Host, Peer, Wire, client, server


def test_the_parameter() -> None:
    parameters = Parameters()
    assert parameters.get("mutants") == "none"
    parameters.set("mutants", "no-karn,two-way-handshake")
    assert parameters.get("mutants") == "two-way-handshake no-karn"
    message = "mutants: 'three-way' is not allowed; none is, or two-way-handshake, constant-isn"
    with pytest.raises(InvalidArgument, match=message):
        parameters.set("mutants", "three-way")
    parameters.set("mutants", "none")
    assert parameters.get("mutants") == "none"


@pytest.mark.parametrize("name", MUTANTS)
def test_every_connection_is_marked_and_works(name: str) -> None:
    """On a good path all of them carry a stream, else nobody would have believed in them."""
    wire = Wire(mutants=name, tcp_msl_ms=100)
    c, s = wire.connect()
    wire.run(until=lambda: c.synchronized)
    data = bytes(range(256)) * 100
    assert c.send(wire.now, data) == len(data)
    c.shutdown(wire.now)
    wire.run(until=lambda: s.fin_received)
    assert s.receive(wire.now, 1 << 20) == data
    s.close(wire.now)
    wire.run()
    for host in wire.hosts:
        marks = [(e["conn"], host.sink.text(e["mutant"])) for e in host.sink.of("mutant")]
        assert marks == [(1, name)]


def test_two_way_handshake() -> None:
    """An old SYN makes a connection that a program is given; with three, its peer's RST ends it unseen."""
    for mutants, given in (("two-way-handshake", 1), ("", 0)):
        host = Host(mutants=mutants)
        listener = host.tcp.listen(0, b"", HTTP, 5)
        Peer(host, 5000, HTTP).send(SYN, 0, mss=1460)
        assert len(listener.accept_queue) == given
    host = Host(mutants="two-way-handshake")
    listener = host.tcp.listen(0, b"", HTTP, 5)
    peer = Peer(host, 5000, HTTP)
    peer.send(SYN, 0, mss=1460, window=1000)
    c = listener.accept(0)
    assert c is not None
    assert host.sink.path(c.number) == ["LISTEN", "SYN-RECEIVED", "ESTABLISHED"]
    peer.irs = c.iss
    c.send(0, b"hello")
    assert (peer.got(), c.snd_wnd, c.srtt) == (["P. 1:6(5) ack 1"], 1000, 0)


def test_constant_isn() -> None:
    host = Host(mutants="constant-isn")
    for _ in range(3):
        c = host.tcp.open(host.now, PEER, HTTP)
        assert c.iss == 1000
        host.after(SECOND)


def test_no_time_wait() -> None:
    """The FIN is acknowledged; when that ACK is lost, the FIN meets a RST."""
    host = Host(mutants="no-time-wait")
    c, peer = client(host)
    c.close(0)
    peer.got()
    peer.send(ACK, 1, 2)
    assert peer.send(FIN | ACK, 1, 2) == [". 2:2(0) ack 2"]
    assert host.sink.path(c.number) == ["CLOSED", "SYN-SENT", "ESTABLISHED", "FIN-WAIT-1", "FIN-WAIT-2", "CLOSED"]
    assert peer.send(FIN | ACK, 1, 2) == ["R 2:2(0)"]
    # a simultaneous close
    c, peer = client(host)
    c.close(0)
    peer.got()
    assert peer.send(FIN | ACK, 1, 1) == [". 2:2(0) ack 2"]
    peer.send(ACK, 2, 2)
    assert c.state == states.CLOSED


@pytest.mark.parametrize(("mutants", "shrinks"), [("", False), ("no-karn", True)])
def test_no_karn(mutants: str, shrinks: bool) -> None:
    """RFC 6298 section 3: the path takes 2 s, longer than the first RTO; the ACK of the original comes 1 s after the
    copy. Who takes it for the copy's has a round-trip time of half the truth."""
    host = Host(mutants=mutants, tcp_timestamps=0, tcp_sack=0, tcp_early_retrans=0)
    c, peer = client(host)
    srtt, rto = c.srtt, c.rto
    c.send(host.now, b"x")
    host.after(2 * SECOND)
    sent = len(peer.got()) - 1
    assert sent >= 1
    peer.send(ACK, 1, 2)
    if shrinks:
        assert host.sink.of("rtt")[-1]["sample_ns"] < 2 * SECOND
        assert c.backoff == 0
    else:
        assert (c.srtt, c.rto) == (srtt, rto << sent)


def test_stop_and_wait() -> None:
    """40 segments over 5 ms each way take 40 round trips, where Reno's window of 10 doubles."""
    took = {}
    for mutants in ("", "stop-and-wait"):
        wire = Wire(mutants=mutants, tcp_delack_ms=0)
        c, s = wire.connect()
        began = wire.now
        c.send(wire.now, bytes(c.mss * 40))
        wire.run(until=lambda s=s, c=c: s.buffered == c.mss * 40)  # type: ignore[misc]
        took[mutants] = (wire.now - began) // MILLISECOND
        assert max(e["cwnd"] for e in wire.a.sink.of("cwnd")) == c.mss or not mutants
    assert took["stop-and-wait"] == 39 * 10 + 5
    assert took[""] < 40


def test_rfc793_rtt() -> None:
    """RFC 793 section 3.7 by hand, ALPHA 7/8 and BETA 2: round trips of 400, 400 and 1000 ms."""
    host = Host(mutants="rfc793-rtt", tcp_timestamps=0, tcp_delack_ms=0)
    c, peer = server(host)
    rtos = []
    c.srtt = 0
    for number, rtt in enumerate((400, 400, 1000)):
        c.send(host.now, b"x")
        host.now += rtt * MILLISECOND
        peer.send(ACK, 1, 2 + number)
        rtos.append((c.srtt // MILLISECOND, c.rto // MILLISECOND))
    assert rtos == [(400, 800), (400, 800), (475, 950)]


def test_stale_data_is_taken_where_two_mutants_meet() -> None:
    """Two-way handshake and constant ISN: an old SYN and the old data behind it are given to the program."""
    for mutants, taken in (("two-way-handshake constant-isn", b"pay 100"), ("", b"")):
        host = Host(mutants=mutants)
        listener = host.tcp.listen(0, b"", HTTP, 5)
        peer = Peer(host, 5000, HTTP)
        peer.irs = 1000

        def old(segment: Segment, host: Host = host) -> None:
            host.tcp.on_segment(host.now, PEER, HERE, segment, 0, 0)

        old(peer.segment(SYN, 0, mss=1460))
        old(peer.segment(ACK, 1, 1, b"pay 100"))
        c = listener.accept(0)
        assert (c.receive(0, 100) if c is not None else b"") == taken

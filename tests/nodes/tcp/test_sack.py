"""SACK and D-SACK: the examples of RFC 2018 section 4 and RFC 2883 section 4, and recovery by what SACK tells."""

from __future__ import annotations

from typing import Any

import pytest

from nodes.base import causes
from nodes.base.clock import MILLISECOND
from nodes.packet.tcp import ACK, SYN, Segment
from nodes.tcp.connection import Connection
from nodes.tcp.seq import MASK
from tests.nodes.tcp.harness import HTTP, PEER, Host, Peer, Wire, server

MSS = 1460
#: Sequence number, relative, of the RFCs' octet 5000.
START = 1


def receiver(host: Host) -> tuple[Connection, Peer]:
    listener = host.tcp.listen(host.now, b"", HTTP, 16)
    peer = Peer(host, 5000, HTTP)
    host.tcp.on_segment(host.now, PEER, host.local, peer.segment(SYN, 0, mss=1460, sack_permitted=True), 0, 0)
    answer = host.take()[0]
    assert answer.sack_permitted
    peer.irs = answer.seq
    assert peer.send(ACK, 1, 1) == []
    c = listener.accept(host.now)
    assert c is not None
    return c, peer


def give(host: Host, peer: Peer, octet: int, size: int = 500) -> tuple[int, list[tuple[int, int]]]:
    """Give the receiver the segment that begins at the RFC's octet; the ACK and blocks it answers with, likewise."""
    segment = peer.segment(ACK, octet - 5000 + START, 1, bytes(size))
    host.tcp.on_segment(host.now, PEER, host.local, segment, 0, 0)
    sent = host.take()
    if not sent:
        host.after(200 * MILLISECOND)  # the delayed ACK
        sent = host.take()
    (answer,) = sent

    def octet_of(number: int) -> int:
        return ((number - peer.iss) & MASK) - START + 5000

    return octet_of(answer.ack), [(octet_of(left), octet_of(right)) for left, right in answer.sack]


@pytest.mark.rfc("2018", "4-3", "4-4", "4-5", "4-6", "8-1")
def test_the_first_is_lost_and_seven_arrive() -> None:
    """RFC 2018 section 4, case 2."""
    host = Host(tcp_rmem=1 << 20)
    _, peer = receiver(host)
    for n in range(1, 8):
        assert give(host, peer, 5000 + 500 * n) == (5000, [(5500, 6000 + 500 * (n - 1))])


@pytest.mark.rfc("2018", "4-1", "4-6", "4-7", "4-8", "8-2")
def test_every_second_is_lost() -> None:
    """RFC 2018 section 4, case 3: the block that changed last comes first; what fills a hole joins blocks."""
    host = Host(tcp_rmem=1 << 20)
    _, peer = receiver(host)
    assert give(host, peer, 5000) == (5500, [])
    assert give(host, peer, 6000) == (5500, [(6000, 6500)])
    assert give(host, peer, 7000) == (5500, [(7000, 7500), (6000, 6500)])
    assert give(host, peer, 8000) == (5500, [(8000, 8500), (7000, 7500), (6000, 6500)])
    assert give(host, peer, 6500) == (5500, [(6000, 7500), (8000, 8500)])
    assert give(host, peer, 5500) == (7500, [(8000, 8500)])


def test_a_whole_segment_twice() -> None:
    """RFC 2883 section 4.1.1, and 4.1.2 with a block above: the duplicate is told first, and once."""
    host = Host(tcp_rmem=1 << 20)
    _, peer = receiver(host)
    assert give(host, peer, 5000) == (5500, [])
    assert give(host, peer, 5000) == (5500, [(5000, 5500)])
    assert give(host, peer, 6000) == (5500, [(6000, 6500)])
    assert give(host, peer, 5000) == (5500, [(5000, 5500), (6000, 6500)])
    assert give(host, peer, 7000) == (5500, [(7000, 7500), (6000, 6500)])


def test_a_segment_out_of_order_twice() -> None:
    """RFC 2883 section 4.1.3: the second block is the one around the duplicate."""
    host = Host(tcp_rmem=1 << 20)
    _, peer = receiver(host)
    give(host, peer, 5000)
    give(host, peer, 6000)
    give(host, peer, 6500)
    assert give(host, peer, 6000) == (5500, [(6000, 6500), (6000, 7000)])


def test_part_of_a_segment_twice() -> None:
    """RFC 2883 section 4.2: only the part that was there already."""
    host = Host(tcp_rmem=1 << 20)
    _, peer = receiver(host)
    give(host, peer, 5000)
    assert give(host, peer, 5000, size=1000) == (6000, [(5000, 5500)])


@pytest.mark.parametrize("knob", ["tcp_sack", "permitted"])
@pytest.mark.rfc("2018", "4-2")
def test_who_was_not_permitted_tells_nothing(knob: str) -> None:
    """RFC 2018 section 2: both ends have to offer it."""
    host = Host(tcp_sack=0) if knob == "tcp_sack" else Host()
    _, peer = server(host) if knob == "permitted" else receiver_without(host)
    give(host, peer, 5000)
    assert give(host, peer, 6000) == (5500, [])


def receiver_without(host: Host) -> tuple[Connection, Peer]:
    listener = host.tcp.listen(host.now, b"", HTTP, 16)
    peer = Peer(host, 5000, HTTP)
    host.tcp.on_segment(host.now, PEER, host.local, peer.segment(SYN, 0, mss=1460, sack_permitted=True), 0, 0)
    answer = host.take()[0]
    assert not answer.sack_permitted
    peer.irs = answer.seq
    peer.send(ACK, 1, 1)
    c = listener.accept(host.now)
    assert c is not None
    return c, peer


def transfer(lost: set[int], size: int = 40, **knobs: Any) -> tuple[Wire, Connection]:
    """`size` full segments from a to b; the data segments with these ordinals, counted from 1, are lost."""
    data = 0

    def fate(_: int, segment: Segment) -> list[int]:
        nonlocal data
        if segment.payload:
            data += 1
            if data in lost:
                return []
        return [5 * MILLISECOND]

    wire = Wire(fate=fate, **knobs)
    c, s = wire.connect()
    c.send(wire.now, b"d" * (size * c.status(0).snd_mss))
    wire.run(until=lambda: s.buffered == size * c.status(0).snd_mss, limit=60_000 * MILLISECOND)
    assert s.buffered == size * c.status(0).snd_mss
    wire.run(limit=wire.now + 100 * MILLISECOND)
    return wire, c


@pytest.mark.parametrize("recovery", [0, 1])
@pytest.mark.rfc("5681", "4.3-1")
@pytest.mark.rfc("6675", "4-1", "4-3", "4-4", "5-4", "5-6", "5-8", "5-9")
@pytest.mark.rfc("2018", "5-1")
def test_many_losses_of_one_window_take_one_round_trip(recovery: int) -> None:
    """RFC 6675, RFC 8985: each hole is filled once, none by a timeout; NewReno needs a round trip for each."""
    wire, _ = transfer({12, 14, 16, 18}, tcp_recovery=recovery)
    resent = wire.a.sink.of("retransmit")
    assert [one["cause"] for one in resent] == [causes.RETRANSMIT_SACK] * 4
    assert resent[-1]["time"] - resent[0]["time"] <= 12 * MILLISECOND
    assert [one["entered"] for one in wire.a.sink.of("recovery")] == [1, 0]
    assert wire.a.counters.TcpExtTCPTimeouts == 0


@pytest.mark.rfc("8985", "7.2-1", "7.3-5", "7.3-6")
def test_a_lost_tail_is_probed_for() -> None:
    """RFC 8985 section 7: the last segments are lost, so no ACK tells; the probe comes before the timeout."""
    wire, _ = transfer({39, 40})
    assert wire.a.counters.TcpExtTCPLossProbes >= 1
    assert wire.a.counters.TcpExtTCPTimeouts == 0
    assert wire.a.sink.of("retransmit")[0]["cause"] == causes.LOSS_PROBE


def test_reordering_is_no_loss() -> None:
    """RFC 8985 section 6.2: once reordering was seen, what is a little late is waited for."""
    data = 0

    def fate(_: int, segment: Segment) -> list[int]:
        nonlocal data
        if segment.payload:
            data += 1
            if data % 20 == 15:
                return [6 * MILLISECOND]  # some segments overtake it
        return [5 * MILLISECOND]

    wire = Wire(fate=fate, tcp_rmem=4 << 20, tcp_wmem=4 << 20)
    c, s = wire.connect()
    size = 400 * c.status(0).snd_mss
    c.send(wire.now, bytes(size))
    wire.run(until=lambda: s.buffered == size, limit=60_000 * MILLISECOND)
    assert s.buffered == size
    wire.run(limit=wire.now + 100 * MILLISECOND)
    entered = sum(one["entered"] for one in wire.a.sink.of("recovery"))
    counters = wire.a.counters
    undone = counters.TcpExtTCPFullUndo + counters.TcpExtTCPPartialUndo + counters.TcpExtTCPDSACKUndo
    assert entered < 5 and undone == entered  # of 20 that came late
    assert 10 <= c.status(wire.now).reord_seen == wire.a.counters.TcpExtTCPSACKReorder <= 20
    assert s.status(wire.now).reord_seen == 0


def test_a_timeout_for_nothing_is_taken_back() -> None:
    """RFC 5682, RFC 4015: the path stood still for a while; nothing was lost, so the window is what it was."""
    stood: list[int] = []

    def fate(_: int, segment: Segment) -> list[int]:
        if wire.now >= 100 * MILLISECOND and wire.now < 600 * MILLISECOND:
            stood.append(1)
            return [600 * MILLISECOND - wire.now + len(stood) * 10_000]
        return [5 * MILLISECOND]

    wire = Wire(fate=fate, tcp_rmem=4 << 20, tcp_wmem=4 << 20)
    c, s = wire.connect()

    def write() -> None:
        while c.writable and c.send(wire.now, bytes(65536)):
            pass

    def read() -> None:
        while s.readable and s.receive(wire.now, 1 << 20):
            pass

    c.on_ready, s.on_ready = write, read
    write()
    wire.run(until=lambda: wire.now > 90 * MILLISECOND)
    window = c.status(0).snd_cwnd
    wire.run(until=lambda: wire.now > 700 * MILLISECOND)
    assert wire.a.counters.TcpExtTCPTimeouts >= 1
    assert wire.a.counters.TcpExtTCPLossUndo >= 1
    assert c.status(0).snd_cwnd >= window


def late_original(timestamps: int) -> tuple[Wire, Connection, Connection]:
    """The 40th data segment is so late that it was sent again, and the recovery is over, when it comes."""
    data = 0

    def fate(_: int, segment: Segment) -> list[int]:
        nonlocal data
        data += segment.payload != b""
        if segment.payload and data == 40:
            return [60 * MILLISECOND]
        return [5 * MILLISECOND]

    wire = Wire(fate=fate, tcp_rmem=4 << 20, tcp_wmem=4 << 20, tcp_timestamps=timestamps)
    c, s = wire.connect()
    c.send(wire.now, bytes(200 * c.status(0).snd_mss))
    wire.run(limit=200 * MILLISECOND)
    return wire, c, s


@pytest.mark.parametrize("timestamps", [0, 1])
def test_an_original_that_was_late_is_told_of(timestamps: int) -> None:
    """RFC 2883 section 4: also where PAWS refuses it, for what was sent again has a later timestamp (Linux:
    tcp_send_dupack)."""
    wire, c, _ = late_original(timestamps)
    assert wire.b.counters.TcpExtPAWSEstab == timestamps
    assert (wire.b.counters.TcpExtTCPDSACKOldSent, wire.b.counters.TcpExtDelayedACKLost) == (1, 1)
    assert (wire.a.counters.TcpExtTCPDSACKRecv, c.status(wire.now).dsack_dups) == (1, 1)


@pytest.mark.parametrize("timestamps", [0, 1])
def test_a_recovery_that_is_over_is_taken_back(timestamps: int) -> None:
    """The D-SACK comes when all is repaired: the window is as if nothing had been (RFC 3708; Linux: TCPDSACKUndo)."""
    wire, c, _ = late_original(timestamps)
    recoveries = [event["entered"] for event in wire.a.sink.of("recovery")]
    assert recoveries == [1, 0]
    assert wire.a.counters.TcpExtTCPDSACKUndo == 1
    changes = wire.a.sink.of("cwnd")
    before = next(i for i, event in enumerate(changes) if event["cause"] == causes.SACK_RECOVERY) - 1
    status = c.status(wire.now)
    assert status.snd_cwnd >= changes[before]["cwnd"]
    assert status.snd_ssthresh >= changes[before]["ssthresh"]


def test_a_dsack_of_something_else_takes_nothing_back() -> None:
    """It tells of what was acknowledged before the recovery began."""
    host = Host(tcp_wmem=1 << 20)
    c, peer = receiver(host)
    c.send(0, bytes(40 * MSS))

    def told(ack: int, left: int, right: int) -> None:
        edges = tuple((c.iss + 1 + n * MSS) & MASK for n in (left, right))
        peer.send(ACK, 1, 1 + ack * MSS, sack=(edges,))

    peer.send(ACK, 1, 1 + 2 * MSS)
    told(2, 4, 8)
    assert c.status(0).ca_state == "Recovery"
    reduced = c.status(0).snd_ssthresh
    sent = (c.snd_nxt - c.iss - 1) // MSS
    peer.send(ACK, 1, 1 + sent * MSS)
    told(sent, 0, 2)
    assert (c.status(0).ca_state, c.status(0).snd_ssthresh) == ("Open", reduced)
    assert host.counters.TcpExtTCPDSACKUndo == 0

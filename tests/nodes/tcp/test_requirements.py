"""What the RFCs ask and no other test shows; each names its requirement (docs/conformance.md)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from nodes.base.clock import MILLISECOND, NEVER, SECOND
from nodes.base.errors import TcplabError
from nodes.packet.tcp import ABSENT, ACK, FIN, PSH, RST, SYN, Segment
from nodes.packet.tcp_codec import decode_tcp, encode_options, encode_tcp
from nodes.tcp import states
from nodes.tcp.connection import Connection
from tests.nodes.tcp import scenes
from tests.nodes.tcp.harness import HTTP, PEER, Host, Peer, Wire, client, server

MSS = 1460
MINUTE = 60 * SECOND


def opened(host: Host, round_trip: int = 100 * MILLISECOND, **options: Any) -> tuple[Connection, Peer]:
    """An active OPEN whose SYN-ACK comes after a round trip, from a peer that permits SACK unless told otherwise."""
    host.parameters.set("tcp_timestamps", 0)
    c = host.tcp.open(host.now, PEER, HTTP)
    peer = Peer(host, HTTP, c.local_port)
    peer.irs = host.take()[0].seq
    host.after(round_trip)
    peer.send(SYN | ACK, 0, 1, **{"mss": MSS, "sack_permitted": True, **options})
    return c, peer


def sacked(peer: Peer, ack: int, *blocks: tuple[int, int]) -> list[str]:
    """An ACK that tells of segments [first, last], counted from 0."""
    raw = tuple((peer.irs + 1 + first * MSS, peer.irs + 1 + (last + 1) * MSS) for first, last in blocks)
    return peer.send(
        ACK, 1, 1 + ack * MSS, sack=tuple((left & 0xFFFF_FFFF, right & 0xFFFF_FFFF) for left, right in raw)
    )


def resent(peer: Peer, ordinal: int) -> str:
    """How the segment looks when it is sent again."""
    return f". {1 + ordinal * MSS}:{1 + (ordinal + 1) * MSS}({MSS}) ack 1"


# RFC 9293


@pytest.mark.rfc("9293", "MUST-1")
@pytest.mark.rfc("5681", "2")
def test_a_window_with_its_highest_bit_set_is_large() -> None:
    """As a signed number 40,000 would be less than nothing."""
    host = Host(tcp_initial_cwnd=100)
    c, peer = client(host, window=40_000)
    c.send(0, bytes(60_000))
    assert 40_000 - MSS < sum(len(segment.payload) for segment in host.take()) <= 40_000
    assert peer.got() == []


@pytest.mark.rfc("9293", "SHLD-15", "SHLD-16", "MUST-34")
@pytest.mark.rfc("7323", "2.4-1", "2.4-4")
def test_a_window_that_shrinks() -> None:
    """Ten segments are in flight when the peer takes back room for five of them."""
    host = Host()
    c, peer = client(host, window=10 * MSS)
    c.send(0, bytes(20 * MSS))
    assert len(peer.got()) == 10
    assert peer.send(ACK, 1, 1 + 2 * MSS, window=3 * MSS) == []
    host.after(500 * MILLISECOND)
    assert peer.got()[0] == resent(peer, 2)
    # It opens again, and everything arrives.
    acked = 1 + 10 * MSS
    for _ in range(40):
        peer.send(ACK, 1, acked, window=10 * MSS)
        acked = (c.snd_nxt - c.iss) or acked
        host.after(10 * MILLISECOND)
    assert not c.outstanding
    assert c.state == states.ESTABLISHED


def test_acks_under_a_window_that_shrank_stand_in_it() -> None:
    """The peer refuses what stands beyond its window: an ACK there would be lost, and a RST not be believed. As Linux
    (tcp_acceptable_seq)."""
    host = Host()
    c, peer = client(host, window=10 * MSS)
    c.send(0, bytes(8 * MSS))
    peer.got()
    peer.send(ACK, 1, 1, window=2 * MSS)
    edge = 1 + 2 * MSS
    assert peer.send(ACK | PSH, 1, 1, b"abc", window=2 * MSS) == [f". {edge}:{edge}(0) ack 4"]
    assert peer.send(SYN, 4, 1, window=2 * MSS) == [f". {edge}:{edge}(0) ack 4"]
    c.abort(host.now)
    assert peer.got() == [f"R. {edge}:{edge}(0) ack 4"]


@pytest.mark.rfc("9293", "SHLD-17")
@pytest.mark.parametrize("profile", ["linux", "rfc"])
def test_data_beyond_the_right_edge_times_nothing_out(profile: str) -> None:
    """The window closed over what was in flight. The peer answers each probe, for two hours."""
    host = Host(profile)
    c, peer = client(host, window=2 * MSS)
    c.send(0, bytes(4 * MSS))
    assert len(peer.got()) == 2
    peer.send(ACK, 1, 1 + MSS, window=0)
    for _ in range(1000):
        host.run_until(min(host.tcp.next_deadline(), 7200 * SECOND))
        if peer.got():
            peer.send(ACK, 1, 1 + MSS, window=0)
        if host.now >= 7200 * SECOND:
            break
    assert (host.now, c.state) == (7200 * SECOND, states.ESTABLISHED)
    peer.send(ACK, 1, 1 + MSS, window=10 * MSS)
    host.after(10 * MINUTE)
    assert resent(peer, 1) in peer.got()


@pytest.mark.rfc("9293", "MUST-5")
def test_options_in_any_segment() -> None:
    """An unknown one, NOP and a Maximum Segment Size among the data: the data counts, the options do not."""
    host = Host()
    c, peer = client(host)
    wire = bytearray(encode_tcp(peer.segment(ACK | PSH, 1, 1, b"data"), PEER, host.local))
    wire[12] = (20 + 12) // 4 << 4
    wire[20:20] = bytes((1, 254, 4, 7, 7, 2, 4, 0, 50, 1, 0, 0))
    host.tcp.on_segment(host.now, PEER, host.local, decode_tcp(bytes(wire)), 0, 0)
    assert c.receive(host.now, 100) == b"data"
    c.send(host.now, bytes(1000))
    assert len(host.take()[-1].payload) == 1000


@pytest.mark.rfc("9293", "MUST-65", "MUST-45")
def test_only_a_syn_announces_the_mss_and_all_carry_one_address() -> None:
    wire = Wire()
    addresses: set[tuple[str, bytes]] = set()
    collect = wire.collect

    def watched() -> None:
        for name, host in (("a", wire.a), ("b", wire.b)):
            addresses.update((name, src) for _, src, *_ in host.network.sent)
        collect()

    wire.collect = watched  # type: ignore[method-assign]
    c, s = wire.connect()
    c.send(wire.now, bytes(50_000))
    wire.run(until=lambda: s.buffered == 50_000)
    s.close(wire.now)
    wire.run(limit=wire.now + SECOND)
    assert {segment.mss != ABSENT for _, _, segment in wire.log if segment.flags & SYN} == {True}
    assert {segment.mss != ABSENT for _, _, segment in wire.log if not segment.flags & SYN} == {False}
    assert addresses == {("a", wire.a.local), ("b", wire.b.local)}


@pytest.mark.rfc("9293", "MUST-69")
@pytest.mark.parametrize("scale", [ABSENT, 7])
@pytest.mark.parametrize("tsval", [ABSENT, 5])
@pytest.mark.parametrize("permitted", [False, True])
def test_headers_need_no_padding(scale: int, tsval: int, permitted: bool) -> None:
    """Options are aligned by No-Operation, so behind the last there is nothing that would have to be zero."""
    segment = Segment(1, 2, 3, 4, SYN, 5, b"")
    segment.mss, segment.window_scale, segment.tsval, segment.tsecr = MSS, scale, tsval, tsval
    segment.sack_permitted = permitted
    data = encode_options(segment)
    at = 0
    while at < len(data):
        assert data[at] != 0
        at += 1 if data[at] == 1 else data[at + 1]
    assert at == len(data) and at % 4 == 0


@pytest.mark.rfc("9293", "MUST-41")
def test_a_passive_open_leaves_connections_alone() -> None:
    host = Host()
    c, peer = server(host)
    before = c.status(host.now)
    host.tcp.listen(host.now, b"", 8080, 4)
    assert c.status(host.now) == before
    peer.send(ACK | PSH, 1, 1, b"still here")
    assert c.receive(host.now, 100) == b"still here"


@pytest.mark.rfc("9293", "SHLD-2")
def test_a_reset_with_data_resets() -> None:
    host = Host()
    c, peer = client(host)
    assert peer.send(RST, 1, 0, b"why I leave") == []
    assert (c.state, c.error, c.buffered) == (states.CLOSED, "ECONNRESET", 0)


@pytest.mark.rfc("9293", "SHLD-10", "SHLD-11")
@pytest.mark.parametrize("profile", ["linux", "rfc"])
def test_r1_and_r2(profile: str) -> None:
    """At least three retransmissions before IP is asked, at least 100 s before the connection is given up."""
    host = Host(profile)
    c, _ = client(host)
    c.send(0, b"x")
    host.after(100 * SECOND)
    assert c.state == states.ESTABLISHED
    assert host.parameters.tcp_retries1 >= 3
    host.after(3600 * SECOND)
    assert (c.state, c.error) == (states.CLOSED, "ETIMEDOUT")


@pytest.mark.rfc("9293", "MUST-20")
def test_after_r1_timeouts_ip_is_asked_again() -> None:
    """The route has changed meanwhile to one of smaller packets: until then it was believed to be the old one."""
    host = Host(tcp_retries1=3)
    c, _ = client(host)
    c.send(0, bytes(MSS))
    host.take()
    host.network.mtu = 600
    host.after(100 * SECOND)
    sizes = [len(segment.payload) for segment in host.take()]
    assert sizes[:3] == [MSS, MSS, 560]
    assert MSS not in sizes[3:]


@pytest.mark.rfc("9293", "MUST-55", "SHLD-20")
@pytest.mark.parametrize(("kind", "code"), [(4, 0), (3, 1), (11, 0), (12, 0)])
def test_who_does_not_ask_hears_nothing_of_soft_errors(kind: int, code: int) -> None:
    """Source quench (RFC 6633) and what may pass by: the window stays, calls go on."""
    host = Host()
    c, peer = client(host)
    c.send(0, bytes(MSS))
    peer.got()
    window = c.status(0).snd_cwnd
    host.tcp.on_icmp_error(0, host.local, PEER, c.local_port, HTTP, c.iss + 1, kind, code, 0)
    assert (c.status(0).snd_cwnd, c.take_error(), c.state) == (window, "", states.ESTABLISHED)
    assert c.send(0, b"more") == 4


@pytest.mark.rfc("9293", "MUST-46")
@pytest.mark.parametrize("address", [(224, 0, 0, 5), (255, 255, 255, 255), (239, 1, 2, 3)])
def test_no_open_to_everybody(address: tuple[int, int, int, int]) -> None:
    host = Host()
    with pytest.raises(TcplabError):
        host.tcp.open(0, bytes(address), HTTP)
    assert host.take() == []


# RFC 6298


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


# RFC 5681


@pytest.mark.rfc("5681", "3.2-9", "3.2-10")
def test_further_duplicate_acks_inflate_the_window() -> None:
    host = Host(tcp_congestion_control="reno")
    c, peer = client(host)
    c.send(0, bytes(30 * MSS))
    peer.got()
    for _ in range(3):
        peer.send(ACK, 1, 1)
    window = c.congestion.cwnd
    assert window == c.congestion.ssthresh + 3 * MSS
    for more in range(1, 5):
        peer.send(ACK, 1, 1)
        assert c.congestion.cwnd == window + more * MSS


@pytest.mark.rfc("5681", "4.2-7")
@pytest.mark.parametrize("state", [states.ESTABLISHED, states.FIN_WAIT_1, states.FIN_WAIT_2])
def test_one_segment_is_answered_with_one_ack_at_most(state: int) -> None:
    _host, _c, peer, seq, ack = scenes.SCENES[state](Host())
    for flags, offset, size in (
        (ACK, 0, 1460),
        (ACK, 0, 1460),  # again
        (ACK, 2000, 1460),  # out of order
        (ACK | PSH, 1000, 3000),  # on both sides of what is there
        (ACK, 60_000, 10_000),  # beyond the window in part
        (ACK, 100_000, 10),  # and wholly
        (ACK, 1460, 540),
        (ACK | FIN, 4000, 10),
        (ACK | FIN, 4000, 10),
    ):
        assert len(peer.send(flags, seq + offset, ack, bytes(size))) <= 1


# RFC 7323


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


# RFC 2018, RFC 6675


@pytest.mark.rfc("2018", "5-3", "8-3")
@pytest.mark.rfc("6675", "4-2")
def test_what_sack_told_is_kept_until_it_is_acknowledged() -> None:
    """The receiver has discarded what it had told of, as it may: everything is sent again."""
    host = Host(tcp_early_retrans=0)
    c, peer = opened(host)
    c.send(host.now, bytes(3 * MSS))
    peer.got()
    host.after(100 * MILLISECOND)
    sacked(peer, 0, (1, 2))
    host.after(SECOND)
    assert resent(peer, 0) in peer.got()
    peer.send(ACK, 1, 1 + MSS)
    host.after(10 * SECOND)
    sent = peer.got()
    assert resent(peer, 1) in sent
    peer.send(ACK, 1, 1 + 2 * MSS)
    host.after(10 * SECOND)
    sent += peer.got()
    assert [one for one in sent if f"{1 + 2 * MSS}:" in one]


@pytest.mark.rfc("6675", "5.1-4", "5.1-5", "5.1-6")
def test_no_recovery_begins_after_a_timeout_before_all_is_acknowledged() -> None:
    host = Host(tcp_early_retrans=0)
    c, peer = opened(host)
    c.send(host.now, bytes(10 * MSS))
    peer.got()
    host.after(2 * SECOND)
    assert host.counters.TcpExtTCPTimeouts >= 1
    entered = [one["entered"] for one in host.sink.of("recovery")]
    window = c.congestion.ssthresh
    for last in range(2, 9):
        sacked(peer, 0, (2, last))
    assert [one["entered"] for one in host.sink.of("recovery")] == entered
    assert c.congestion.ssthresh == window
    assert host.counters.TcpExtTCPSackRecovery == 0


# RFC 8985


@pytest.mark.rfc("8985", "4-1")
def test_without_sack_no_probe() -> None:
    """The tail is lost: without SACK only the time-out tells."""
    host = Host()
    c, peer = opened(host, sack_permitted=False)
    c.send(host.now, bytes(2 * MSS))
    sent_at = host.now
    peer.got()
    host.after(c.rto - 1)
    assert peer.got() == []
    host.after(1)
    assert peer.got() == [resent(peer, 0)]
    assert host.now - sent_at == 300 * MILLISECOND  # SRTT, and 200 ms above it
    assert host.counters.TcpExtTCPLossProbes == 0


@pytest.mark.rfc("8985", "1", "3.3.2-2", "4-3", "6.2-2", "8")
@pytest.mark.rfc("2018", "5.1-1")
def test_a_segment_is_waited_for_a_quarter_of_a_round_trip() -> None:
    """Segment 1 has arrived before segment 0: it may be late by a quarter of the least round trip."""
    host = Host()
    c, peer = opened(host)
    c.send(host.now, bytes(5 * MSS))
    peer.got()
    host.after(100 * MILLISECOND)
    assert sacked(peer, 0, (1, 1)) == []
    host.after(25 * MILLISECOND - 1)
    assert peer.got() == []
    host.after(1)
    assert peer.got() == [resent(peer, 0)]


@pytest.mark.rfc("8985", "3.3.2-1")
def test_three_segments_beyond_leave_no_doubt() -> None:
    """No reordering was seen, so there is no waiting."""
    host = Host()
    c, peer = opened(host)
    c.send(host.now, bytes(5 * MSS))
    peer.got()
    host.after(100 * MILLISECOND)
    assert resent(peer, 0) in sacked(peer, 0, (1, 3))


@pytest.mark.rfc("8985", "3.3.2-3", "3.3.2-4", "3.3.2-5", "4-4")
@pytest.mark.parametrize(("told", "quarters"), [(1, 2), (2, 3), (6, 4)])
def test_what_came_twice_widens_the_window_up_to_a_round_trip(told: int, quarters: int) -> None:
    """Each D-SACK of what was sent again, once per round trip, adds a quarter of the least round trip; never above the
    smoothed one."""
    host = Host()
    c, peer = opened(host)
    sent = 0
    for _ in range(told):
        c.send(host.now, bytes(MSS))
        host.after(350 * MILLISECOND)  # a tail loss probe
        assert len(peer.got()) == 2
        sent += 1
        sacked(peer, sent, (sent - 1, sent - 1))
    peer.got()
    c.send(host.now, bytes(5 * MSS))
    peer.got()
    host.after(100 * MILLISECOND)
    sacked(peer, sent, (sent + 1, sent + 1))
    host.after(quarters * 25 * MILLISECOND - 2)
    assert peer.got() == []
    host.after(4)
    assert peer.got() == [resent(peer, sent)]


def test_copies_that_the_network_makes_widen_nothing() -> None:
    """RFC 3708 section 4: nothing was sent again, so a D-SACK tells of no superfluous retransmission (Linux:
    TCPDSACKIgnoredDubious)."""
    host = Host()
    c, peer = opened(host)
    for sent in range(1, 7):
        c.send(host.now, bytes(MSS))
        host.after(100 * MILLISECOND)
        sacked(peer, sent, (sent - 1, sent - 1))
    assert host.counters.TcpExtTCPDSACKIgnoredDubious == host.counters.TcpExtTCPDSACKRecv == 6
    peer.got()
    c.send(host.now, bytes(5 * MSS))
    peer.got()
    host.after(100 * MILLISECOND)
    sacked(peer, 6, (7, 7))
    host.after(27 * MILLISECOND)
    assert peer.got() == [resent(peer, 6)]


@pytest.mark.rfc("8985", "1")
def test_the_echo_of_a_first_transmission_is_no_sample_of_the_second() -> None:
    """Segment 0 was late, not lost: its ACK follows 1 ms after it was sent again. Were that taken for a round trip,
    all that was sent before would count as lost."""
    host = Host()
    c, peer = opened(host)
    c.send(host.now, bytes(10 * MSS))
    peer.got()
    host.after(100 * MILLISECOND)
    assert resent(peer, 0) in sacked(peer, 0, (1, 4))
    host.after(MILLISECOND)
    sent = sacked(peer, 5)
    assert not any(one == resent(peer, ordinal) for one in sent for ordinal in range(10))


def lost_tail(probes_lost: int) -> Wire:
    """20 segments; the last is lost, and so are so many of its retransmissions."""
    left = 1 + probes_lost

    def fate(_: int, segment: Segment) -> list[int]:
        nonlocal left
        if len(segment.payload) == 100 and left:
            left -= 1
            return []
        return [5 * MILLISECOND]

    wire = Wire(fate=fate)
    c, s = wire.connect()
    end = 19 * c.mss + 100
    c.send(wire.now, bytes(end))
    wire.run(until=lambda: s.buffered == end, limit=MINUTE)
    assert s.buffered == end
    wire.run(limit=wire.now + SECOND)
    # Only what is acknowledged beyond it tells that a probe was no duplicate.
    c.send(wire.now, bytes(1000))
    wire.run(limit=wire.now + SECOND)
    return wire


@pytest.mark.rfc("8985", "7.4.2-1", "7.4.2-2")
def test_a_loss_that_the_probe_repaired_slows_down() -> None:
    wire = lost_tail(0)
    assert wire.a.counters.TcpExtTCPLossProbes == 1
    assert wire.a.counters.TcpExtTCPLossProbeRecovery == 1
    assert wire.a.counters.TcpExtTCPTimeouts == 0
    windows = wire.a.sink.of("cwnd")
    at = next(at for at, one in enumerate(windows) if one["ssthresh"] != windows[0]["ssthresh"])
    assert windows[at]["ssthresh"] == windows[at - 1]["cwnd"] * 7 // 10


@pytest.mark.rfc("8985", "7.3-1", "7.3-3", "7.3-7")
def test_one_probe_per_flight() -> None:
    """The probe is lost too: the time-out follows, not another probe."""
    wire = lost_tail(1)
    assert wire.a.counters.TcpExtTCPLossProbes == 1
    assert wire.a.counters.TcpExtTCPTimeouts == 1


# RFC 9438


def test_a_timeout_of_cubic() -> None:
    """ssthresh is 0.7 of what was in flight; slow start follows."""
    host = Host(tcp_early_retrans=0, tcp_congestion_control="cubic")
    c, peer = client(host)
    c.send(0, bytes(20 * MSS))
    assert len(peer.got()) == 10
    host.after(300 * MILLISECOND)
    assert peer.got() == [resent(peer, 0)]
    assert (c.congestion.ssthresh, c.congestion.cwnd) == (7 * MSS, MSS)


@pytest.mark.rfc("9438", "4.10-1")
def test_slow_start_of_cubic() -> None:
    """It adds what is acknowledged, as many segments at most as tcp_abc says (RFC 5681, RFC 3465)."""
    host = Host(tcp_congestion_control="cubic", tcp_abc=2)
    c, peer = client(host)
    c.send(0, bytes(60 * MSS))
    peer.got()
    for ordinal in range(1, 6):
        window = c.congestion.cwnd
        peer.send(ACK, 1, 1 + ordinal * MSS)
        assert c.congestion.cwnd == window + MSS
    window = c.congestion.cwnd
    peer.send(ACK, 1, 1 + 9 * MSS)
    assert c.congestion.cwnd == window + 2 * MSS
    assert c.congestion.cwnd < c.congestion.ssthresh and c.next_deadline() != NEVER

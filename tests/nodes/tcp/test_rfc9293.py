"""What RFC 9293 asks and no other test shows; each names its requirement (docs/conformance.md)."""

from __future__ import annotations

import pytest

from nodes.base.clock import MILLISECOND, SECOND
from nodes.base.errors import SocketError
from nodes.base.event_sink import EventSink
from nodes.base.random import Randomness
from nodes.packet.address import parse_address
from nodes.packet.tcp import ABSENT, ACK, PSH, RST, SYN, Segment
from nodes.packet.tcp_codec import decode_tcp, encode_options, encode_tcp
from nodes.stack import Stack
from nodes.tcp import states
from nodes.tcp.parameters import Parameters

from .harness import HTTP, PEER, Host, Peer, Wire, client, server
from .loss_scenes import MSS, resent

MINUTE = 60 * SECOND


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
    # Nothing beyond the five, of what was sent or new.
    assert set(peer.got()) == {resent(peer, 2)}
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


@pytest.mark.rfc("9293", "MUST-42")
@pytest.mark.parametrize("state", [states.SYN_SENT, states.SYN_RECEIVED])
def test_a_port_that_a_connection_opens_from_can_be_listened_on(state: int) -> None:
    """With SO_REUSEADDR, as BSD's and Linux's bind(2) want it; both then go on."""
    host = Host()
    c = host.tcp.open(0, PEER, HTTP, local_port=5000, options={"SO_REUSEADDR": 1})
    peer = Peer(host, HTTP, 5000)
    peer.irs = host.take()[0].seq
    if state == states.SYN_RECEIVED:
        assert peer.send(SYN, 0) == ["S. 0:0(0) ack 1"]
    assert c.state == state
    listener = host.tcp.listen(0, b"", 5000, 1, {"SO_REUSEADDR": 1})
    other = Peer(host, 6000, 5000)
    host.tcp.on_segment(0, PEER, host.local, other.segment(SYN, 0), 0, 0)
    (answer,) = host.take()
    other.irs = answer.seq
    other.send(ACK, 1, 1)
    accepted = listener.accept(0)
    assert accepted is not None
    peer.send(SYN | ACK, 0, 1)
    assert [one.state for one in (c, accepted)] == [states.ESTABLISHED] * 2


@pytest.mark.rfc("9293", "MUST-15")
def test_without_a_word_of_it_an_ipv6_peer_takes_1220_bytes() -> None:
    """The smallest MTU of IPv6, 1280, less both headers."""
    here, there = bytes(15) + b"\1", bytes(15) + b"\2"
    host = Host(local=here)
    listener = host.tcp.listen(0, b"", HTTP, 1)
    peer = Peer(host, 5000, HTTP)
    host.tcp.on_segment(0, there, here, peer.segment(SYN, 0), 0, 0)
    peer.irs = host.take()[0].seq
    host.tcp.on_segment(0, there, here, peer.segment(ACK, 1, 1), 0, 0)
    c = listener.accept(0)
    assert c is not None
    c.send(0, bytes(5000))
    assert [len(segment.payload) for segment in host.take()] == [1220] * 4 + [120]


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
@pytest.mark.parametrize("address", ["224.0.0.5", "239.1.2.3", "255.255.255.255", "10.0.0.255", "ff02::1"])
def test_no_open_to_everybody(address: str) -> None:
    """Whatever ways there are: a default route would take them."""
    stack = Stack("h1", Parameters(), Randomness(1), EventSink())
    interface = stack.add_interface("eth0", bytes(6), bytes((10, 0, 0, 1)), 24, 1500)
    stack.add_ipv6(interface, parse_address("fd00::1"), 64)
    stack.add_route(bytes(4), 0, PEER)
    stack.add_route(bytes(16), 0, parse_address("fd00::2"))
    stack.pull()
    with pytest.raises(SocketError) as refused:
        stack.tcp.open(0, parse_address(address), HTTP)
    assert refused.value.errno_name == "ENETUNREACH"
    assert stack.pull() == []

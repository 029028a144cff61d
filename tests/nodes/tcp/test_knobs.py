"""Knobs of nodes/tcp/parameters.py that no other test turns: each does what ip-sysctl says of it."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from nodes.base.clock import MILLISECOND, SECOND
from nodes.base.errors import SocketError
from nodes.packet.ipv4 import Ipv4Packet
from nodes.packet.ipv6 import FRAGMENT, FRAGMENT_HEADER, Ipv6Packet, encode_ipv6
from nodes.packet.tcp import ACK, FIN, PSH, SYN
from nodes.packet.tcp_codec import encode_tcp_packet, encode_tcp_packet6
from nodes.tcp import states
from nodes.tcp.parameters import KNOBS
from tests.nodes.net import ip
from tests.nodes.stack.ipv4_router import SRC, frame, router
from tests.nodes.tcp import scenes
from tests.nodes.tcp.harness import HTTP, PEER, Host, Peer, client, server

MSS = 1460


def times(host: Host) -> list[int]:
    """When the segments since last asked were sent, ms."""
    sent = [entry[0] // MILLISECOND for entry in host.network.sent]
    host.network.sent.clear()
    return sent


@pytest.mark.parametrize(("linear", "expected"), [(0, [500, 1500, 3500]), (2, [500, 1000, 1500, 2500, 4500])])
def test_syn_linear_timeouts_and_the_first_rto(linear: int, expected: list[int]) -> None:
    host, _, _, _, _ = scenes.syn_sent(Host(tcp_syn_linear_timeouts=linear, tcp_rto_initial_ms=500))
    host.after(5 * SECOND)
    assert times(host) == expected


def test_keepalive_of_the_whole_host() -> None:
    host = Host(tcp_keepalive_time=10, tcp_keepalive_intvl=2, tcp_keepalive_probes=3)
    c, _ = client(host, options={"SO_KEEPALIVE": 1})
    host.after(60 * SECOND)
    assert times(host) == [10_000, 12_000, 14_000, 16_000]  # the last is the RST
    assert c.error == "ETIMEDOUT"


@pytest.mark.parametrize("delay", [1000, 5000])
def test_tw_reuse_delay(delay: int) -> None:
    host = Host(tcp_tw_reuse=1, tcp_tw_reuse_delay=delay, ip_local_port_range="5000 5000")
    c, peer = client(host, tsval=1)
    c.shutdown(0)
    peer.send(ACK | FIN, 1, 2)
    assert c.state == states.TIME_WAIT
    host.after((delay - 1) * MILLISECOND)
    with pytest.raises(SocketError, match="EADDRNOTAVAIL"):
        host.tcp.open(host.now, PEER, HTTP)
    host.after(MILLISECOND)
    assert host.tcp.open(host.now, PEER, HTTP).state == states.SYN_SENT


@pytest.mark.parametrize("knob", [0, 1])
def test_dsack(knob: int) -> None:
    host = Host(tcp_dsack=knob)
    host.tcp.listen(0, b"", HTTP, 16)
    peer = Peer(host, 5000, HTTP)
    host.tcp.on_segment(0, PEER, host.local, peer.segment(SYN, 0, mss=MSS, sack_permitted=True), 0, 0)
    peer.irs = host.take()[0].seq
    peer.send(ACK, 1, 1)
    for _ in range(2):
        host.tcp.on_segment(0, PEER, host.local, peer.segment(ACK, 1, 1, b"twice"), 0, 0)
    assert [len(segment.sack) for segment in host.take()][-1] == knob
    assert host.counters.TcpExtTCPDSACKOldSent == knob


@pytest.mark.parametrize(("lowat", "writable"), [(2**32 - 1, True), (4000, False)])
def test_notsent_lowat(lowat: int, writable: bool) -> None:
    host = Host(tcp_notsent_lowat=lowat)
    c, peer = client(host, window=10_000)
    c.send(0, bytes(16_000))
    assert c.writable is writable
    peer.send(ACK, 1, 1 + c.snd_nxt - c.iss - 1, window=20_000)
    assert c.writable


def paced(ratios: dict[str, Any], slow_start: bool) -> list[int]:
    """The times, ns, between the segments of a window of ten that follow a round trip of 100 ms."""
    host = Host(tcp_pacing=1, tcp_congestion_control="reno", **ratios)
    host.parameters.set("tcp_timestamps", 0)
    c = host.tcp.open(0, PEER, HTTP)
    peer = Peer(host, HTTP, c.local_port)
    peer.irs = host.take()[0].seq
    host.after(100 * MILLISECOND)
    peer.send(SYN | ACK, 0, 1, mss=MSS)
    if not slow_start:
        c.congestion.ssthresh = c.congestion.cwnd
    c.send(host.now, bytes(MSS))
    host.after(100 * MILLISECOND)
    host.take()
    peer.send(ACK, 1, 1 + MSS)
    c.send(host.now, bytes(8 * MSS))
    host.after(200 * MILLISECOND)
    sent = [entry[0] for entry in host.network.sent if entry[3].payload and not entry[6]]
    return [later - earlier for earlier, later in pairwise(sent[1:])]


@pytest.mark.parametrize("ratio", [100, 200])
@pytest.mark.parametrize("slow_start", [True, False])
def test_pacing(ratio: int, slow_start: bool) -> None:
    """Ten segments and a bit in flight per 100 ms, times the ratio: one each 10 ms, or each 5."""
    knob, other = "tcp_pacing_ss_ratio", "tcp_pacing_ca_ratio"
    gaps = paced({knob if slow_start else other: ratio, other if slow_start else knob: 1000}, slow_start)
    assert len(gaps) > 4
    for gap in gaps:
        assert gap == pytest.approx(10 * MILLISECOND * 100 // ratio, rel=0.12)


@pytest.mark.parametrize(("knob", "sent"), [(1, 10), (0, 20)])
def test_slow_start_after_idle(knob: int, sent: int) -> None:
    host = Host(tcp_slow_start_after_idle=knob, tcp_congestion_control="reno")
    c, peer = client(host)
    c.send(0, bytes(10 * MSS))
    for n in range(10):
        host.tcp.on_segment(0, PEER, host.local, peer.segment(ACK, 1, 1 + (n + 1) * MSS), 0, 0)
    host.take()
    host.after(10 * SECOND)
    c.send(host.now, bytes(40 * MSS))
    assert len(host.take()) == sent


@pytest.mark.parametrize("threshold", [1, 3])
def test_pingpong_thresh(threshold: int) -> None:
    """As many answers make a session interactive: until then requests are acknowledged at once."""
    host = Host(tcp_pingpong_thresh=threshold)
    c, peer = server(host)
    at_once = []
    for n in range(5):
        host.after(SECOND)
        answered = peer.send(ACK | PSH, 1 + 4 * n, 1 + 4 * n, b"ask!")
        at_once.append(answered != [])
        c.receive(host.now, 100)
        c.send(host.now, b"tell")
        peer.got()
        peer.send(ACK, 5 + 4 * n, 5 + 4 * n)
    assert at_once == [n < threshold for n in range(5)]


@pytest.mark.parametrize("address", ["10.0.0.1", "fd00::1"])
def test_min_snd_mss_at_its_highest(address: str) -> None:
    """It overrides peer and path, but what is sent still fits into a packet of either family."""
    highest = next(knob.highest for knob in KNOBS if knob.name == "tcp_min_snd_mss")
    host = Host(tcp_min_snd_mss=highest)
    c, _ = client(host, window=65_535, scale=4)
    c.send(0, bytes(200_000))
    segment = host.take()[0]
    assert len(segment.payload) == highest
    src = ip(address)
    if len(src) == 4:
        assert len(encode_tcp_packet(segment, src, src, 1, 64)) <= 65_535
    else:
        assert len(encode_tcp_packet6(segment, src, src, 64)) <= 65_535 + 40


@pytest.mark.parametrize("seconds", [5, 30])
def test_ipfrag_time(seconds: int) -> None:
    stack = router()
    stack.parameters.set("ipfrag_time", seconds)
    stack.on_frame(7, 0, frame(Ipv4Packet(SRC, ip("10.0.0.254"), 17, bytes(8), fragment=0x2000)))
    assert stack.next_deadline() == 7 + seconds * SECOND


@pytest.mark.parametrize("seconds", [5, 60])
def test_ip6frag_time(seconds: int) -> None:
    stack = router()
    us, them = ip("fd00::1"), ip("fd00::2")
    stack.add_ipv6(stack.interfaces[0], us, 64)
    stack.parameters.set("ip6frag_time", seconds)
    payload = FRAGMENT_HEADER.pack(17, 0, 1, 99) + bytes(8)
    packet = encode_ipv6(Ipv6Packet(them, us, FRAGMENT, payload))
    stack.on_frame(7, 0, stack.interfaces[0].mac + bytes(6) + b"\x86\xdd" + packet)
    assert stack.next_deadline() == 7 + seconds * SECOND

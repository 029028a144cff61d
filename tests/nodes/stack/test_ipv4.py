"""IPv4: forwarding, ICMP, fragments and checksums, seen on the wire."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.agent.payload import Payload
from nodes.base import causes
from nodes.base.clock import NEVER, SECOND
from nodes.base.errors import InvalidArgument, SocketError
from nodes.base.event_sink import EventSink
from nodes.base.events import DISCARD, SEGMENT
from nodes.base.random import Randomness
from nodes.ip.fragments import MAX_BYTES, Reassembly, fragment
from nodes.packet import icmp, ipv4
from nodes.packet.icmp import IcmpMessage, encode_icmp
from nodes.packet.ipv4 import DONT_FRAGMENT, Ipv4Packet, decode_ipv4, encode_ipv4
from nodes.packet.tcp import SYN, Segment
from nodes.packet.tcp_codec import decode_tcp, encode_tcp
from nodes.packet.udp import Datagram, encode_udp
from nodes.stack import Stack
from nodes.tcp.parameters import Parameters
from tests.nodes.net import Net, ip, mac, pair, routed
from tests.nodes.stack.ipv4_router import DST, SRC, Events, frame, icmp_error, router, router_knows


@given(st.integers(2, 255), st.integers(0, 0xFFFF), st.integers(0, 255))
def test_forwarding_changes_ttl_checksum_and_macs_only(ttl: int, identification: int, tos: int) -> None:
    stack = router()
    packet = Ipv4Packet(SRC, DST, 253, b"payload", ttl, identification, DONT_FRAGMENT, tos)
    stack.on_frame(1, 0, frame(packet) + b"padding")
    packet.ttl -= 1
    assert stack.pull() == [(1, mac(2) + mac(11) + b"\x08\x00" + encode_ipv4(packet))]


def test_forwarding_where_the_checksum_wraps_around() -> None:
    stack = router()
    found = 0
    for identification in range(0x10000):
        packet = Ipv4Packet(SRC, DST, 253, b"", 64, identification)
        wire = encode_ipv4(packet)
        if int.from_bytes(wire[10:12], "big") >= 0xFE00:
            found += 1
            stack.on_frame(1, 0, mac(10) + mac(1) + b"\x08\x00" + wire)
            packet.ttl -= 1
            assert stack.pull() == [(1, mac(2) + mac(11) + b"\x08\x00" + encode_ipv4(packet))]
    assert found == 511  # 0xfe00 to 0xfffe; a header's checksum is never 0xffff


def test_a_route_that_changes_holds_for_the_next_packet_of_a_flow() -> None:
    stack = router()
    wire = frame(Ipv4Packet(SRC, DST, 253, b"payload"))
    other = frame(Ipv4Packet(SRC, ip("10.0.0.77"), 253, b"payload"))  # back to where it came from
    stack.on_frame(1, 0, wire)
    stack.on_frame(1, 0, wire)
    stack.on_frame(1, 0, other)
    stack.on_frame(1, 0, wire)
    assert [index for index, _ in stack.pull()] == [1, 1, 0, 1]
    stack.add_route(DST, 32, SRC)
    stack.on_frame(2, 0, wire)
    ((index, sent),) = stack.pull()
    assert index == 0 and sent.startswith(mac(1) + mac(10))


@pytest.mark.parametrize("ttl", [0, 1])
def test_ttl_that_runs_out(ttl: int) -> None:
    stack = router()
    sent = frame(Ipv4Packet(SRC, DST, 17, b"0123456789", ttl))
    stack.on_frame(1, 0, sent)
    index, packet, message = icmp_error(stack)
    assert (index, packet.src, packet.dst) == (0, ip("10.0.0.254"), SRC)
    assert (message.type, message.code, message.payload) == (icmp.TIME_EXCEEDED, 0, sent[14:])


def test_no_route_and_the_limit_of_576_bytes() -> None:
    stack = router()
    sent = frame(Ipv4Packet(SRC, ip("9.9.9.9"), 17, bytes(1400)))
    stack.on_frame(1, 0, sent)
    _, packet, message = icmp_error(stack)
    assert (message.type, message.code) == (icmp.DESTINATION_UNREACHABLE, icmp.NET_UNREACHABLE)
    assert len(encode_ipv4(packet)) == 576 and sent[14:].startswith(message.payload)


def test_too_large_with_dont_fragment_tells_the_mtu() -> None:
    stack = router(mtu=1000)
    stack.on_frame(1, 0, frame(Ipv4Packet(SRC, DST, 6, bytes(981), fragment=DONT_FRAGMENT)))
    _, _, message = icmp_error(stack)
    assert (message.type, message.code, message.rest) == (3, 4, 1000)
    stack.on_frame(1, 0, frame(Ipv4Packet(SRC, DST, 6, bytes(980), fragment=DONT_FRAGMENT)))
    assert [len(sent) for _, sent in stack.pull()] == [1014]


def test_too_large_is_fragmented_where_it_may_be() -> None:
    stack = router(mtu=1000)
    stack.on_frame(1, 0, frame(Ipv4Packet(SRC, DST, 253, bytes(range(256)) * 5, ttl=9)))
    sent = [decode_ipv4(each[14:]) for _, each in stack.pull()]
    assert [(p.fragment, len(p.payload), p.ttl) for p in sent] == [(0x2000, 976, 8), (122, 304, 8)]
    assert b"".join(p.payload for p in sent) == bytes(range(256)) * 5


@pytest.mark.parametrize(
    "packet",
    [
        Ipv4Packet(SRC, DST, ipv4.ICMP, encode_icmp(IcmpMessage(icmp.TIME_EXCEEDED, 0, 0, b"")), 1),  # about an error
        Ipv4Packet(SRC, DST, 17, b"12345678", 1, fragment=1),  # not the first fragment
    ],
)
def test_no_error_is_sent_about(packet: Ipv4Packet) -> None:
    stack = router()
    stack.on_frame(1, 0, frame(packet))
    assert stack.pull() == [] and stack.counters.IpInHdrErrors == 1


def test_a_host_does_not_forward() -> None:
    stack = router()
    stack.parameters.set("ip_forward", 0)
    stack.on_frame(1, 0, frame(Ipv4Packet(SRC, DST, 17, b"12345678")))
    assert stack.pull() == [] and stack.counters.IpInAddrErrors == 1


@pytest.mark.parametrize(
    ("src", "dst"),
    [
        ("10.0.0.254", "10.0.0.254"),
        ("127.0.0.1", "10.0.0.254"),
        ("10.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "10.0.0.254"),
        ("224.0.0.1", "10.0.0.254"),
        ("255.255.255.255", "10.0.1.2"),
        ("10.0.0.255", "10.0.1.2"),
        ("10.0.0.1", "224.0.0.5"),
    ],
)
@pytest.mark.rfc("9293", "MUST-63")
def test_addresses_that_cannot_come_from_outside(src: str, dst: str) -> None:
    stack = router()
    stack.tcp.listen(0, b"", 80, 5)
    wire = encode_tcp(Segment(1000, 80, 77, 0, SYN, 100, b""), ip(src), ip(dst))
    stack.on_frame(1, 0, frame(Ipv4Packet(ip(src), ip(dst), 6, wire)))
    assert stack.pull() == [] and stack.counters.IpInAddrErrors == 1 and stack.tcp.connections == {}


@pytest.mark.parametrize("at", range(20))
def test_a_header_with_a_flipped_bit_goes_nowhere(at: int) -> None:
    stack = router()
    sent = bytearray(frame(Ipv4Packet(SRC, DST, 17, b"12345678")))
    sent[14 + at] ^= 0x10
    stack.on_frame(1, 0, bytes(sent))
    assert stack.pull() == [] and stack.counters.IpInHdrErrors == 1


@given(st.binary(max_size=100), st.sampled_from([1, 6, 17, 99]))
def test_any_packet_is_survived(data: bytes, protocol: int) -> None:
    stack = router()
    stack.tcp.listen(0, b"", 80, 5)
    stack.on_frame(1, 0, mac(10) + mac(1) + b"\x08\x00" + data)
    stack.on_frame(1, 0, frame(Ipv4Packet(SRC, ip("10.0.0.254"), protocol, data)))
    stack.on_frame(1, 0, mac(10) + mac(1) + b"\x08\x06" + data)
    for _, sent in stack.pull():
        assert sent[12:14] in (b"\x08\x00", b"\x08\x06")


def test_no_error_answers_a_broadcast() -> None:
    stack = router()
    all_of_us = ip("10.0.0.255")
    for protocol in (1, 6, 17, 99):
        payload = encode_udp(Datagram(7, 9, b""), SRC, all_of_us)
        stack.on_frame(1, 0, frame(Ipv4Packet(SRC, all_of_us, protocol, payload), b"\xff" * 6))
    assert stack.pull() == [] and stack.counters.IpInDelivers == 4


def test_unreachable_port_and_protocol() -> None:
    stack = router()
    us = ip("10.0.0.254")
    stack.on_frame(1, 0, frame(Ipv4Packet(SRC, us, 17, encode_udp(Datagram(7, 9, b""), SRC, us))))
    _, packet, message = icmp_error(stack)
    assert (packet.src, message.type, message.code) == (us, 3, icmp.PORT_UNREACHABLE)
    stack.on_frame(1, 0, frame(Ipv4Packet(SRC, us, 99, b"12345678")))
    _, _, message = icmp_error(stack)
    assert (message.type, message.code) == (3, icmp.PROTOCOL_UNREACHABLE)


@pytest.mark.rfc("9293", "MUST-43", "MUST-44")
def test_the_source_of_a_syn_is_what_the_route_says_or_the_user() -> None:
    net = Net()
    h1 = net.host("h1", "10.0.0.1/24", "10.0.1.1/24")
    net.host("h2", "10.0.1.2/24")
    net.wire("h1:1", "h2:0")
    for local, source in ((b"", "10.0.1.1"), (ip("10.0.0.1"), "10.0.0.1")):
        net.captured.clear()
        h1.start_open(ip("10.0.1.2"), 80, local)
        net.settle(SECOND)
        sent = [decode_ipv4(frame[14:]) for frame in net.sent_by("h1:1") if frame[12:14] == b"\x08\x00"]
        assert {packet.src for packet in sent} == {ip(source)}


@pytest.mark.rfc("9293", "MUST-3")
def test_a_bad_tcp_checksum_is_counted_traced_and_not_answered() -> None:
    events = Events()
    stack = Stack("h1", Parameters(), Randomness(1), events)
    stack.add_interface("eth0", mac(10), ip("10.0.0.254"), 24)
    wire = bytearray(encode_tcp(Segment(1000, 80, 77, 0, SYN, 100, b""), SRC, ip("10.0.0.254")))
    wire[15] ^= 1
    stack.on_frame(1, 0, frame(Ipv4Packet(SRC, ip("10.0.0.254"), 6, bytes(wire))))
    assert (stack.counters.TcpInCsumErrors, stack.counters.TcpInErrs, stack.pull()) == (1, 1, [])
    assert [(kind, cause, values) for kind, _, cause, values in events.events] == [
        (DISCARD, causes.BAD_CHECKSUM, (77, 20, SYN))
    ]


def test_a_malformed_segment_is_counted_and_traced() -> None:
    events = Events()
    stack = Stack("h1", Parameters(), Randomness(1), events)
    stack.add_interface("eth0", mac(10), ip("10.0.0.254"), 24)
    wire = bytes.fromhex("03e8 0050 00000003 00000000 f002 0064")  # header of 60 bytes announced, 20 there
    pseudo = sum([0x0A00, 1, 0x0A00, 0xFE, 6, 20, 0x3E8, 0x50, 3, 0xF002, 0x64])
    check = 0xFFFF - (pseudo & 0xFFFF) - (pseudo >> 16)
    stack.on_frame(1, 0, frame(Ipv4Packet(SRC, ip("10.0.0.254"), 6, wire + check.to_bytes(2, "big") + bytes(2))))
    assert (stack.counters.TcpInErrs, stack.counters.TcpInCsumErrors) == (1, 0)
    assert [(kind, cause) for kind, _, cause, _ in events.events] == [(DISCARD, causes.MALFORMED)]


def test_an_interface_without_address_borrows_one_or_there_is_none() -> None:
    stack = Stack("h1", Parameters(), Randomness(1), EventSink())
    tap = stack.add_interface("eth0", mac(1))
    stack.add_route(bytes(4), 0, interface=tap)
    with pytest.raises(SocketError, match=r"EADDRNOTAVAIL.*h1 has no address"):
        stack.tcp.open(0, DST, 80)
    stack.add_interface("eth1", mac(2), SRC, 24)
    assert stack.tcp.open(0, DST, 80).local == SRC


def test_forged_packets_leave_as_they_are() -> None:
    stack = router()
    packet = bytearray(encode_ipv4(Ipv4Packet(ip("1.2.3.4"), SRC, 6, b"anything")))
    packet[10] ^= 0xFF  # even with a wrong checksum
    stack.send_raw_ip(1, bytes(packet))
    assert stack.pull() == [(0, mac(1) + mac(10) + b"\x08\x00" + packet)]
    with pytest.raises(InvalidArgument, match="19 bytes are no IP packet"):
        stack.send_raw_ip(1, bytes(19))


def test_frames_in_segment_events_count_every_frame_of_the_interface() -> None:
    events = Events()
    net = pair(events)
    net.hosts["h2"].listen(80)
    net.run(net.hosts["h1"].open(ip("10.0.0.2"), 80))
    net.settle(SECOND)
    sent = [(net.sink.name("h1:eth0"), 1), (net.sink.name("h2:eth0"), 2)]
    seen = [values[:3] for kind, _, _, values in events.events if kind == SEGMENT]
    # frame 1 of h1 is its ARP request, frame 1 of h2 the reply
    assert seen == [
        (1, sent[0][0], 2),
        (2, sent[1][0], 2),
        (1, sent[1][0], 2),
        (2, sent[0][0], 2),
        (1, sent[0][0], 3),
        (2, sent[1][0], 3),
    ]
    by_end = {"h1:0": sent[0][0], "h2:0": sent[1][0]}
    for end, name in by_end.items():
        for direction, interface, number in seen:
            if direction == 1 and interface == name:
                assert net.sent_by(end)[number - 1][23] == 6  # that frame is a TCP packet


def test_ping_through_routers_and_ttl() -> None:
    net = routed()
    h1 = net.hosts["h1"]
    (good, short, shorter) = net.run(
        h1.ping(ip("10.0.2.2"), 2), h1.ping(ip("10.0.2.2"), ttl=2), h1.ping(ip("10.0.2.2"), ttl=1)
    )
    assert [(each.sequence, each.error, each.ttl, each.size) for each in good] == [(1, "", 62, 56), (2, "", 62, 56)]
    assert good[1].rtt_ns == 6_000_000  # six hops of 1 ms, ARP done
    assert (short[0].address, short[0].error) == (ip("10.0.1.2"), "time exceeded")
    assert (shorter[0].address, shorter[0].error) == (ip("10.0.0.254"), "time exceeded")


def test_ping_of_nobody() -> None:
    net = routed()
    (results,) = net.run(net.hosts["h1"].ping(ip("10.0.2.77"), timeout_ns=10 * SECOND))
    assert (results[0].address, results[0].error) == (ip("10.0.1.2"), "host unreachable")
    net.cut.add("h1:0")
    (results,) = net.run(net.hosts["h1"].ping(ip("10.0.2.2")))
    assert (results[0].address, results[0].error) == (b"", "no answer")


def test_large_ping_crosses_a_small_link_in_fragments() -> None:
    net = routed(mtu=600)
    (results,) = net.run(net.hosts["h1"].ping(ip("10.0.2.2"), size=4000))
    assert (results[0].error, results[0].size) == ("", 4000)
    assert net.hosts["h2"].counters()["IpReasmOKs"] == net.hosts["h1"].counters()["IpReasmOKs"] == 1
    assert max(len(each) for each in net.sent_by("r1:1")) <= 614


def test_path_mtu_discovery_lets_tcp_through() -> None:
    net = routed(mtu=900)
    h1, h2 = net.hosts["h1"], net.hosts["h2"]
    data = bytes(range(256)) * 100

    async def server() -> bytes:
        return (await h2.receive(await h2.accept(h2.listen(80)), len(data), len(data))).data

    async def client() -> int:
        connection = await h1.open(ip("10.0.2.2"), 80)
        await h1.send(connection, Payload.of(data))
        return h1.status(connection).pmtu

    received, _ = net.run(server(), client())
    assert received == data
    assert h1.status(1).pmtu == 900


def test_segments_to_oneself_come_back_in_order() -> None:
    net = Net()
    h1 = net.host("h1", "10.0.0.1/24")

    async def both(address: str) -> bytes:
        listener = h1.listen(80)
        client = await h1.open(ip(address), 80)
        server = await h1.accept(listener)
        await h1.send(client, Payload.of(b"to myself"))
        h1.close(client)
        data = (await h1.receive(server, 100, 100)).data
        h1.close(server)
        h1.close_listener(listener)
        return data

    assert net.run(both("10.0.0.1")) == net.run(both("127.0.0.1")) == [b"to myself"]
    assert net.captured == []


PACKET = Ipv4Packet(SRC, DST, 17, bytes(range(256)) * 8, identification=7)


@given(st.integers(68, 1500), st.randoms(use_true_random=False))
def test_fragments_in_any_order_twice_over_make_the_packet_again(mtu: int, random: st.DataObject) -> None:
    pieces = fragment(PACKET, mtu) * 2
    random.shuffle(pieces)  # type: ignore[attr-defined]
    reassembly = Reassembly(Parameters())
    whole = [packet for packet in (reassembly.add(0, piece) for piece in pieces) if packet is not None]
    assert whole and all((packet.payload, packet.fragment) == (PACKET.payload, 0) for packet in whole)
    assert all(len(encode_ipv4(piece)) <= mtu for piece in pieces)


def test_overlapping_fragments_discard_the_packet() -> None:
    first, second = fragment(PACKET, 1500)
    reassembly = Reassembly(Parameters())
    evil = Ipv4Packet(SRC, DST, 17, b"overlaps" * 10, identification=7, fragment=0x2000 | 10)
    assert reassembly.add(0, first) is None and reassembly.add(0, evil) is None
    assert reassembly.add(0, second) is None and reassembly.failures == 1


def test_memory_for_fragments_is_bounded() -> None:
    reassembly = Reassembly(Parameters())
    for number in range(100):
        first, _ = fragment(Ipv4Packet(SRC, DST, 17, bytes(60_001), identification=number), 60_020)
        assert reassembly.add(0, first) is None
    assert reassembly.failures == 100 - MAX_BYTES // 60_000
    last = fragment(Ipv4Packet(SRC, DST, 17, bytes(60_001), identification=0), 60_020)[1]
    whole = reassembly.add(0, last)
    assert whole is not None and len(whole.payload) == 60_001


def test_memory_for_tiny_fragments_is_bounded_too() -> None:
    """A flood of fragments of 8 bytes, each of another packet, leaves no room but what it has; time gives it back."""
    reassembly = Reassembly(Parameters())
    for number in range(20_000):
        assert reassembly.add(0, Ipv4Packet(SRC, DST, 17, bytes(8), identification=8 + number, fragment=0x2000)) is None
    kept = 20_000 - reassembly.failures
    assert 4000 < kept < 16_000
    first, second = fragment(PACKET, 1500)
    assert reassembly.add(1, first) is None and reassembly.add(1, second) is None
    assert len(reassembly.on_timer(reassembly.deadline)) == kept
    assert reassembly.add(2, first) is None and reassembly.add(2, second) is not None
    assert reassembly.deadline == NEVER


def test_datagrams_without_data_fill_a_socket_too() -> None:
    stack = router()
    socket = stack.udp.bind(b"", 9)
    wire = encode_udp(Datagram(9, 9, b""), SRC, ip("10.0.0.254"))
    for _ in range(5000):
        stack.on_frame(1, 0, frame(Ipv4Packet(SRC, ip("10.0.0.254"), 17, wire)))
    assert 500 < stack.counters.UdpInDatagrams < 2000
    assert stack.counters.UdpInDatagrams + stack.counters.UdpRcvbufErrors == 5000
    received = [socket.receive() for _ in range(stack.counters.UdpInDatagrams)]
    assert None not in received and socket.receive() is None


def test_buffer_ttl_and_tos_of_a_socket_are_its_own() -> None:
    stack = router()
    socket = stack.udp.bind(b"", 9)
    socket.rcvbuf = 2500
    wire = encode_udp(Datagram(9, 9, bytes(1000)), SRC, ip("10.0.0.254"))
    for _ in range(3):
        stack.on_frame(1, 0, frame(Ipv4Packet(SRC, ip("10.0.0.254"), 17, wire)))
    assert (stack.counters.UdpInDatagrams, stack.counters.UdpRcvbufErrors) == (2, 1)
    socket.ttl = 3
    socket.tos = 0xBB
    socket.send_to(1, b"here", ip("127.0.0.1"), 10)
    socket.send_to(1, b"near", SRC, 10)
    sent = [decode_ipv4(out[14:]) for _, out in stack.pull() if out[12:14] == b"\x08\0"]
    assert [(packet.ttl, packet.tos) for packet in sent] == [(3, 0xBB)]


def test_a_syn_to_us_that_the_link_sends_to_everybody_is_ignored() -> None:
    """RFC 1122 section 3.3.6; Linux: tcp_v4_rcv takes only what is PACKET_HOST."""
    stack = router()
    us = ip("10.0.0.254")
    stack.tcp.listen(0, b"", 80, 5)
    wire = encode_tcp(Segment(1000, 80, 77, 0, SYN, 100, b""), SRC, us)
    for to in (b"\xff" * 6, b"\x01\x00\x5e\x00\x00\x01"):
        stack.on_frame(1, 0, frame(Ipv4Packet(SRC, us, 6, wire), to))
    assert stack.pull() == [] and stack.tcp.connections == {}
    stack.on_frame(1, 0, frame(Ipv4Packet(SRC, us, 6, wire)))
    assert len(stack.pull()) == 1


def test_fragments_that_stay_alone_are_given_up_and_reported() -> None:
    stack = router()
    us = ip("10.0.0.254")
    first, _ = fragment(Ipv4Packet(SRC, us, 17, bytes(2000), identification=7), 1500)
    stack.on_frame(1, 0, frame(first))
    assert stack.pull() == [] and stack.next_deadline() == 1 + 30 * SECOND
    stack.parameters.set("base_reachable_time_ms", 60_000)
    router_knows(stack, 0, SECOND)
    stack.on_timer(1 + 30 * SECOND)
    assert stack.counters.IpReasmFails == 1
    _, _, message = icmp_error(stack)
    assert (message.type, message.code) == (icmp.TIME_EXCEEDED, icmp.REASSEMBLY_TIME_EXCEEDED)
    assert stack.next_deadline() == NEVER


@pytest.mark.rfc("9293", "MUST-57")
@pytest.mark.parametrize("dst", ["10.0.0.255", "255.255.255.255", "224.0.0.1"])
def test_a_syn_to_everybody_is_ignored(dst: str) -> None:
    stack = router()
    stack.tcp.listen(0, b"", 80, 5)
    wire = encode_tcp(Segment(1000, 80, 77, 0, SYN, 100, b""), SRC, ip(dst))
    for to in (mac(10), b"\xff" * 6, b"\x01\x00\x5e\x00\x00\x01"):
        stack.on_frame(1, 0, frame(Ipv4Packet(SRC, ip(dst), 6, wire), to))
    assert stack.pull() == [] and stack.tcp.connections == {}


@pytest.mark.rfc("9293", "MUST-49", "MUST-50")
def test_ttl_and_options_of_ip() -> None:
    """A SYN whose packet has a timestamp and an unknown option is answered as any; with the TTL that was set."""
    stack = router()
    stack.parameters.set("ip_default_ttl", 17)
    us = ip("10.0.0.254")
    stack.tcp.listen(0, b"", 80, 5)
    wire = encode_tcp(Segment(1000, 80, 77, 0, SYN, 100, b""), SRC, us)
    options = bytes((68, 8, 5, 0, 0, 0, 0, 0, 30, 4, 1, 2))
    stack.on_frame(1, 0, frame(Ipv4Packet(SRC, us, 6, wire, options=options)))
    ((_, sent),) = stack.pull()
    packet = decode_ipv4(sent[14:])
    assert (packet.dst, packet.ttl, packet.options) == (SRC, 17, b"")
    assert decode_tcp(packet.payload).ack == 78


def test_errors_to_one_host_are_limited_but_not_those_of_path_mtu_discovery() -> None:
    """As Linux has it by default (icmp_ratelimit, icmp_ratemask): six at once, then one a second."""
    stack = router(mtu=1000)

    def errors(now: int, packet: Ipv4Packet) -> int:
        stack.on_frame(now, 0, frame(packet))
        return len(stack.pull())

    assert [errors(1, Ipv4Packet(SRC, DST, 17, b"0123456789", 1)) for _ in range(8)] == [1] * 6 + [0, 0]
    assert [errors(1, Ipv4Packet(SRC, DST, 6, bytes(1400), fragment=DONT_FRAGMENT)) for _ in range(8)] == [1] * 8
    assert [errors(1 + SECOND, Ipv4Packet(SRC, DST, 17, b"0123456789", 1)) for _ in range(2)] == [1, 0]


@pytest.mark.parametrize("first", [*range(0x40, 0x45), 0x00, 0x35, 0x65, 0xFF])
def test_a_header_that_is_none_goes_nowhere(first: int) -> None:
    """Versions that are not 4, and lengths below the least."""
    stack = router()
    sent = bytearray(frame(Ipv4Packet(SRC, DST, 17, b"12345678")))
    sent[14] = first
    stack.on_frame(1, 0, bytes(sent))
    assert stack.pull() == [] and stack.counters.IpInHdrErrors == 1


@pytest.mark.parametrize(("field", "name"), list(enumerate(("InNoECTPkts", "InECT1Pkts", "InECT0Pkts", "InCEPkts"))))
def test_packets_are_counted_by_their_ecn_field(field: int, name: str) -> None:
    """RFC 3168 section 5, and as Linux counts: whoever they are for, a wrong checksum or not, if there is a header."""
    stack = router()
    for dst in (DST, ip("10.0.1.1")):
        stack.on_frame(1, 0, frame(Ipv4Packet(SRC, dst, 17, b"12345678", tos=0xB8 | field)))
    wrong = bytearray(frame(Ipv4Packet(SRC, DST, 17, b"12345678", tos=field)))
    wrong[24] ^= 1  # the checksum
    stack.on_frame(1, 0, bytes(wrong))
    wrong[14] = 0x44
    stack.on_frame(1, 0, bytes(wrong))
    counts = {one: count for one, count in stack.counters.as_dict().items() if one.startswith("IpExt") and count}
    assert counts == {f"IpExt{name}": 3}

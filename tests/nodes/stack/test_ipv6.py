"""IPv6 (RFC 8200) and ICMPv6 (RFC 4443): forwarding, errors, extension headers, fragments; seen on the wire."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.base.clock import NEVER, SECOND
from nodes.base.errors import AlreadyExists, InvalidArgument
from nodes.packet import ipv6
from nodes.packet.icmp import IcmpMessage
from nodes.packet.icmp6 import decode_icmp6, encode_icmp6
from nodes.packet.ipv6 import Ipv6Packet, decode_ipv6, encode_ipv6
from nodes.packet.tcp import SYN, Segment
from nodes.packet.tcp_codec import decode_tcp, encode_tcp
from tests.nodes.net import ip, mac, routed6
from tests.nodes.stack.ipv6_router import DST, OURS, SRC, frame, icmp_error, router, solicit, udp

# Forwarding and errors, RFC 8200 and RFC 4443.


@given(st.integers(2, 255), st.integers(0, 255), st.integers(0, 0xFFFFF))
def test_forwarding_changes_hop_limit_and_macs_only(hop_limit: int, traffic_class: int, label: int) -> None:
    stack = router()
    packet = Ipv6Packet(SRC, DST, 253, b"payload", hop_limit, traffic_class, label)
    stack.on_frame(1, 0, frame(packet) + b"padding")
    packet.hop_limit -= 1
    assert stack.pull() == [(1, mac(2) + mac(11) + b"\x86\xdd" + encode_ipv6(packet))]


@pytest.mark.parametrize("hop_limit", [0, 1])
def test_hop_limit_that_runs_out(hop_limit: int) -> None:
    stack = router()
    sent = frame(Ipv6Packet(SRC, DST, 17, b"0123456789", hop_limit))
    stack.on_frame(1, 0, sent)
    index, packet, message = icmp_error(stack)
    assert (index, packet.src, packet.dst, packet.hop_limit) == (0, OURS, SRC, 64)
    assert (message.type, message.code, message.payload) == (3, 0, sent[14:])


def test_no_route_and_the_limit_of_1280_bytes() -> None:
    stack = router()
    sent = frame(Ipv6Packet(SRC, ip("2001:db8::9"), 17, bytes(1400)))
    stack.on_frame(1, 0, sent)
    _, packet, message = icmp_error(stack)
    assert (message.type, message.code) == (1, 0)
    assert len(encode_ipv6(packet)) == 1280 and sent[14:].startswith(message.payload)


def test_too_large_is_never_fragmented_on_the_way() -> None:
    stack = router(mtu=1300)
    stack.on_frame(1, 0, frame(Ipv6Packet(SRC, DST, 17, bytes(1260))))
    assert len(stack.pull()) == 1
    stack.on_frame(1, 0, frame(Ipv6Packet(SRC, DST, 17, bytes(1261))))
    _, _, message = icmp_error(stack)
    assert (message.type, message.code, message.rest) == (2, 0, 1300)


@pytest.mark.parametrize(
    ("src", "dst"),
    [
        ("fe80::1", "fd00:0:0:1::2"),
        ("fd00::1", "fe80::2"),
        ("fd00::1", "ff05::2"),
        ("::", "fd00:0:0:1::2"),
        ("::1", "fd00:0:0:1::2"),
        ("fd00::1", "::1"),
        ("ff02::1", "fd00:0:0:1::2"),
        ("fd00::fe", "fd00:0:0:1::2"),
    ],
)
def test_what_no_router_passes_on(src: str, dst: str) -> None:
    stack = router()
    stack.on_frame(1, 0, frame(Ipv6Packet(ip(src), ip(dst), 17, b"0123456789")))
    assert stack.pull() == []
    assert stack.counters.Ip6InAddrErrors == 1


def test_a_host_passes_nothing_on() -> None:
    stack = router(forward=False)
    stack.on_frame(1, 0, frame(Ipv6Packet(SRC, DST, 17, b"0123456789")))
    assert stack.pull() == []


def test_errors_to_one_host_are_limited_to_six_and_then_one_a_second() -> None:
    """RFC 4443 section 2.4 f."""
    stack = router()
    other = ip("fd00::3")
    stack.on_frame(0, 0, solicit(mac(3), other, IcmpMessage(135, 0, 0, OURS + b"\x01\x01" + mac(3))))
    stack.pull()

    def errors(now: int, src: bytes) -> int:
        stack.on_frame(now, 0, frame(Ipv6Packet(src, DST, 17, b"0123456789", 1)))
        return len(stack.pull())

    assert [errors(SECOND, SRC) for _ in range(8)] == [1] * 6 + [0, 0]
    assert errors(SECOND, other) == 1
    assert [errors(2 * SECOND, SRC) for _ in range(2)] == [1, 0]


@pytest.mark.parametrize("kind", [1, 2, 3, 4, 137])
def test_no_error_about_an_error(kind: int) -> None:
    stack = router()
    payload = encode_icmp6(IcmpMessage(kind, 0, 0, b"01234567"), SRC, DST)
    stack.on_frame(1, 0, frame(Ipv6Packet(SRC, DST, 58, payload, 1)))
    assert stack.pull() == []


def option(kind: int) -> bytes:
    """Destination options with one of a kind, in front of UDP."""
    return bytes((17, 0, kind, 4, 0, 0, 0, 0))


@pytest.mark.parametrize(
    ("header", "payload", "expected"),
    [
        (253, b"01234567", (4, 1, 6)),  # unknown next header, told by the field at 6
        (60, bytes((253, 0, 1, 4, 0, 0, 0, 0)), (4, 1, 40)),
        (60, option(0x3E) + udp(SRC, OURS, b"x"), (1, 4, 0)),  # skipped; then nobody has the port
        (60, option(0x7E) + udp(SRC, OURS, b"x"), None),
        (60, option(0xBE) + udp(SRC, OURS, b"x"), (4, 2, 42)),
        (60, option(0xFE) + udp(SRC, OURS, b"x"), (4, 2, 42)),
        (60, bytes((17, 0, 1, 5, 0, 0, 0, 0)), (4, 0, 42)),  # an option longer than its header
        (43, bytes((17, 2, 0, 1)) + bytes(20) + udp(SRC, OURS, b"x"), (4, 0, 42)),  # RFC 5095
        (43, bytes((17, 0, 0, 0)) + bytes(4) + udp(SRC, OURS, b"x"), (1, 4, 0)),
        (59, b"anything", None),
        (60, b"\x11\x01" + bytes(6), None),  # cut off
    ],
)
def test_extension_headers(header: int, payload: bytes, expected: tuple[int, int, int] | None) -> None:
    """RFC 8200 sections 4.1 to 4.7."""
    stack = router()
    stack.on_frame(1, 0, frame(Ipv6Packet(SRC, OURS, header, payload)))
    if expected is None:
        assert stack.pull() == []
    else:
        _, _, message = icmp_error(stack)
        assert (message.type, message.code, message.rest) == expected


def test_tcp_behind_extension_headers() -> None:
    stack = router()
    stack.tcp.listen(0, b"", 80, 1)
    segment = Segment(5000, 80, 1, 0, SYN, 1000, b"")
    stack.on_frame(
        1, 0, frame(Ipv6Packet(SRC, OURS, 0, bytes((6, 0, 5, 2, 0, 0, 1, 0)) + encode_tcp(segment, SRC, OURS)))
    )
    ((_, sent),) = stack.pull()
    assert decode_tcp(sent[54:]).ack == 2


def test_a_wrong_checksum_of_tcp_is_counted() -> None:
    stack = router()
    wire = bytearray(encode_tcp(Segment(5000, 80, 1, 0, SYN, 1000, b""), SRC, OURS))
    wire[16] ^= 1
    stack.on_frame(1, 0, frame(Ipv6Packet(SRC, OURS, 6, bytes(wire))))
    assert stack.pull() == [] and stack.counters.TcpInCsumErrors == 1


# Fragments, RFC 8200 section 4.5.


def fragments(data: bytes, cuts: list[tuple[int, int, bool]], identification: int = 7) -> list[Ipv6Packet]:
    return [
        Ipv6Packet(SRC, OURS, 44, struct.pack("!BBHI", 17, 0, start | more, identification) + data[start:end])
        for start, end, more in cuts
    ]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0, 0)])
def test_fragments_in_any_order(order: tuple[int, ...]) -> None:
    stack = router()
    socket = stack.udp.bind(b"", 9)
    data = udp(SRC, OURS, bytes(range(100)))
    pieces = fragments(data, [(0, 48, True), (48, 96, True), (96, len(data), False)])
    for index in order:
        stack.on_frame(1, 0, frame(pieces[index]))
    received = socket.receive()
    assert received is not None and (received.data, received.address) == (bytes(range(100)), SRC)
    assert stack.pull() == []


def test_overlapping_fragments_discard_the_packet() -> None:
    """RFC 5722."""
    stack = router()
    socket = stack.udp.bind(b"", 9)
    data = udp(SRC, OURS, bytes(100))
    for piece in fragments(data, [(0, 48, True), (40, 96, True), (96, len(data), False)]):
        stack.on_frame(1, 0, frame(piece))
    assert socket.receive() is None and stack.counters.Ip6ReasmFails == 1


def test_a_fragment_that_is_the_whole_packet() -> None:
    """RFC 6946: it has nothing to do with others of the same identification."""
    stack = router()
    socket = stack.udp.bind(b"", 9)
    data = udp(SRC, OURS, bytes(100))
    stack.on_frame(1, 0, frame(fragments(data, [(0, 48, True)])[0]))
    stack.on_frame(1, 0, frame(fragments(data, [(0, len(data), False)])[0]))
    received = socket.receive()
    assert received is not None and received.data == bytes(100)


@pytest.mark.parametrize(
    ("cut", "expected"),
    [((0, 47, True), (4, 0, 4)), ((65528, 65540, False), (4, 0, 42)), ((0, 4, False), (4, 3, 0))],
)
def test_fragments_that_their_sender_is_told_of(cut: tuple[int, int, bool], expected: tuple[int, int, int]) -> None:
    stack = router()
    stack.on_frame(1, 0, frame(fragments(udp(SRC, OURS, bytes(65527)) + bytes(20), [cut])[0]))
    _, _, message = icmp_error(stack)
    assert (message.type, message.code, message.rest) == expected


def test_missing_fragments_are_reported_after_60_s() -> None:
    stack = router()
    piece = fragments(udp(SRC, OURS, bytes(100)), [(0, 48, True)])[0]
    stack.on_frame(1, 0, frame(piece))
    assert stack.next_deadline() == 1 + 60 * SECOND
    stack.on_timer(1 + 60 * SECOND)
    # the neighbour is asked once more, since it was not heard of for so long
    error = decode_ipv6(stack.pull()[-1][1][14:])
    message = decode_icmp6(error.payload, error.src, error.dst)
    assert (message.type, message.code, message.payload) == (3, 1, encode_ipv6(piece))
    assert stack.reassembly.deadline == NEVER


def test_large_pings_and_datagrams_go_in_fragments() -> None:
    net = routed6()
    h1, h2 = net.hosts["h1"], net.hosts["h2"]
    ((result,),) = net.run(h1.ping(ip("fd00:0:0:2::2"), size=5000))
    assert (result.error, result.size) == ("", 5000)
    first = [sent for sent in net.sent_by("h1:0") if sent[20] == 44]
    assert [len(sent) - 14 for sent in first] == [1496, 1496, 1496, 40 + 8 + 5008 - 3 * 1448]
    assert {sent[54] for sent in first} == {58}
    assert h2.counters()["Ip6ReasmOKs"] == 1 and h1.counters()["Ip6FragCreates"] == 4


# Configuration.


@pytest.mark.parametrize(
    ("address", "length", "field"),
    [
        ("fe80::1", 64, "address"),
        ("ff02::1", 64, "address"),
        ("::", 64, "address"),
        ("10.0.0.9", 24, "address"),
        ("fd00::9", 129, "prefix_len"),
        ("fd00::9", 0, "prefix_len"),
    ],
)
def test_addresses_that_no_host_has(address: str, length: int, field: str) -> None:
    stack = router()
    with pytest.raises(InvalidArgument) as wrong:
        stack.add_ipv6(stack.interfaces[0], ip(address), length)
    assert wrong.value.field == field


def test_an_address_twice_and_a_link_too_small() -> None:
    stack = router()
    with pytest.raises(AlreadyExists):
        stack.add_ipv6(stack.interfaces[1], OURS, 64)
    small = stack.add_interface("eth2", mac(12), mtu=1279)
    with pytest.raises(InvalidArgument, match="1280, not 1279"):
        stack.add_ipv6(small, ip("fd00:0:0:2::1"), 64)
    assert ipv6.is_link_local(stack.interfaces[0].ipv6[0][0])


@pytest.mark.parametrize(("field", "name"), list(enumerate(("InNoECTPkts", "InECT1Pkts", "InECT0Pkts", "InCEPkts"))))
def test_packets_are_counted_by_their_ecn_field(field: int, name: str) -> None:
    """RFC 3168 section 5, for traffic classes (section 22.1)."""
    stack = router()
    before = stack.counters.as_dict()
    stack.on_frame(1, 0, frame(Ipv6Packet(SRC, DST, 253, b"payload", traffic_class=0xA8 | field)))
    after = stack.counters.as_dict()
    counted = {one for one in after if after[one] != before[one] and ("ECT" in one or "CEPkts" in one)}
    assert counted == {f"Ip6{name}"}

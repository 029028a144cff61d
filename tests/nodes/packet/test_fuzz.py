"""Whatever the bytes, decoders either decode or say MalformedPacket; what is encoded decodes to the same."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.packet.arp import decode_arp
from nodes.packet.checksum import transport_checksum_ok
from nodes.packet.ethernet import decode_ethernet
from nodes.packet.icmp import IcmpMessage, decode_icmp, encode_icmp
from nodes.packet.icmp6 import decode_discovery, decode_icmp6, encode_icmp6
from nodes.packet.ipv4 import Ipv4Packet, decode_ipv4, encode_ipv4
from nodes.packet.ipv6 import Ipv6Packet, decode_ipv6, encode_ipv6, upper_layer
from nodes.packet.malformed import MalformedPacket
from nodes.packet.tcp import ABSENT, Segment
from nodes.packet.tcp_codec import decode_tcp, encode_tcp
from nodes.packet.udp import decode_udp
from tests.nodes.packet.fields import fields

ADDRESS = st.binary(min_size=4, max_size=4)
BYTE = st.integers(0, 255)
WORD16 = st.integers(0, 0xFFFF)
WORD32 = st.integers(0, 0xFFFFFFFF)


@pytest.mark.parametrize(
    "decode",
    [
        decode_ethernet,
        decode_arp,
        decode_ipv4,
        decode_icmp,
        decode_tcp,
        lambda data: decode_udp(data, bytes(4), bytes(4)),
        lambda data: decode_udp(data, bytes(16), bytes(16)),
        decode_ipv6,
        lambda data: decode_icmp6(data, bytes(16), bytes(16)),
        lambda data: decode_discovery(IcmpMessage(135, 0, 0, data)),
        lambda data: upper_layer(0, data),
        lambda data: upper_layer(43, data),
        lambda data: upper_layer(60, data),
    ],
)
@given(data=st.binary(max_size=120))
def test_any_bytes(decode: Callable[[bytes], object], data: bytes) -> None:
    try:
        decode(data)
    except MalformedPacket as error:
        assert str(error)


@given(st.binary(min_size=0, max_size=40), st.binary(max_size=10))
def test_any_tcp_options(options: bytes, payload: bytes) -> None:
    options += bytes(-len(options) % 4)
    header = bytes(12) + bytes([(20 + len(options)) << 2, 0x10]) + bytes(6)
    segment = decode_tcp(header + options + payload)
    assert segment.payload == payload


@st.composite
def segments(draw: st.DrawFn) -> Segment:
    segment = Segment(
        draw(WORD16),
        draw(WORD16),
        draw(WORD32),
        draw(WORD32),
        draw(st.integers(0, 0x1FF)),
        draw(WORD16),
        draw(st.binary(max_size=50)),
    )
    segment.urgent = draw(WORD16)
    segment.mss = draw(st.just(ABSENT) | WORD16)
    segment.window_scale = draw(st.just(ABSENT) | st.integers(0, 255))
    segment.sack_permitted = draw(st.booleans())
    if draw(st.booleans()):
        segment.tsval = draw(WORD32)
        segment.tsecr = draw(WORD32)
    segment.sack = tuple(draw(st.lists(st.tuples(WORD32, WORD32), max_size=1)))
    return segment


@given(segments(), ADDRESS, ADDRESS)
def test_tcp_round_trip(segment: Segment, src: bytes, dst: bytes) -> None:
    wire = encode_tcp(segment, src, dst)
    assert transport_checksum_ok(src, dst, 6, wire)
    back = decode_tcp(wire)
    assert fields(back) == fields(segment)


@given(ADDRESS, ADDRESS, BYTE, st.binary(max_size=50), BYTE, WORD16, WORD16, BYTE)
def test_ipv4_round_trip(
    src: bytes, dst: bytes, protocol: int, payload: bytes, ttl: int, identification: int, fragment: int, tos: int
) -> None:
    packet = Ipv4Packet(src, dst, protocol, payload, ttl, identification, fragment, tos)
    back = decode_ipv4(encode_ipv4(packet))
    assert fields(back) == fields(packet)


@given(st.integers(0, 255), st.integers(0, 255), WORD32, st.binary(max_size=50))
def test_icmp_round_trip(kind: int, code: int, rest: int, payload: bytes) -> None:
    message = IcmpMessage(kind, code, rest, payload)
    assert decode_icmp(encode_icmp(message)) == message


@given(
    st.binary(min_size=16, max_size=16),
    st.binary(min_size=16, max_size=16),
    BYTE,
    st.binary(max_size=100),
    BYTE,
    BYTE,
    st.integers(0, 0xFFFFF),
)
def test_ipv6_round_trip(
    src: bytes, dst: bytes, next_header: int, payload: bytes, hop_limit: int, traffic_class: int, flow_label: int
) -> None:
    packet = Ipv6Packet(src, dst, next_header, payload, hop_limit, traffic_class, flow_label)
    decoded = decode_ipv6(encode_ipv6(packet) + b"padding of the frame")
    assert fields(decoded) == fields(packet)


@given(st.binary(min_size=16, max_size=16), st.binary(min_size=16, max_size=16), BYTE, BYTE, WORD32, st.binary())
def test_icmp6_round_trip(src: bytes, dst: bytes, kind: int, code: int, rest: int, payload: bytes) -> None:
    message = IcmpMessage(kind, code, rest, payload)
    assert decode_icmp6(encode_icmp6(message, src, dst), src, dst) == message

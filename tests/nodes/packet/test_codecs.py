"""Encoders and decoders against bytes written by hand from the RFCs' figures."""

from __future__ import annotations

from typing import Any

import pytest

from nodes.base.errors import InvalidArgument
from nodes.packet import icmp
from nodes.packet.address import address_text, mac_text, parse_address, parse_mac
from nodes.packet.arp import REQUEST, ArpPacket, decode_arp, encode_arp
from nodes.packet.ethernet import TYPE_IPV4, decode_ethernet, encode_ethernet
from nodes.packet.icmp import IcmpMessage, decode_icmp, encode_icmp
from nodes.packet.ipv4 import DONT_FRAGMENT, Ipv4Packet, decode_ipv4, encode_ipv4
from nodes.packet.malformed import MalformedPacket
from nodes.packet.tcp import ABSENT, ACK, AE, CWR, ECE, PSH, SYN, AccEcnOption, Segment
from nodes.packet.tcp_codec import decode_tcp, encode_options, encode_tcp
from nodes.packet.udp import decode_udp
from tests.nodes.packet.fields import fields
from tests.nodes.packet.test_checksum import by_words

H1 = bytes([10, 0, 0, 1])
H2 = bytes([10, 0, 0, 2])


def test_addresses() -> None:
    assert address_text(H1) == "10.0.0.1" and parse_address("10.0.0.1") == H1
    assert address_text(bytes(15) + b"\x01") == "::1" and parse_address("::1") == bytes(15) + b"\x01"
    assert address_text(b"") == ""
    assert parse_mac("02:00:00:00:00:0a") == b"\x02\0\0\0\0\x0a"
    assert mac_text(b"\x02\0\0\0\0\x0a") == "02:00:00:00:00:0a"


@pytest.mark.parametrize("text", ["10.0.0", "10.0.0.256", "h1", ""])
def test_no_address(text: str) -> None:
    with pytest.raises(InvalidArgument, match="not an IP address"):
        parse_address(text, "gateway")


@pytest.mark.parametrize("text", ["02:00:00:00:00", "02:00:00:00:00:0g", "02:00:00:00:00:001", "2:0:0:0:0:1", ""])
def test_no_mac(text: str) -> None:
    with pytest.raises(InvalidArgument, match="not a MAC address"):
        parse_mac(text)


def test_ethernet() -> None:
    wire = bytes.fromhex("020000000002 020000000001 0800 4500")
    assert encode_ethernet(wire[:6], wire[6:12], TYPE_IPV4, b"\x45\x00") == wire
    assert decode_ethernet(wire) == (wire[:6], wire[6:12], TYPE_IPV4, b"\x45\x00")


def test_arp_request() -> None:
    packet = ArpPacket(REQUEST, bytes.fromhex("020000000001"), H1, bytes(6), H2)
    wire = bytes.fromhex("0001 0800 06 04 0001 020000000001 0a000001 000000000000 0a000002")
    assert encode_arp(packet) == wire
    assert decode_arp(wire + bytes(18)) == packet  # padded to 60 bytes by real hardware


def test_ipv4_header_with_known_checksum() -> None:
    wire = bytes.fromhex("4500 0073 0000 4000 4011 b861 c0a80001 c0a800c7") + bytes(0x73 - 20)
    packet = decode_ipv4(wire)
    assert (packet.src, packet.dst) == (bytes([192, 168, 0, 1]), bytes([192, 168, 0, 199]))
    assert (packet.protocol, packet.ttl, packet.fragment, len(packet.payload)) == (17, 64, DONT_FRAGMENT, 0x73 - 20)
    assert encode_ipv4(packet) == wire
    assert decode_ipv4(wire + b"padding").payload == packet.payload


def test_ipv4_options_are_kept() -> None:
    packet = Ipv4Packet(H1, H2, 17, b"data", options=b"\x94\x04\x00\x00")
    wire = encode_ipv4(packet)
    assert wire[0] == 0x46 and by_words(wire[:24]) == 0
    assert decode_ipv4(wire).options == packet.options and decode_ipv4(wire).payload == b"data"


@pytest.mark.parametrize(
    "wire",
    [
        bytes.fromhex("4500 0014 0000 4000 4011 b861 c0a80001 c0a8"),  # short
        bytes.fromhex("6500 0073 0000 4000 4011 9861 c0a80001 c0a800c7"),  # version 6
        bytes.fromhex("4400 0014 0000 0000 4011 fabf c0a80001 c0a800c7"),  # header of 16 bytes
        bytes.fromhex("4500 0073 0000 4000 4011 b861 c0a80001 c0a800c7"),  # total length beyond the data
        bytes.fromhex("4500 0014 0000 4000 4011 b861 c0a80001 c0a800c7"),  # checksum
    ],
)
def test_malformed_ipv4(wire: bytes) -> None:
    with pytest.raises(MalformedPacket):
        decode_ipv4(wire)


def test_icmp_echo() -> None:
    message = IcmpMessage(icmp.ECHO_REQUEST, 0, 0x00010002, b"ab")
    # ~(0800 + 0001 + 0002 + 6162) = ~6965 = 969a
    wire = bytes.fromhex("08 00 969a 0001 0002 6162")
    assert encode_icmp(message) == wire
    assert decode_icmp(wire) == message
    with pytest.raises(MalformedPacket, match="checksum"):
        decode_icmp(wire[:-1] + b"c")


def test_udp_without_checksum_is_taken() -> None:
    assert decode_udp(bytes.fromhex("0001 0002 000a 0000 6869 ffff"), H1, H2) == (1, 2, b"hi")


def syn() -> Segment:
    segment = Segment(0x8000, 80, 0x01020304, 0, SYN, 0xFAF0, b"")
    segment.mss = 1460
    segment.sack_permitted = True
    segment.tsval = 0x11223344
    segment.tsecr = 0
    segment.window_scale = 7
    return segment


def checked(wire: bytes, src: bytes = H1, dst: bytes = H2) -> bytes:
    """`wire` with the checksum a word-by-word sum gives it."""
    pseudo = src + dst + b"\x00\x06" + len(wire).to_bytes(2, "big")
    return wire[:16] + by_words(pseudo + wire[:16] + b"\x00\x00" + wire[18:]).to_bytes(2, "big") + wire[18:]


@pytest.mark.rfc("9293", "MUST-4", "MUST-14")
def test_syn_with_options_in_the_order_of_linux() -> None:
    wire = checked(
        bytes.fromhex(
            "8000 0050 01020304 00000000 a002 faf0 0000 00000204 05b4  0402 080a 11223344 00000000  01 0303 07"
        )
    )
    assert encode_tcp(syn(), H1, H2) == wire
    assert same(decode_tcp(wire), syn())


@pytest.mark.rfc("9293", "MUST-2")
def test_data_segment_with_nop_nop_timestamps() -> None:
    segment = Segment(1, 2, 0xFFFFFFFF, 5, PSH | ACK, 512, b"odd")
    segment.tsval = 6
    segment.tsecr = 7
    wire = checked(bytes.fromhex("0001 0002 ffffffff 00000005 8018 0200 0000 0000 0101 080a 00000006 00000007 6f6464"))
    assert encode_tcp(segment, H1, H2) == wire
    assert same(decode_tcp(wire), segment)


def test_ack_with_sack_blocks() -> None:
    segment = Segment(1, 2, 3, 4, ACK, 512, b"")
    segment.tsval = 6
    segment.tsecr = 7
    segment.sack = ((10, 20), (30, 40))
    wire = checked(
        bytes.fromhex(
            "0001 0002 00000003 00000004 d010 0200 0000 0000 0101 080a 00000006 00000007"
            "0101 0512 0000000a 00000014 0000001e 00000028"
        )
    )
    assert encode_tcp(segment, H1, H2) == wire
    assert same(decode_tcp(wire), segment)


def test_no_more_sack_blocks_than_fit() -> None:
    segment = Segment(1, 2, 3, 4, ACK, 512, b"")
    segment.sack = tuple((n, n + 1) for n in range(0, 12, 2))
    assert len(encode_options(segment)) == 36  # four blocks
    segment.tsval = segment.tsecr = 0
    assert len(encode_options(segment)) == 40  # three beside timestamps


def test_plain_header_urgent_pointer_and_all_nine_flags() -> None:
    segment = Segment(1, 2, 3, 4, AE | CWR | ECE | ACK, 512, b"")
    segment.urgent = 9
    wire = checked(bytes.fromhex("0001 0002 00000003 00000004 51d0 0200 0000 0009"))
    assert encode_tcp(segment, H1, H2) == wire
    assert same(decode_tcp(wire), segment)


def test_checksum_over_ipv6_addresses() -> None:
    segment = Segment(1, 2, 3, 4, ACK, 512, b"x")
    src, dst = bytes(range(16)), bytes(range(16, 32))
    wire = encode_tcp(segment, src, dst)
    pseudo = src + dst + len(wire).to_bytes(4, "big") + b"\x00\x00\x00\x06"
    assert by_words(pseudo + wire) == 0


def options(data: str) -> Segment:
    raw = bytes.fromhex(data)
    raw += bytes(-len(raw) % 4)
    header = bytes.fromhex("0001 0002 00000003 00000004") + bytes([(20 + len(raw)) << 2, 2]) + bytes(6)
    return decode_tcp(header + raw + b"payload")


@pytest.mark.rfc("9293", "MUST-4")
def test_options_end_at_end_of_list() -> None:
    segment = options("0204 05b4 00 0303 07")
    assert (segment.mss, segment.window_scale, segment.payload) == (1460, ABSENT, b"payload")


@pytest.mark.rfc("9293", "MUST-6", "MUST-64", "MUST-68")
def test_unknown_options_are_skipped() -> None:
    """By their length, also where the next then begins within a word."""
    segment = options("fe04 f989 01 0303 07")
    assert segment.window_scale == 7


@pytest.mark.parametrize("bad", ["0300 0303 07", "0301 0303 07", "01 01 0303", "01 0309 07", "01 01 01 03"])
@pytest.mark.rfc("9293", "MUST-7")
def test_impossible_length_ends_options_and_keeps_those_before(bad: str) -> None:
    segment = options("0204 05b4" + bad)
    assert (segment.mss, segment.window_scale) == (1460, ABSENT)


def test_known_options_of_wrong_size_are_skipped() -> None:
    segment = options("0203 05  0302  0403 00  050b 0000000000000000 00  0804 0000  0204 0218")
    assert (segment.window_scale, segment.sack_permitted, segment.sack, segment.tsval) == (ABSENT, False, (), ABSENT)
    assert segment.mss == 536


@pytest.mark.parametrize(
    "wire",
    [
        "",
        "0001 0002 00000003 00000004 5010 0200 0000 00",
        "0001 0002 00000003 00000004 4010 0200 0000 0000",
        "0001 0002 00000003 00000004 6010 0200 0000 0000",
    ],
)
def test_header_that_does_not_fit(wire: str) -> None:
    with pytest.raises(MalformedPacket):
        decode_tcp(bytes.fromhex(wire))


def same(one: Segment, other: Segment) -> bool:
    return fields(one) == fields(other)


@pytest.mark.parametrize(
    ("values", "others", "expected"),
    [
        # The option is padded to 32 bits, or what pads the option behind it does so.
        ((1, 0, 1), {}, "ae0b 000001 000000 000001 01"),
        ((1, 0), {}, "ae08 000001 000000"),
        ((1,), {}, "ae05 000001 010101"),
        ((), {}, "ae02 0101"),
        ((1, 0, 1), {"sack": ((5, 9),)}, "ae0b 000001 000000 000001 01 0101 050a 00000005 00000009"),
        ((1,), {"sack": ((5, 9),)}, "ae05 000001 01 050a 00000005 00000009"),
        ((), {"sack": ((5, 9),)}, "ae02 050a 00000005 00000009"),
        ((1,), {"window_scale": 7}, "ae05 000001 030307"),
        ((1, 0, 1), {"tsval": 1, "tsecr": 2}, "0101 080a 00000001 00000002 ae0b 000001 000000 000001 01"),
        ((0x1000001, 0xFFFFFF, 1 << 23), {}, "ae0b 000001 ffffff 800000 01"),
    ],
)
def test_the_accecn_option(values: tuple[int, ...], others: dict[str, Any], expected: str) -> None:
    """RFC 9768 section 3.2.3, in Linux's place: after timestamps, before window scale and SACK."""
    segment = Segment(1, 2, 3, 4, ACK, 5, b"")
    segment.accecn = AccEcnOption(1, values)
    for name, value in others.items():
        setattr(segment, name, value)
    assert encode_options(segment).hex() == expected.replace(" ", "")
    told = decode_tcp(encode_tcp(segment, bytes(4), bytes(4))).accecn
    assert told == AccEcnOption(1, tuple(field & 0xFFFFFF for field in values))


@pytest.mark.parametrize(
    ("option", "read"),
    [
        ("ac0b 000001 000002 000003 01", AccEcnOption(0, (1, 2, 3))),
        ("ae0b 000001 000002 000003 01", AccEcnOption(1, (1, 2, 3))),
        ("ac02 0101", AccEcnOption(0, ())),
        ("ac04 ffff", AccEcnOption(0, ())),  # half a field
        ("ac07 000001 ffff 01", AccEcnOption(0, (1,))),
        ("ac0f 000001 000002 000003 00000400 01", AccEcnOption(0, (1, 2, 3))),  # room for more than there is
        ("ac0b 000001 000002 00", None),  # cut off
    ],
)
def test_accecn_options_of_any_length(option: str, read: AccEcnOption | None) -> None:
    """RFC 9768 section 3.2.3: whole fields count, the rest is padding."""
    options = bytes.fromhex(option.replace(" ", ""))
    header = bytes(12) + ((20 + len(options)) << 10 | ACK).to_bytes(2, "big") + bytes(6)
    assert decode_tcp(header + options).accecn == read

"""The Internet checksum against RFC 1071's example, a published header, and a word-by-word twin."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nodes.packet.checksum import checksum, transport_checksum_ok
from nodes.packet.udp import Datagram, decode_udp, encode_udp


def by_words(data: bytes) -> int:
    """RFC 1071 section 4.1, step by step."""
    if len(data) % 2:
        data += b"\x00"
    total = 0
    for at in range(0, len(data), 2):
        total += data[at] << 8 | data[at + 1]
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def test_example_of_rfc_1071_section_3() -> None:
    assert checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0xFFFF ^ 0xDDF2


def test_ipv4_header() -> None:
    assert checksum(bytes.fromhex("450000730000400040110000c0a80001c0a800c7")) == 0xB861


def test_all_zeros_and_sums_of_all_ones() -> None:
    assert checksum(b"") == checksum(bytes(20)) == 0xFFFF
    assert checksum(b"\xff\xff") == checksum(b"\xff\xfe\x00\x01") == 0


@given(st.binary(max_size=200))
def test_equals_the_sum_by_words(data: bytes) -> None:
    assert checksum(data) == by_words(data)


@given(st.binary(max_size=60), st.binary(min_size=4, max_size=4), st.binary(min_size=4, max_size=4))
def test_udp_checksum_covers_pseudo_header_and_is_never_sent_as_zero(payload: bytes, src: bytes, dst: bytes) -> None:
    wire = encode_udp(Datagram(1, 2, payload), src, dst)
    pseudo = src + dst + b"\x00\x11" + len(wire).to_bytes(2, "big")
    expected = by_words(pseudo + wire[:6] + b"\x00\x00" + payload)
    assert int.from_bytes(wire[6:8], "big") == (expected or 0xFFFF)
    assert decode_udp(wire, src, dst).payload == payload


def test_udp_checksum_that_comes_out_as_zero_is_sent_as_all_ones() -> None:
    src, dst = b"\x0a\x00\x00\x01", b"\x0a\x00\x00\x02"
    # words of pseudo-header and header: 0a00+0001+0a00+0002+0011+000a + 0001+0002+000a = 142b; ffff - 142b = ebd4
    wire = encode_udp(Datagram(1, 2, b"\xeb\xd4"), src, dst)
    assert wire == bytes.fromhex("0001 0002 000a ffff ebd4")
    assert decode_udp(wire, src, dst).payload == b"\xeb\xd4"


@given(st.binary(min_size=1, max_size=80), st.integers(0, 7), st.data())
def test_one_flipped_bit_is_noticed(payload: bytes, bit: int, data: st.DataObject) -> None:
    src, dst = b"\x0a\x00\x00\x01", b"\x0a\x00\x00\x02"
    wire = bytearray(encode_udp(Datagram(5, 6, payload), src, dst))
    wire[data.draw(st.integers(0, len(wire) - 1))] ^= 1 << bit
    assert not transport_checksum_ok(src, dst, 17, bytes(wire))

"""Packet rules on IPv6 frames."""

from __future__ import annotations

import pytest

from lab import spec
from lab.attacks.forge import tcp_frame, tcp_packet
from lab.links.frame import FrameView
from lab.links.match import compile_match
from lab.links.rules import RuleSpec
from nodes.base.errors import InvalidArgument
from nodes.packet.address import parse_address
from nodes.packet.checksum import transport_checksum_ok
from nodes.packet.icmp import IcmpMessage
from nodes.packet.icmp6 import encode_icmp6
from nodes.packet.ipv6 import Ipv6Packet, decode_ipv6, encode_ipv6
from nodes.packet.tcp_codec import decode_tcp
from tests.lab.links.bench import ACK, H1, H2, MAC1, MAC2, RST, SYN, Bench

ONE, TWO = parse_address("fd00::1"), parse_address("fd00::2")


def resolve(name: str) -> list[bytes]:
    return {"h1": [H1, ONE], "h2": [H2, TWO]}[name]


def segment(flags: int = ACK, payload: bytes = b"", seq: int = 1000, ack: int = 0) -> bytes:
    return tcp_frame(MAC2, MAC1, tcp_packet(ONE, TWO, 40000, 80, seq, ack, flags, 1000, payload))


def packet(next_header: int, payload: bytes) -> bytes:
    return MAC2 + MAC1 + b"\x86\xdd" + encode_ipv6(Ipv6Packet(ONE, TWO, next_header, payload, 61))


SOLICITATION = packet(58, encode_icmp6(IcmpMessage(135, 0, 0, TWO), ONE, TWO))
BEHIND_OPTIONS = packet(60, bytes((6, 0, 1, 4, 0, 0, 0, 0)) + segment(SYN)[54:])
FIRST_FRAGMENT = packet(44, bytes((6, 0, 0, 1, 0, 0, 0, 7)) + segment(SYN)[54:])
LATER_FRAGMENT = packet(44, bytes((6, 0, 0, 9, 0, 0, 0, 7)) + segment(SYN)[54:])


@pytest.mark.parametrize(
    ("expression", "frame", "matches"),
    [
        ("ipv6 && tcp && !ip", segment(), True),
        ("ipv6.src == fd00::1", segment(), True),
        ("ipv6.src == fd00::/64 and ipv6.dst == fd00::3", segment(), False),
        ("ipv6.addr == fd00:0:0:0::2", segment(), True),
        ("ipv6.addr != ::1", segment(), True),
        ("ipv6.src == h1 && ipv6.dst == h2", segment(), True),
        ("ipv6.src == h2", segment(), False),
        ("ip.src == h1", segment(), False),
        ("tcp.len == 3 && tcp.dstport == 80", segment(payload=b"abc"), True),
        ("ipv6.tclass.dscp == 46 && ipv6.tclass.ecn == 1", segment()[:14] + b"\x6b\x90" + segment()[16:], True),
        ("ipv6.hlim == 61 && ipv6.nxt == 58 && ipv6.plen == 24", SOLICITATION, True),
        ("icmpv6.type == 135 && icmpv6.code == 0 && !icmp", SOLICITATION, True),
        ("tcp.flags.syn", BEHIND_OPTIONS, True),
        ("tcp.flags.syn", FIRST_FRAGMENT, True),
        ("tcp", LATER_FRAGMENT, False),
        ("ipv6", LATER_FRAGMENT, True),
    ],
)
def test_expressions_match_as_in_wireshark(expression: str, frame: bytes, matches: bool) -> None:
    assert compile_match(expression, resolve)(FrameView(frame)) is matches


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("ipv6.src == 10.0.0.1", "column 13: '10.0.0.1' where an IPv6 address or a node's name"),
        ("ipv6.src == fd00::1::2", "column 13: 'fd00::1::2' where an IPv6 address"),
        ("ip.src == fd00::1", "column 11: 'fd00::1' where an IPv4 address or a node's name"),
        ("ipv6.src < fd00::1", "== or != (addresses have no order)"),
    ],
)
def test_addresses_of_the_wrong_family_are_refused(expression: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        compile_match(expression, resolve)
    assert message in str(caught.value)


def test_any_cut_of_a_frame_is_looked_at_safely() -> None:
    everything = compile_match("tcp.len > 0 || udp.port == 1 || icmpv6.type == 8 || ipv6.src == fd00::9", None)
    for frame in (segment(payload=b"abc"), SOLICITATION, BEHIND_OPTIONS, FIRST_FRAGMENT):
        for length in range(len(frame)):
            everything(FrameView(frame[:length]))
        for offset in range(14, len(frame)):
            for value in (0, 0x0F, 0xF0, 0xFF):
                damaged = bytearray(frame)
                damaged[offset] = value
                everything(FrameView(bytes(damaged)))


def test_a_reset_is_of_the_same_family() -> None:
    bench = Bench()
    bench.link.add_rule(spec.load(RuleSpec, "{match: tcp.len > 0, reset: }"))
    bench.offer(0, segment(payload=b"secret", seq=1001, ack=5001))
    bench.run()
    ((_, forward),), ((_, backward),) = bench.out, bench.back
    for frame, src, dst, seq in ((forward, ONE, TWO, 1001), (backward, TWO, ONE, 5001)):
        reset = decode_ipv6(frame[14:])
        assert (reset.src, reset.dst) == (src, dst)
        assert transport_checksum_ok(src, dst, 6, reset.payload)
        told = decode_tcp(reset.payload)
        assert told.flags & RST and told.seq == seq

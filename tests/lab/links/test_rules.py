"""Packet rules on real TCP frames: which frame is meant, and what happens to it."""

from __future__ import annotations

import pytest

from lab import spec
from lab.links.frame import FrameView
from lab.links.match import compile_match
from lab.links.rules import RuleSpec
from nodes.base.clock import MILLISECOND
from nodes.base.errors import AlreadyExists, InvalidArgument, NotFound
from nodes.packet.checksum import transport_checksum_ok
from nodes.packet.ipv4 import decode_ipv4
from nodes.packet.tcp_codec import decode_tcp
from tests.lab.links.bench import ACK, FIN, H1, H2, MAC1, MAC2, PSH, RST, SYN, Bench, answer, plain, resolve, segment

ARP = b"\xff" * 6 + MAC1 + b"\x08\x06" + b"\x00\x01\x08\x00\x06\x04\x00\x01" + bytes(20)


def rule(text: str) -> RuleSpec:
    return spec.load(RuleSpec, text)


def run(text: str, *frames: bytes) -> Bench:
    """The frames cross a link with a rule, a millisecond apart."""
    bench = Bench()
    bench.link.add_rule(rule(text))
    for number, frame in enumerate(frames):
        bench.offer(number * MILLISECOND, frame)
    return bench.run()


@pytest.mark.parametrize(
    ("expression", "frame", "matches"),
    [
        ("", plain(1), True),
        ("tcp", segment(), True),
        ("tcp", ARP, False),
        ("!tcp", ARP, True),
        ("arp", ARP, True),
        ("arp.opcode == 1", ARP, True),
        ("ip || arp", segment(), True),
        ("udp or icmp", segment(), False),
        ("tcp.flags.syn == 1 && tcp.flags.ack == 1", segment(flags=SYN | ACK), True),
        ("tcp.flags.syn == 1 && tcp.flags.ack == 1", segment(flags=SYN), False),
        ("tcp.flags.syn && !tcp.flags.ack", segment(flags=SYN), True),
        ("tcp.flags.syn and not tcp.flags.ack", segment(flags=SYN | ACK), False),
        ("tcp.flags == 0x12", segment(flags=SYN | ACK), True),
        ("tcp.flags.fin", segment(flags=FIN | ACK), True),
        ("tcp.flags.fin", segment(), False),
        ("tcp.flags.reset == true", segment(flags=RST), True),
        ("tcp.flags.push == 0", segment(flags=PSH | ACK), False),
        ("tcp.len > 0", segment(payload=b"x"), True),
        ("tcp.len > 0", segment(), False),
        ("tcp.len", segment(), True),  # present, though 0
        ("tcp.len == 3", segment(payload=b"abc"), True),
        ("tcp.seq_raw == 4294967295", segment(seq=0xFFFFFFFF), True),
        ("tcp.ack_raw >= 77", segment(ack=77), True),
        ("tcp.window_size_value lt 1001", segment(), True),
        ("tcp.port == 80", segment(), True),
        ("tcp.port == 40000", segment(), True),
        ("tcp.port != 80", segment(), False),
        ("tcp.port != 443", segment(), True),
        ("tcp.dstport eq 80 and tcp.srcport ne 80", segment(), True),
        ("tcp.srcport != 80", ARP, False),  # a field that is not there compares to nothing
        ("!(tcp.srcport == 80)", ARP, True),
        ("ip.src == 10.0.0.1", segment(), True),
        ("ip.src == 10.0.0.0/24 and ip.dst == 10.0.0.0/31", segment(), False),
        ("ip.addr == 10.0.0.2", segment(), True),
        ("ip.src == h1", segment(), True),
        ("ip.src == h2", segment(), False),
        ("ip.dst != h1", segment(), True),
        ("ip.dsfield.dscp == 46 && ip.dsfield.ecn == 1", segment()[:15] + b"\xb9" + segment()[16:], True),
        ("ip.ttl == 64 && ip.proto == 6 && ip.id == 0", segment(), True),
        ("frame.len == 54", segment(), True),
        ("tcp.flags.syn || tcp.flags.fin && tcp.flags.ack", segment(flags=SYN), True),  # && binds closer
        ("(tcp.flags.syn || tcp.flags.fin) && tcp.flags.ack", segment(flags=SYN), False),
    ],
)
def test_expressions_match_as_in_wireshark(expression: str, frame: bytes, matches: bool) -> None:
    assert compile_match(expression, resolve)(FrameView(frame)) is matches


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("tcp.flags.sin", "column 1: 'tcp.flags.sin' where a field (did you mean tcp.flags.syn?)"),
        ("tcp.len >", "it ends where a value was expected"),
        ("tcp.len > many", "column 11: 'many' where a number such as 1460 or 0x12"),
        ("tcp.flags.syn == 2", "column 18: '2' where 0 or 1"),
        ("(tcp", "it ends where ) was expected"),
        ("tcp tcp", "column 5: 'tcp' where &&, || or the end"),
        ("tcp &&", "it ends where a field"),
        ("tcp == 1", "column 5: '==' where &&, || or the end (tcp is a protocol"),
        ("ip.src < 10.0.0.1", "column 8: '<' where == or !="),
        ("ip.src == 10.0.0.300", "column 11: '10.0.0.300' where an IPv4 address"),
        ("ip.src == h9", "column 11: there is no node h9; there are h1, h2"),
        ("tcp.len = 3", "column 9: '=' where"),
        ("!" * 30 + "tcp", "less nesting"),
        ("tcp " * 500, "1000 are allowed"),
    ],
)
def test_a_wrong_expression_is_told_where_and_what_was_expected(expression: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        compile_match(expression, resolve)
    assert message in str(caught.value)


def test_any_cut_of_a_frame_is_looked_at_safely() -> None:
    fields = "tcp.len > 0 || udp.port == 1 || icmp.type == 8 || arp.opcode == 2 || tcp.flags.syn || ip.src == 10.0.0.9"
    everything = compile_match(fields, None)
    for frame in (segment(payload=b"abc"), ARP):
        for length in range(len(frame)):
            everything(FrameView(frame[:length]))
    for offset in range(14, 54):
        for value in (0, 0x0F, 0xF0, 0xFF):
            damaged = bytearray(segment(payload=b"abc"))
            damaged[offset] = value
            everything(FrameView(bytes(damaged)))


@pytest.mark.parametrize(
    ("nth", "picked"),
    [
        ("1", [1]),
        (2, [2]),
        ("2-4", [2, 3, 4]),
        ("3-", [3, 4, 5, 6, 7]),
        ("every 3", [3, 6]),
        ("all", [1, 2, 3, 4, 5, 6, 7]),
    ],
)
def test_nth_counts_matches_only(nth: str, picked: list[int]) -> None:
    frames = [segment(seq=number, flags=FIN | ACK) for number in range(1, 8)]
    between = [segment(seq=100, payload=b"x")] * 7
    mixed = [frame for pair in zip(between, frames, strict=True) for frame in pair]
    bench = run(f"{{match: tcp.flags.fin, nth: {nth}, drop: }}", *mixed)
    gone = [number for number, frame in enumerate(frames, 1) if frame not in bench.frames]
    assert gone == picked
    assert bench.frames.count(between[0]) == 7
    assert bench.link.rules[0].matches == 7
    assert bench.link.rules[0].acted == len(picked)


def test_a_rule_of_one_direction_does_not_see_the_other() -> None:
    bench = Bench()
    bench.link.add_rule(rule("{direction: r1->h1, drop: }"))
    bench.offer(0, segment())
    bench.at(0, lambda: bench.link.backward.send(answer()))
    bench.run()
    assert len(bench.frames) == 1
    assert not bench.back


def test_the_verdict_names_the_rule() -> None:
    bench = run("{name: no-fin, match: tcp.flags.fin, drop: }", segment(flags=FIN))
    (verdict,) = bench.sink.of("verdict")
    assert bench.sink.names[verdict["rule"]] == "no-fin"
    assert bench.sink.verdicts() == [(1, "DROPPED_RULE")]


def test_delay_lets_those_behind_overtake() -> None:
    bench = run("{nth: 1, delay: 2500us}", *(plain(number) for number in range(4)))
    assert [(time, frame[3]) for time, frame in bench.out] == [
        (MILLISECOND, 1),
        (2 * MILLISECOND, 2),
        (2_500_000, 0),
        (3 * MILLISECOND, 3),
    ]


def test_hold_waits_for_so_many_frames() -> None:
    bench = run("{nth: 2, hold: 2}", *(plain(number) for number in range(6)))
    assert [frame[3] for frame in bench.frames] == [0, 2, 3, 1, 4, 5]
    assert (2, "HELD") in bench.sink.verdicts()


def test_removing_a_rule_releases_what_it_holds() -> None:
    bench = Bench()
    bench.link.add_rule(rule("{name: holder, hold: 100}"))
    bench.offer(0, plain(7))
    bench.at(MILLISECOND, lambda: bench.link.remove_rule("holder"))
    assert bench.run().out == [(MILLISECOND, plain(7))]
    with pytest.raises(NotFound, match="has no rule 'holder'; it has none"):
        bench.link.remove_rule("holder")


def test_duplicate_gives_copies() -> None:
    assert [frame[3] for frame in run("{nth: 1, duplicate: 3}", plain(0), plain(1)).frames] == [0, 0, 0, 0, 1]
    assert [frame[3] for frame in run("{nth: 1, duplicate: }", plain(0)).frames] == [0, 0]


def test_corrupt_damages_exactly_that_frame_and_a_checksum_tells() -> None:
    frames = [segment(seq=number, payload=b"hello") for number in range(3)]
    bench = run("{nth: 2, corrupt: }", *frames)
    assert bench.frames[0] == frames[0] and bench.frames[2] == frames[2]
    difference = int.from_bytes(frames[1], "big") ^ int.from_bytes(bench.frames[1], "big")
    assert difference.bit_count() == 1


def check_rst(frame: bytes) -> tuple[bytes, int, int, int, int]:
    """Destination, ports, sequence number and flags of a forged RST whose checksums are right."""
    packet = decode_ipv4(frame[14:])
    assert transport_checksum_ok(packet.src, packet.dst, 6, packet.payload)
    tcp = decode_tcp(packet.payload)
    assert frame[:6] == (MAC2 if packet.dst == H2 else MAC1)
    return packet.dst, tcp.src_port, tcp.dst_port, tcp.seq, tcp.flags & ~ACK


def test_reset_replaces_the_segment_by_exact_rsts_to_both_ends() -> None:
    bench = run("{match: tcp.len > 0, reset: }", segment(seq=1001, payload=b"secret", ack=5001))
    assert [check_rst(frame) for frame in bench.frames] == [(H2, 40000, 80, 1001, RST)]
    assert [check_rst(frame) for _, frame in bench.back] == [(H1, 80, 40000, 5001, RST)]
    assert bench.sink.verdicts()[-1] == (1, "RESET")


def test_reset_of_a_syn_is_acknowledged_as_by_a_closed_port() -> None:
    bench = run("{match: tcp.flags.syn, reset: }", segment(seq=1000, flags=SYN))
    (frame,) = [frame for _, frame in bench.back]
    tcp = decode_tcp(decode_ipv4(frame[14:]).payload)
    assert (tcp.flags, tcp.seq, tcp.ack) == (RST | ACK, 0, 1001)


def test_a_reset_rule_does_not_answer_an_rst_with_an_rst() -> None:
    bench = run("{reset: }", segment(flags=RST))
    assert not bench.frames and not bench.back


def stream(isn: int, *pieces: tuple[int, int]) -> list[bytes]:
    """A SYN and data segments of stream bytes [first, last)."""
    data = [segment(seq=(isn + 1 + first) % 2**32, payload=b"d" * (last - first)) for first, last in pieces]
    return [segment(seq=isn, flags=SYN), *data]


@pytest.mark.parametrize("isn", [5000, 2**32 - 1, 2**32 - 150])
def test_stream_bytes_are_named_relative_to_the_syn_and_only_the_first_time(isn: int) -> None:
    frames = stream(isn, (0, 100), (100, 200), (200, 300), (0, 100), (100, 200), (200, 300), (300, 400), (250, 450))
    bench = run("{stream_bytes: 100..299, drop: }", *frames)
    assert bench.frames == frames[:2] + frames[4:]


def test_stream_bytes_begin_and_end_where_they_say() -> None:
    frames = stream(0, (0, 100), (100, 101), (101, 200))
    assert run("{stream_bytes: 100..100, drop: }", *frames).frames == [frames[0], frames[1], frames[3]]


def test_the_first_rule_that_picks_a_frame_acts() -> None:
    bench = Bench()
    bench.link.add_rule(rule("{nth: 2, drop: }"))
    bench.link.add_rule(rule("{duplicate: }"))
    bench.offer(0, plain(0), plain(1))
    bench.run()
    assert [frame[3] for frame in bench.frames] == [0, 0]
    assert [one.name for one in bench.link.rules] == ["rule-1", "rule-2"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{match: tcp}", "one action is needed: drop, delay, duplicate, corrupt, hold, reset"),
        ("{drop: , reset: }", "reset beside another action"),
        ("{nth: 0, drop: }", "0 is not which matches are meant"),
        ("{nth: 4-2, drop: }", "4-2 is not which matches"),
        ("{stream_bytes: 9..3, drop: }", "9..3 is not a range of bytes"),
        ("{match: tcp.flags.sin, drop: }", "match: in 'tcp.flags.sin', column 1"),
        ("{delay: }", "delay.delay: is missing"),
        ("{delay: -1ms}", "must not be negative"),
        ("{hold: 0}", "0 is not a whole number in 1 to"),
        ("{dorp: }", "unknown field; did you mean drop?"),
    ],
)
def test_a_wrong_rule_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        rule(text)
    assert message in str(caught.value)


def test_a_link_refuses_a_rule_it_cannot_have_and_stays_as_it_was() -> None:
    bench = Bench()
    bench.link.add_rule(rule("{name: one, drop: }"))
    with pytest.raises(AlreadyExists):
        bench.link.add_rule(rule("{name: one, drop: }"))
    with pytest.raises(NotFound, match="it has h1->r1 and r1->h1"):
        bench.link.add_rule(rule("{direction: h1->h2, drop: }"))
    with pytest.raises(InvalidArgument, match="there is no node h7"):
        bench.link.add_rule(rule("{match: ip.src == h7, drop: }"))
    assert [one.name for one in bench.link.rules] == ["one"]
    assert len(bench.link.forward.rules) == len(bench.link.backward.rules) == 1


def test_rules_read_back_as_written() -> None:
    for text in (
        "{direction: h1->r1, match: tcp.flags.syn, nth: 2-4, delay: 3ms}",
        "{nth: every 3, drop: }",
        "{nth: 3-, hold: 2}",
        "{stream_bytes: 0..9, reset: }",
    ):
        one = rule(text)
        assert spec.from_mapping(RuleSpec, spec.plain(one)) == one

"""The blind RST: what it sends, when, and that RFC 5961 defeats it while an exact guess does not."""

from __future__ import annotations

from itertools import pairwise

import pytest

from lab.attacks.base import DONE, STOPPED
from nodes.base.clock import MILLISECOND, SECOND
from nodes.base.errors import InvalidArgument, NotFound
from nodes.packet.ipv4 import decode_ipv4
from nodes.packet.tcp import RST
from nodes.packet.tcp_codec import decode_tcp
from tests.lab.attacks.arena import Arena

AIM = "node: mallory, spoof: h1, target: h2, target_port: 80"


def sent(text: str) -> tuple[Arena, list[tuple[int, int, int]]]:
    """Run an attack alone; (instant, source port, sequence number) of what mallory's stack was given."""
    arena = Arena()
    packets: list[tuple[int, int, int]] = []
    h1, h2 = arena.network.addresses("h1")[0], arena.network.addresses("h2")[0]

    def send_raw(node: str, packet: bytes) -> None:
        ip = decode_ipv4(packet)
        tcp = decode_tcp(ip.payload)
        assert (node, ip.src, ip.dst, tcp.dst_port, tcp.flags) == ("mallory", h1, h2, 80, RST)
        packets.append((arena.scheduler.now(), tcp.src_port, tcp.seq))

    arena.context.send_raw = send_raw
    arena.attack(text)
    return arena.run(), packets


def test_it_sweeps_ports_and_sequence_numbers_at_its_rate() -> None:
    _, packets = sent(f"blind-rst: {{{AIM}, spoof_ports: 1000-1001, step: 1000, seq_count: 3, rate: 300}}")
    assert packets == [
        (0, 1000, 0),
        (3_333_333, 1000, 1000),
        (6_666_666, 1000, 2000),
        (10_000_000, 1001, 0),
        (13_333_333, 1001, 1000),
        (16_666_666, 1001, 2000),
    ]


def test_by_default_it_covers_the_whole_space_with_one_step_to_a_window() -> None:
    _, packets = sent(f"blind-rst: {{{AIM}, spoof_ports: 40000, step: 16777216}}")
    numbers = sorted(seq for _, _, seq in packets)
    assert len(numbers) == 256
    assert all(later - earlier == 16777216 for earlier, later in pairwise(numbers))


def test_a_sweep_goes_round_the_end_of_the_space() -> None:
    _, packets = sent(f"blind-rst: {{{AIM}, spoof_ports: 9, seq_start: 4294967290, step: 10, seq_count: 2}}")
    assert [seq for _, _, seq in packets] == [4294967290, 4]


def attacked(offset: int) -> tuple[Arena, dict[str, int]]:
    """A connection that idles, and one blind RST at the number that the server last acknowledged + offset."""
    arena = Arena()
    acknowledged: list[int] = []

    def tap(now: int, frame: bytes) -> None:
        if frame[12:14] == b"\x08\x00":
            acknowledged.append(decode_tcp(decode_ipv4(frame[14:]).payload).ack)

    arena.network.links["r2-h2"].backward.add_tap(tap)
    arena.transfer_and_idle(1000)
    arena.run(2 * SECOND)
    seq = (acknowledged[-1] + offset) % 2**32
    attack = arena.attack(f"blind-rst: {{{AIM}, spoof_ports: 40000, seq_start: {seq}, seq_count: 1}}")
    arena.run(10 * SECOND)
    assert attack.state == DONE
    return arena, attack.results


@pytest.mark.parametrize("offset", [1, 1000, 20_000])
def test_inside_the_window_it_only_gets_a_challenge(offset: int) -> None:
    arena, results = attacked(offset)
    assert results["challenged"] == 1
    assert results["accepted"] == 0
    assert arena.states("h2")[-1] == "ESTABLISHED"
    assert "CLOSED" not in arena.states("h1")


def test_outside_the_window_it_gets_nothing() -> None:
    arena, results = attacked(-1)
    assert results["challenged"] == results["accepted"] == 0
    assert arena.states("h2")[-1] == "ESTABLISHED"


def test_an_exact_guess_succeeds() -> None:
    arena, results = attacked(0)
    assert results["accepted"] == 1
    assert arena.states("h2")[-1] == "CLOSED"


def test_a_sweep_of_the_whole_space_is_defeated() -> None:
    arena = Arena()
    arena.transfer_and_idle(1000)
    arena.run(2 * SECOND)
    attack = arena.attack(f"blind-rst: {{{AIM}, spoof_ports: 40000, step: 4194304, rate: 10000}}")
    arena.run(10 * SECOND)
    assert attack.results["sent"] == attack.results["planned"] == 1024
    assert attack.results["accepted"] == 0
    assert arena.states("h2")[-1] == arena.states("h1")[-1] == "ESTABLISHED"


def test_it_can_be_stopped() -> None:
    arena = Arena()
    attack = arena.attack(f"blind-rst: {{{AIM}, spoof_ports: 1-65535, rate: 1000}}")
    arena.at(10 * MILLISECOND + 1, attack.stop)
    arena.run(SECOND)
    assert (attack.state, attack.packets) == (STOPPED, 11)
    assert not arena.sink.listeners


def test_a_target_without_a_route_ends_it() -> None:
    arena = Arena("nodes: {h1: , h2: , mallory: , h4: }\nlinks: [h1-h2, mallory-h4]")
    attack = arena.attack(f"blind-rst: {{{AIM}, spoof_ports: 40000}}")
    arena.run(SECOND)
    assert (attack.state, attack.packets) == (DONE, 0)


@pytest.mark.parametrize(
    "wrong",
    [
        "node: eve, spoof: h1, target: h2",
        "node: mallory, spoof: h9, target: h2",
        "node: mallory, spoof: h1, target: 1.2.3.4",
        "node: mallory, spoof: 192.0.2.7, target: h2",
    ],
)
def test_what_is_outside_the_lab_is_not_found(wrong: str) -> None:
    with pytest.raises(NotFound):
        Arena().attack(f"blind-rst: {{{wrong}, target_port: 80, spoof_ports: 1}}")


@pytest.mark.parametrize(
    "wrong",
    [
        "spoof_ports: 0",
        "spoof_ports: 9-3",
        "spoof_ports: 1-70000",
        "spoof_ports: 1, step: 0",
        "spoof_ports: 1, rate: 0",
        "spoof_ports: 1, seq_start: 4294967296",
        "{}",
    ],
)
def test_a_wrong_spec_is_refused(wrong: str) -> None:
    with pytest.raises(InvalidArgument):
        Arena().attack(f"blind-rst: {{{AIM}, {wrong.strip('{}')}}}")

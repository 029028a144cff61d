"""RED against its paper: Floyd and Jacobson 1993, "Random Early Detection Gateways for Congestion Avoidance"."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from lab.backends.sim import SimLab
from lab.backends.until import Until
from lab.links.impairments import Impairments
from lab.links.packet import MARKED, Packet
from lab.links.red import Red, decay
from lab.topology.loader import topology_from_mapping
from nodes.base.clock import MILLISECOND, SECOND
from nodes.base.errors import InvalidArgument
from nodes.base.events import LEVEL_STATES
from nodes.base.random import CHANCE_ONE, RandomStream

SIZE = 1000
DEFAULT = Impairments(queue="red", rate_bps=8_000_000, red_min=20_000, red_max=60_000)


def frame(ecn: int = 0) -> bytes:
    """An IPv4 packet of 1000 bytes with its frame; only its ECN field matters."""
    return bytes(12) + b"\x08\x00\x45" + bytes((ecn,)) + bytes(SIZE - 16)


def red(seed: int = 1, **changes: Any) -> Red:
    return Red(dataclasses.replace(DEFAULT, **changes), RandomStream(seed, "link/test/red"))


def offer(queue: Red, now: int = 0, ecn: int = 0) -> Packet | None:
    """The packet if it was taken."""
    packet = Packet(1, frame(ecn), now, 0)
    return packet if queue.push(now, packet) else None


def hold(queue: Red, packets: int) -> None:
    """Fill it, then keep it at that length until the average is there: one in, one out."""
    while queue.packets < packets:
        assert offer(queue) is not None
    for _ in range(20_000):
        if offer(queue) is not None:
            queue.pop(0)


def test_the_average_is_a_filter_of_512_packets() -> None:
    """Section 4: avg <- (1 - w_q) avg + w_q q. A queue of L from the first packet on: avg = L (1 - (1 - w_q)^n)."""
    queue = red(red_min=1 << 30, red_max=1 << 31, limit_packets=100)
    for _ in range(100):
        offer(queue)
    expected = 0.0
    for waiting in range(100):
        expected += (waiting * SIZE - expected) / 512
    assert queue.average == pytest.approx(expected, abs=2)
    for _ in range(1000):
        offer(queue)  # the queue is full: what is dropped is seen all the same
    assert queue.average == pytest.approx(100_000 - (100_000 - expected) * (511 / 512) ** 1000, rel=1e-3)


@pytest.mark.parametrize("packets", [0, 1, 2, 511, 5000, 16_383, 20_000])
def test_decay_is_a_power(packets: int) -> None:
    assert decay(packets) / (1 << 32) == pytest.approx((511 / 512) ** packets, abs=1e-6)


def test_an_idle_line_makes_the_average_smaller() -> None:
    """Section 4: as if m small packets had arrived at an empty queue while it was idle; of 1000 bytes, at 8 Mbit/s one
    each millisecond."""
    queue = red(red_min=1 << 30, red_max=1 << 31, limit_packets=50)
    hold(queue, 50)
    before = queue.average
    while queue.pop(0) is not None:
        pass
    offer(queue, 512 * MILLISECOND)
    assert queue.average == pytest.approx(before * (511 / 512) ** 513, rel=1e-3)


def test_nothing_is_dropped_below_and_everything_above() -> None:
    low = red()
    hold(low, 15)
    assert all(low.pop(0) and offer(low) for _ in range(1000))
    # A burst that the average does not feel passes, up to the limit.
    burst = red(limit_packets=70)
    assert sum(offer(burst) is not None for _ in range(100)) == 70
    high = red(red_probability=0)
    while high.packets < 100:
        offer(high)
    taken = [offer(high) is not None for _ in range(2000)]
    assert taken[0] and not any(taken[-100:])
    assert high.average >= 60_000


def test_between_it_is_one_in_so_many_and_evenly_spaced() -> None:
    """Section 7: with p_a = p_b / (1 - count p_b) the gap between drops is uniform on 1 .. 1/p_b, so 1/(2 p_b) on
    average; at (avg - min) / (max - min) = 1/2 and max_p = 1/10, p_b is 1/20."""
    queue = red(red_probability=CHANCE_ONE // 10, red_min=20_000, red_max=60_000, limit_packets=41)
    while queue.packets < 40:
        offer(queue)
    queue._average = 40_000 << 9
    gaps, gap = [], 0
    for _ in range(20_000):
        gap += 1
        if offer(queue) is None:
            gaps.append(gap)
            gap = 0
        else:
            queue.pop(0)
        assert queue.average == pytest.approx(40_000, rel=0.05)
    assert sum(gaps) / len(gaps) == pytest.approx(10.5, rel=0.1)
    assert max(gaps) <= 22  # never many more than 1/p_b; a chance alone would have gaps of 100


@pytest.mark.parametrize(("ecn", "capable"), [(0, False), (1, True), (2, True), (3, True)])
def test_what_can_be_marked_is_not_dropped(ecn: int, capable: bool) -> None:
    """RFC 3168 section 5: CE instead of a drop, for ECT(0), ECT(1) and CE; also above red_max, as tc-red does."""
    queue = red(red_ecn=True, red_min=0, red_max=1, limit_packets=50)
    while queue.packets < 10:
        offer(queue, ecn=1)
    packet = offer(queue, ecn=ecn)
    assert (packet is not None) == capable
    if packet is not None:
        assert packet.frame[15] & 3 == 3
        assert packet.marks & MARKED
    while queue.packets < 50:
        offer(queue, ecn=1)
    assert offer(queue, ecn=1) is None  # there is no room


def test_the_thresholds_must_be_in_order() -> None:
    with pytest.raises(InvalidArgument, match="red_min 60000b is not below red_max 60000b") as caught:
        dataclasses.replace(DEFAULT, red_min=60_000)
    assert caught.value.field == "red_min"


@pytest.mark.parametrize("ecn", [False, True])
def test_flows_keep_the_average_between_the_thresholds(ecn: bool, tmp_path: Path) -> None:
    """What RED is for (section 1): a short average queue and a busy line, where droptail fills all there is."""
    link = {"endpoints": "h1-h2", "rate": "10mbit", "delay": "10ms", "limit": 400}
    found = {}
    for discipline in ("droptail", "red"):
        more = {"queue": "red", "red_min": "15kb", "red_max": "75kb", "red_probability": "10%", "red_ecn": ecn}
        node = {"kind": "host", "parameters": {"tcp_congestion_control": "reno", "tcp_ecn": int(ecn)}}
        description = {
            "nodes": {"h1": node, "h2": node},
            "links": [{**link, **(more if discipline == "red" else {})}],
        }
        lab = SimLab("red", topology_from_mapping(description), 1, tmp_path / discipline, LEVEL_STATES)
        for flow in range(4):
            lab.start_app("h2", "sink", {"port": 80 + flow})
            lab.start_app("h1", "bulk", {"to": "h2", "port": 80 + flow, "bytes": 1 << 40})
        lab.advance(Until(time_ns=4 * SECOND))
        waiting = []
        before = lab.link_statistics("h1-h2")["h1->h2"]["bytes_delivered"]
        for tick in range(200):
            lab.advance(Until(time_ns=4 * SECOND + (tick + 1) * 20 * MILLISECOND))
            waiting.append(lab.link_statistics("h1-h2")["h1->h2"]["queue_bytes"])
        after = lab.link_statistics("h1-h2")["h1->h2"]
        found[discipline] = sum(waiting) / len(waiting)
        assert (after["bytes_delivered"] - before) * 8 / 4 >= 0.97 * 10_000_000
        lab.close_lab()
        if discipline == "red":
            assert (after["marked"] > 0) == ecn
            assert (after["dropped_queue"] > 0) != ecn
            assert after["queue_packets_max"] < 400 or not ecn
    assert 15 << 10 < found["red"] < 75 << 10
    assert found["droptail"] > 4 * found["red"]

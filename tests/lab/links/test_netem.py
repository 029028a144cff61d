"""Impairments in netem's words, against tc-netem(8) and struct tc_netem_qopt."""

from __future__ import annotations

from typing import Any

import pytest

from lab.links.impairments import Impairments
from lab.links.netem import NetemOptions, netem_options
from lab.topology.loader import topology_from_text
from nodes.base.clock import MILLISECOND
from nodes.base.errors import InvalidArgument
from nodes.base.random import CHANCE_ONE

PERCENT = CHANCE_ONE // 100


def test_a_perfect_wire_has_every_field_and_no_small_limit() -> None:
    assert netem_options(Impairments()) == NetemOptions(0, 0, 1_000_000, 0, (), 0, 0, 0, 0, 0)


def test_chances_are_out_of_two_to_the_thirty_second() -> None:
    """As `tc -s qdisc` shows them again: 2**32 - 1 is 100 %."""
    options = netem_options(Impairments(loss=CHANCE_ONE, duplicate=25 * PERCENT, corrupt=1 * PERCENT))
    assert options.loss == 0xFFFFFFFF
    assert options.duplicate == 0x40000000
    assert abs(options.corrupt - 0.01 * 2**32) <= 1


def test_rate_is_in_bytes_and_the_limit_has_room_for_what_is_on_the_wire() -> None:
    """netem's limit is over all it holds: 20 ms at 10 Mbit/s are up to 390 frames of 64 bytes beside the queue."""
    options = netem_options(Impairments(delay_ns=20 * MILLISECOND, rate_bps=10_000_000, limit_packets=100))
    assert options.rate == 1_250_000
    assert 490 <= options.limit <= 492


def test_bursts_are_given_as_the_kernel_has_them() -> None:
    """struct tc_netem_gemodel has h, where tc has 1-h."""
    options = netem_options(Impairments(gemodel_p=1 * PERCENT, gemodel_r=25 * PERCENT, gemodel_1h=75 * PERCENT))
    p, r, h, k1 = options.gemodel
    assert (r, h, k1) == (0x40000000, 0x40000000, 0)
    assert abs(p - 0.01 * 2**32) <= 1


def test_reordering_needs_a_gap_of_one() -> None:
    assert netem_options(Impairments(delay_ns=MILLISECOND, reorder=10 * PERCENT)).gap == 1
    assert netem_options(Impairments(delay_ns=MILLISECOND, reorder=10 * PERCENT, reorder_gap=5)).gap == 5


def test_jitter_keeps_order_with_a_rate() -> None:
    options = netem_options(Impairments(delay_ns=9 * MILLISECOND, jitter_ns=MILLISECOND, rate_bps=10**9))
    assert (options.delay_ns, options.jitter_ns) == (9 * MILLISECOND, MILLISECOND)


@pytest.mark.parametrize(
    ("impairments", "words"),
    [
        ({"delay_ns": 5 * MILLISECOND, "jitter_ns": MILLISECOND}, "overtake"),
        ({"delay_ns": MILLISECOND, "reorder": PERCENT, "reorder_delay_ns": 1}, "reorder_delay"),
        ({"delay_ns": MILLISECOND, "reorder_gap": 5}, "reorder_gap"),
        ({"reorder": PERCENT}, "there is none"),
        ({"limit_bytes": 10_000}, "limit_bytes"),
        ({"gemodel_p": PERCENT, "loss": PERCENT}, "not both"),
    ],
)
def test_what_it_cannot_do_is_refused_with_what_can(impairments: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArgument, match=f"{words}.*engine: link"):
        netem_options(Impairments(**impairments))


@pytest.mark.parametrize(
    ("link", "words"),
    [
        ("{endpoints: h1-h2, engine: netem, delay: 5ms, jitter: 1ms}", "links.0..engine.*overtake"),
        ("{endpoints: h1-h2, engine: direct, loss: 1%}", "kernel alone does not do loss 1%"),
        ("{endpoints: h1-s1, engine: direct}", "switches are in the link engine"),
        ("{endpoints: h1-h2, engine: fast}", "fast is not one of auto, link, direct, netem"),
    ],
)
def test_a_file_cannot_ask_the_kernel_for_what_it_does_not_do(link: str, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        topology_from_text(f"{{nodes: {{h1: host, h2: host, s1: switch}}, links: [{link}]}}")


def test_a_file_says_who_carries_a_link() -> None:
    text = "{nodes: {h1: host, h2: host, h3: host}, links: [{endpoints: h1-h2, engine: netem, delay: 5ms}, h2-h3]}"
    topology = topology_from_text(text)
    assert [wire.engine for wire in topology.links.values()] == ["netem", "auto"]

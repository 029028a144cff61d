"""What a hostile link does to a TCP transfer: nothing that its user could see but time."""

from __future__ import annotations

import pytest

from nodes.base.clock import MILLISECOND
from nodes.base.random import CHANCE_ONE
from tests.lab.attacks.arena import Arena

TENTH = CHANCE_ONE // 10


@pytest.mark.parametrize(
    "changes",
    [
        {"loss": TENTH},
        {"corrupt": TENTH},
        {"duplicate": TENTH},
        {"jitter_ns": 4 * MILLISECOND},
        {"reorder": TENTH, "reorder_delay_ns": 10 * MILLISECOND},
        {"rate_bps": 1_000_000, "limit_packets": 5},
        {"loss": TENTH // 2, "corrupt": TENTH // 2, "duplicate": TENTH, "reorder": TENTH},
    ],
)
def test_a_transfer_arrives_whole(changes: dict[str, int]) -> None:
    arena = Arena()
    arena.network.links["r1-r2"].update(changes)
    arena.transfer(200_000)
    arena.run()
    assert arena.content == arena.sent
    assert arena.errors == {"h1": "", "h2": ""}


def test_every_corrupted_segment_is_found_out_by_a_checksum() -> None:
    arena = Arena()
    arena.network.links["r2-h2"].update({"corrupt": TENTH}, "r2->h2")
    arena.transfer(500_000)
    arena.run()
    corrupted = arena.network.links["r2-h2"].direction("r2->h2").statistics.corrupted
    counters = arena.network.hosts["h2"].counters()
    assert corrupted > 20
    assert counters["TcpInCsumErrors"] + counters["IpInHdrErrors"] == corrupted
    assert arena.content == arena.sent

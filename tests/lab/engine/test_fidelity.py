"""The fidelity report: what it counts, and when it warns."""

from __future__ import annotations

import time
from typing import Any

import pytest

from lab.engine.fidelity import warnings, with_nodes, words
from lab.engine.load import LoadShares
from nodes.base.clock import MILLISECOND
from tests.lab.engine.wires import Wired

GOOD: dict[str, Any] = {
    "sent": 1000,
    "late_ns": {"p50": 80_000, "p99": 400_000, "max": 6 * MILLISECOND},
    "received": 1000,
    "waited_ns": {"p50": 40_000, "p99": 300_000, "max": 6 * MILLISECOND},
    "dropped_in_socket": 0,
    "too_long": 0,
    "send_failures": 0,
    "elapsed_ns": 10**9,
    "engine_cpu_permille": 200,
    "machine_cpu_permille": 500,
    "steal_permille": 0,
    "cores": 2,
}


def test_it_counts_what_came_what_left_late_and_what_was_lost() -> None:
    wired = Wired("{nodes: {h1: host, h2: host, h3: host}, links: [h1-h2, h2-h3]}")
    try:
        wired.carry_all()
        h1, h2 = wired.socket("h1:eth0"), wired.socket("h2:eth0")
        came = time.time_ns()
        for _ in range(10):
            h1.push(came, b"\x02" * 60)
        h1.counted.dropped = 3
        while time.time_ns() < came + 20 * MILLISECOND:
            pass
        wired.run(MILLISECOND)
        h2.fails = True
        h1.push(time.time_ns(), b"\x02" * 60)
        wired.run(MILLISECOND)
        report = wired.engine.fidelity()
    finally:
        wired.close()
    assert (report["sent"], report["received"], report["dropped_in_socket"], report["send_failures"]) == (11, 11, 3, 1)
    assert set(report["ports"]) == {"h1:eth0", "h2:eth0"}  # h3 had nothing to do with it
    assert report["late_ns"]["p50"] >= 20 * MILLISECOND
    assert report["ports"]["h1:eth0"]["waited_ns"]["p50"] >= 20 * MILLISECOND
    assert report["ports"]["h2:eth0"]["sent"] == 11
    said = " ".join(report["warnings"])
    for word in ("3 frames were lost", "1 frames could not be sent", "left", "waited"):
        assert word in said


def test_counts_outlive_the_socket() -> None:
    wired = Wired("{nodes: {h1: host, h2: host}, links: [h1-h2]}")
    try:
        wired.carry_all()
        wired.socket("h1:eth0").counted.dropped = 3
        wired.socket("h1:eth0").counted.too_long = 2
        wired.engine.uncarry("h1-h2")
        wired.carry_all()
        wired.socket("h1:eth0").counted.dropped = 4
        assert wired.engine.ports["h1:eth0"].counts() == (0, 7, 2)
    finally:
        wired.close()


def test_a_good_run_has_no_warning() -> None:
    assert warnings(GOOD) == []
    assert len(words(with_nodes({**GOOD, "warnings": []}, {}))) == 1


@pytest.mark.parametrize(
    ("bad", "words_"),
    [
        ({"late_ns": {"p50": 0, "p99": 2 * MILLISECOND, "max": 0}}, "left 2 ms or more after their time"),
        ({"waited_ns": {"p50": 0, "p99": 6 * MILLISECOND, "max": 0}}, "a queue that no link has"),
        ({"dropped_in_socket": 1}, "1 frames were lost in the link engine's sockets"),
        ({"too_long": 4}, "4 frames longer than the MTU"),
        ({"send_failures": 2}, "2 frames could not be sent"),
        ({"engine_cpu_permille": 930}, "used 93 % of its core"),
        ({"machine_cpu_permille": 990}, "busy for 99 %"),
        ({"steal_permille": 100}, "did not get 10 %"),
    ],
)
def test_what_makes_a_run_doubtful_is_said(bad: dict[str, Any], words_: str) -> None:
    (said,) = warnings({**GOOD, **bad})
    assert words_ in said


def test_nodes_that_were_too_slow_are_named() -> None:
    slow = {"p50": 0, "p99": 30 * MILLISECOND, "max": 0}
    reports = {
        "h1": {"dropped": {"eth0": 0, "eth1": 5}, "late_ns": {"p50": 0, "p99": 0, "max": 0}},
        "h2": {"dropped": {"eth0": 0}, "late_ns": slow},
    }
    found = with_nodes({**GOOD, "warnings": []}, reports)
    lost, late = found["warnings"]
    assert "5 at h1:eth1" in lost and "eth0" not in lost
    assert "h2 by 30 ms" in late and "h1" not in late
    assert found["nodes"]["h1"]["dropped"]["eth1"] == 5


def test_a_report_that_there_is_not_says_so() -> None:
    assert words({"warning": "the engine died"}) == ["warning: the engine died"]
    assert words({}) == []


def test_shares_are_of_one_core_for_the_process_and_of_all_for_the_machine() -> None:
    from lab.engine.load import Load

    load = Load()
    end = time.process_time() + 0.05
    while time.process_time() < end:
        pass
    shares: LoadShares = load.since_start()
    assert 0 < shares.process <= 1100
    assert 0 <= shares.machine <= 1000
    assert shares.elapsed_ns >= 50 * MILLISECOND

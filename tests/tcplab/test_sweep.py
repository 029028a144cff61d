"""Sweeps: one lab for each case, side by side, into one table in the order of the parameters."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import tcplab.client
from tcplab.client import Controller, Lab


def round_trip(lab: Lab, delay: str) -> dict[str, Any]:
    lab.link("h1-h2").update(delay=delay)
    return {"rtt_ms": lab.node("h1").ping("h2", 2).round_trip_times[1].ToMilliseconds()}


def test_one_row_for_each_case_in_order(controller: Controller) -> None:
    rows = tcplab.client.sweep(
        round_trip, {"delay": ["40ms", "5ms"]}, topology="pair", seeds=[1, 2], controller=controller
    )
    assert rows == [
        {"delay": "40ms", "seed": 1, "rtt_ms": 80},
        {"delay": "40ms", "seed": 2, "rtt_ms": 80},
        {"delay": "5ms", "seed": 1, "rtt_ms": 10},
        {"delay": "5ms", "seed": 2, "rtt_ms": 10},
    ]
    assert controller.labs() == []


def test_the_last_to_finish_keeps_its_place(controller: Controller) -> None:
    second_is_done = threading.Event()

    def measure(lab: Lab, case: int) -> dict[str, Any]:
        if case == 1:
            assert second_is_done.wait(60)
        else:
            second_is_done.set()
        return {}

    rows = tcplab.client.sweep(measure, {"case": [1, 2]}, topology="pair", workers=2, controller=controller)
    assert [row["case"] for row in rows] == [1, 2]


def test_an_error_names_its_parameters(controller: Controller) -> None:
    def measure(lab: Lab, case: int) -> dict[str, Any]:
        return {"value": 1 // (case - 2)}

    with pytest.raises(ZeroDivisionError) as caught:
        tcplab.client.sweep(measure, {"case": [1, 2, 3]}, topology="pair", seeds=[7], controller=controller)
    assert "case=2, seed=7" in " ".join(getattr(caught.value, "__notes__", []))
    assert controller.labs() == []

"""What `tcplab measure` decides by: the chi-square test, and what it refuses to measure."""

from __future__ import annotations

from typing import Any

import pytest

from lab.engine.measure import Measurement, Seen, check, chi_square
from lab.links.impairments import Impairments
from nodes.base.clock import MILLISECOND
from nodes.base.errors import InvalidArgument
from nodes.base.random import CHANCE_ONE

PERCENT = CHANCE_ONE // 100


@pytest.mark.parametrize(
    ("statistic", "freedom", "p"),
    [
        # Upper critical values of the chi-square distribution (NIST/SEMATECH e-Handbook 1.3.6.7.4).
        (2.706, 1, 0.10),
        (10.828, 1, 0.001),
        (5.991, 2, 0.05),
        (9.210, 2, 0.01),
        (7.815, 3, 0.05),
        (9.488, 4, 0.05),
        (16.919, 9, 0.05),
        (27.877, 9, 0.001),
        (29.588, 10, 0.001),
    ],
)
def test_chi_square_is_the_tables(statistic: float, freedom: int, p: float) -> None:
    assert chi_square(statistic, freedom) == pytest.approx(p, rel=0.01)


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"duplicate": PERCENT}, "duplicate"),
        ({"delay_ns": MILLISECOND, "reorder": PERCENT}, "reorder"),
        ({"gemodel_p": PERCENT, "gemodel_1h": PERCENT}, "gemodel_1h"),
        ({"delay_ns": MILLISECOND, "jitter_ns": 2 * MILLISECOND}, "jitter"),
    ],
)
def test_what_is_not_measured_is_refused(asked: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check(Impairments(**asked))
    assert caught.value.field == field


class _Canned(Measurement):
    """A measurement whose frames have come already."""

    def __init__(self, asked: Impairments, seen: Seen) -> None:
        self._asked = asked
        self._seen = seen
        self._tell = lambda words: None
        self._jitter_rate_bps = 0

    def send(self, count: int, length: int, gap_ns: int, **impairments: int) -> Seen:
        return self._seen


def came(*delays: int | None) -> Seen:
    """Frames that left one a millisecond."""
    left = [number * MILLISECOND for number in range(len(delays))]
    return Seen(left, [None if one is None else at + one for at, one in zip(left, delays, strict=True)])


@pytest.mark.parametrize(
    ("lost", "fine"), [(200, True), (230, True), (160, True), (300, False), (0, False), (90, False)]
)
def test_a_loss_of_one_percent_is_told_from_others(lost: int, fine: bool) -> None:
    """Of 20,000 frames 200 are to be lost, with a standard deviation of 14."""
    seen = came(*[None if number < lost else 1 for number in range(20_000)])
    row = _Canned(Impairments(loss=PERCENT), seen)._loss()
    assert row.fine is fine
    assert row.values["lost"] == lost


@pytest.mark.parametrize(
    ("delay_ms", "fine"), [(20.1, True), (20.4, True), (20.6, False), (19.9, False), (40, False), (10, False)]
)
def test_a_delay_that_is_not_the_one_asked_for_is_seen(delay_ms: float, fine: bool) -> None:
    seen = came(*[int(delay_ms * MILLISECOND)] * 2000)
    (row,) = _Canned(Impairments(delay_ns=20 * MILLISECOND), seen).rows()
    assert row.fine is fine


@pytest.mark.parametrize(("permille", "fine"), [(1000, True), (1009, True), (985, False), (1500, False)])
def test_a_rate_that_is_not_the_one_asked_for_is_seen(permille: int, fine: bool) -> None:
    """Frames of 1514 bytes at 10 Mbit/s come every 1.2112 ms."""
    gap = 1_211_200 * 1000 // permille
    seen = Seen([0] * 2000, [number * gap for number in range(2000)])
    row = _Canned(Impairments(rate_bps=10_000_000), seen)._rate()
    assert row.fine is fine


def test_jitter_is_uniform_or_not() -> None:
    asked = Impairments(delay_ns=20 * MILLISECOND, jitter_ns=5 * MILLISECOND)
    uniform = [15 * MILLISECOND + number * 10 * MILLISECOND // 600 for number in range(600)]
    assert _Canned(asked, came(*uniform))._jitter().fine
    constant = [20 * MILLISECOND] * 600
    assert not _Canned(asked, came(*constant))._jitter().fine
    too_early = [14 * MILLISECOND, *uniform[1:]]
    assert not _Canned(asked, came(*too_early))._jitter().fine


def test_bursts_are_told_from_single_losses() -> None:
    """p 1 %, r 20 %: of 20,000 frames 952 in bursts of 5; as many lost one by one are something else."""
    asked = Impairments(gemodel_p=PERCENT, gemodel_r=20 * PERCENT)
    bursts = [None if number % 105 < 5 else 1 for number in range(20_000)]
    single = [None if number % 21 == 0 else 1 for number in range(20_000)]
    assert _Canned(asked, came(*bursts))._bursts().fine
    assert not _Canned(asked, came(*single))._bursts().fine

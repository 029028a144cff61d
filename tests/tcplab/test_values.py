"""Quantities in requests: tc's words and plain numbers, exact; and what is not one."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tcplab.client import InvalidArgument
from tcplab.client.values import chance, nanoseconds, rate, size


@pytest.mark.parametrize(
    ("written", "ns"),
    [("10ms", 10_000_000), ("1.5s", 1_500_000_000), ("250us", 250_000), ("7ns", 7), ("2h", 7_200_000_000_000),
     (2, 2 * 10**9), (0.1, 100_000_000), (timedelta(milliseconds=3), 3_000_000), ("0", 0)],
)  # fmt: skip
def test_durations(written: str | float | timedelta, ns: int) -> None:
    assert nanoseconds(written) == ns


def test_rates_and_sizes_and_chances() -> None:
    assert (rate("5mbit"), rate("1.5kbit"), rate(1000)) == (5_000_000, 1500, 1000)
    assert (size("64kb"), size("1mb"), size("10"), size(7)) == (65536, 1 << 20, 10, 7)
    assert (chance("1%"), chance("0.25"), chance(0.5), chance("100%")) == (0.01, 0.25, 0.5, 1.0)


@pytest.mark.parametrize(
    "written", ["", "soon", "10 parsecs", "1e3s", "0.5ns", "ms", "--1s", "1s2ms", "١s", float("nan"), float("inf")]
)
def test_what_is_no_duration(written: str | float) -> None:
    with pytest.raises(InvalidArgument):
        nanoseconds(written)


@pytest.mark.parametrize("written", ["5", "5mb", "fast", ""])
def test_what_is_no_rate(written: str) -> None:
    with pytest.raises(InvalidArgument):
        rate(written)

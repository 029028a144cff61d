"""CUBIC held against the formulas of RFC 9438."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.base.clock import MILLISECOND, SECOND
from nodes.tcp.congestion.base import Ack
from nodes.tcp.congestion.cubic import Cubic, cube_root

MSS = 1000


@given(st.integers(0, 1 << 100))
def test_cube_root(value: int) -> None:
    root = cube_root(value)
    assert root**3 <= value < (root + 1) ** 3


def grown(window: int, rtt: int, seconds: int) -> list[tuple[float, float]]:
    """Time since the loss, s, and window, segments, when every ACK of two segments comes in its time."""
    cubic = Cubic(MSS, 10 * MSS, 2)
    cubic.cwnd = window * MSS
    cubic.on_loss(0, cubic.cwnd)
    cubic.on_recovered(0)
    ack = Ack()
    ack.acked = ack.delivered = 2 * MSS
    ack.srtt = rtt
    now = 0
    seen = []
    while now < seconds * SECOND:
        now += rtt * 2 * MSS // cubic.cwnd
        ack.now = now
        cubic.on_ack(ack)
        seen.append((now / SECOND, cubic.cwnd / MSS))
    return seen


@pytest.mark.parametrize("window", [200, 1000])
@pytest.mark.rfc("9438", "4.2")
def test_the_window_follows_the_cube(window: int) -> None:
    """Figure 1 and 2: W_cubic(t) = C (t - K)^3 + W_max, K = cbrt((W_max - cwnd_epoch) / C)."""
    k = (window * 0.3 / 0.4) ** (1 / 3)
    for time, cwnd in grown(window, 100 * MILLISECOND, int(2 * k))[50:]:
        assert cwnd == pytest.approx(0.4 * (time - k) ** 3 + window, rel=0.03)


@pytest.mark.rfc("9438", "4.3")
def test_on_a_short_path_it_grows_as_reno_would() -> None:
    """Section 4.3: W_est grows by alpha = 0.53 segments a round trip up to what the window was, then by one."""
    rtt = 2 * MILLISECOND
    last = grown(20, rtt, 1)[-1]
    rounds = 1 / 0.002
    # 0.7 of 20 is 14; 6 segments at 9/17 a round take 11.3 rounds, then one a round.
    assert last[1] == pytest.approx(20 + rounds - 6 * 17 / 9, rel=0.05)


@pytest.mark.rfc("9438", "4.6", "4.7")
def test_less_than_before_makes_room() -> None:
    """Section 4.7: after a loss below the last W_max the plateau is at (1 + beta) / 2 of the window."""
    cubic = Cubic(MSS, 10 * MSS, 2)
    cubic.cwnd = 1000 * MSS
    assert cubic.ssthresh_after_loss(0, cubic.cwnd) == 700 * MSS
    cubic.cwnd = 800 * MSS
    cubic.ssthresh = cubic.ssthresh_after_loss(0, cubic.cwnd)
    cubic.cwnd = cubic.ssthresh
    k = ((680 - 560) / 0.4) ** (1 / 3)
    ack = Ack()
    ack.acked = ack.delivered = MSS
    ack.srtt = 100 * MILLISECOND
    now = 0
    while now < k * SECOND:
        now += 100 * MILLISECOND * MSS // cubic.cwnd
        ack.now = now
        cubic.on_ack(ack)
    assert cubic.cwnd / MSS == pytest.approx(680, rel=0.02)

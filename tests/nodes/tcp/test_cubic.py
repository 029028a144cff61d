"""CUBIC held against the formulas of RFC 9438."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.base.clock import MILLISECOND, SECOND
from nodes.tcp.congestion.base import Ack
from nodes.tcp.congestion.cubic import Cubic, cube_root
from tests.nodes.tcp.harness import Wire

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
@pytest.mark.rfc("9438", "4.4", "4.5", "5.1")
def test_the_window_follows_the_cube(window: int) -> None:
    """Figure 1 and 2: W_cubic(t) = C (t - K)^3 + W_max, K = cbrt((W_max - cwnd_epoch) / C)."""
    k = (window * 0.3 / 0.4) ** (1 / 3)
    for time, cwnd in grown(window, 100 * MILLISECOND, int(2 * k))[50:]:
        assert cwnd == pytest.approx(0.4 * (time - k) ** 3 + window, rel=0.03)


@pytest.mark.rfc("9438", "4.3-1", "4.3-2")
def test_on_a_short_path_it_grows_as_reno_would() -> None:
    """Section 4.3: W_est grows by alpha = 0.53 segments a round trip up to what the window was, then by one."""
    rtt = 2 * MILLISECOND
    last = grown(20, rtt, 1)[-1]
    rounds = 1 / 0.002
    # 0.7 of 20 is 14; 6 segments at 9/17 a round take 11.3 rounds, then one a round.
    assert last[1] == pytest.approx(20 + rounds - 6 * 17 / 9, rel=0.05)


@pytest.mark.rfc("9438", "4.6-2", "4.7-1")
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


def acked(cubic: Cubic, now: int, rtt: int, limited: bool = True, segments: int = 1) -> None:
    """An ACK; `limited`: the window was used up."""
    ack = Ack()
    ack.now, ack.srtt, ack.rtt = now, rtt, rtt
    ack.acked = ack.delivered = segments * MSS
    cubic.on_every_ack(ack)
    if limited:
        cubic.on_ack(ack)


@pytest.mark.rfc("9438", "4.2")
@pytest.mark.parametrize("how", ["little is sent", "nothing is sent"])
def test_time_in_which_the_window_is_not_used_does_not_count(how: str) -> None:
    """Else it would have to jump afterwards, by what it could have grown meanwhile."""
    rtt = 100 * MILLISECOND

    def steps(cubic: Cubic, start: int, count: int) -> int:
        for n in range(count):
            acked(cubic, start + n * rtt // 10, rtt)
        return start + count * rtt // 10

    always, paused = Cubic(MSS, 10 * MSS, 2), Cubic(MSS, 10 * MSS, 2)
    for cubic in (always, paused):
        cubic.cwnd = 100 * MSS
        cubic.on_loss(0, cubic.cwnd)
        cubic.on_recovered(0)
        steps(cubic, 0, 100)
    start = 10 * SECOND
    if how == "little is sent":
        for n in range(300):
            acked(paused, start + n * rtt, rtt, False)
        start += 300 * rtt
    else:
        start += 30 * SECOND
    steps(always, 10 * SECOND, 100)
    steps(paused, start, 100)
    assert paused.cwnd == pytest.approx(always.cwnd, rel=0.05)


@pytest.mark.rfc("9438", "4.6-3")
def test_a_window_that_is_not_used_does_not_grow() -> None:
    """So a reduction may be by the window, not by what is in flight."""
    wire = Wire()
    c, s = wire.connect()
    c.congestion.cwnd, c.congestion.ssthresh = 20 * c.mss, 10 * c.mss
    for _ in range(100):
        c.send(wire.now, bytes(3 * c.mss))
        wire.run(limit=wire.now + 50 * MILLISECOND)
        s.receive(wire.now, 1 << 20)
    assert (c.congestion.cwnd, c.bytes_acked) == (20 * c.mss, 300 * c.mss)


@pytest.mark.rfc("9438", "4.8")
def test_after_a_timeout_of_cubic() -> None:
    """Section 4.8: ssthresh is 0.7 of the window. Where slow start ends, K is 0 and W_max and W_est are the window: it
    grows at once, at least as Reno's, here by 9/17 of a segment in the first round trip."""
    rtt = 10 * MILLISECOND
    cubic = Cubic(MSS, 10 * MSS, 0)
    cubic.cwnd = 1000 * MSS
    cubic.on_loss(0, cubic.cwnd)
    cubic.cwnd = 100 * MSS
    cubic.on_timeout(0, MSS, True)
    assert (cubic.ssthresh, cubic.cwnd) == (70 * MSS, MSS)
    now = 0
    while cubic.cwnd < cubic.ssthresh:
        now += rtt // 70
        acked(cubic, now, rtt)
    assert cubic.cwnd == cubic.ssthresh
    for _ in range(70 * 17 // 9 + 1):
        now += rtt // 70
        acked(cubic, now, rtt)
    assert cubic.cwnd == pytest.approx(71 * MSS, abs=MSS // 10)


@pytest.mark.rfc("9438", "4.9.2")
@pytest.mark.parametrize("late", [False, True])
def test_a_loss_that_was_none(late: bool) -> None:
    """It is taken back, unless the window is larger by then."""
    cubic = Cubic(MSS, 10 * MSS, 2)
    cubic.cwnd = 100 * MSS
    acked(cubic, 0, MILLISECOND)
    before = cubic.cwnd, cubic.ssthresh
    cubic.on_loss(0, cubic.cwnd)
    cubic.on_recovered(0)
    reduced = cubic.ssthresh
    if late:
        cubic.cwnd = 150 * MSS
        cubic.on_undo(0, *before)
        assert cubic.cwnd == 150 * MSS
        # W_max is still that of the loss: the next one, below it, would make room (section 4.7).
        cubic.cwnd = reduced
        cubic.on_loss(0, reduced)
        assert cubic.ssthresh == reduced * 7 // 10
    else:
        cubic.on_undo(0, *before)
        assert (cubic.cwnd, cubic.ssthresh) == before


@pytest.mark.rfc("9438", "4.10-2")
def test_hystart_leaves_slow_start_when_round_trips_grow() -> None:
    """RFC 9406 section 4.2: from 50 ms to 60 ms is more than 1/8: for five rounds a quarter of the growth, then
    congestion avoidance, without any loss."""
    cubic = Cubic(MSS, 10 * MSS, 0)
    now = 0
    windows = []
    for number in range(12):
        windows.append(cubic.cwnd // MSS)
        if cubic.ssthresh < 1 << 30:
            break
        for _ in range(cubic.cwnd // MSS):
            ack = Ack()
            ack.now, ack.round = now, number
            ack.rtt = ack.srtt = (50 if number < 3 else 60) * MILLISECOND
            ack.acked = ack.delivered = MSS
            cubic.on_every_ack(ack)
            cubic.on_ack(ack)
            now += MILLISECOND // 100
    assert windows[:4] == [10, 20, 40, 80]
    growth = [after / before for before, after in pairwise(windows[4:9])]
    assert growth == pytest.approx([1.25] * 4, abs=0.02)
    assert cubic.ssthresh == pytest.approx(windows[-1] * MSS, abs=2 * MSS)

"""Kernel time stamps as instants of lab time, whatever is done to the wall clock."""

from __future__ import annotations

import time
from typing import cast

import pytest

from nodes.base.clock import MILLISECOND, SECOND
from nodes.drivers.packet_socket import PacketSocket
from nodes.drivers.veth import Port
from nodes.drivers.wall_clock import WallClock


class SetClock:
    """The wall clock of a machine on which somebody sets it: `ahead_ns` of the real one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead_ns = 0
        real = time.time_ns
        monkeypatch.setattr(time, "time_ns", lambda: real() + self.ahead_ns)


class Frames:
    """Stands for a packet socket that has received these."""

    def __init__(self) -> None:
        self.waiting: list[tuple[int, bytes]] = []

    def receive(self, budget: int) -> list[tuple[int, bytes]]:
        got, self.waiting = self.waiting[:budget], self.waiting[budget:]
        return got


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> SetClock:
    return SetClock(monkeypatch)


def lab_time(clock: WallClock, epoch: int) -> tuple[int, int]:
    """How far a reading taken now is from the instant it was taken at: at least, at most."""
    before = time.monotonic_ns() - epoch
    found = time.time_ns() + clock.shift()
    return found - (time.monotonic_ns() - epoch), found - before


@pytest.mark.parametrize("step_s", [0, 3600, -3600, 0.001, -0.001])
def test_a_reading_is_the_instant_it_was_taken_at_also_after_the_clock_was_set(wall: SetClock, step_s: float) -> None:
    epoch = time.monotonic_ns() - 5 * SECOND
    clock = WallClock(epoch)
    least, most = lab_time(clock, epoch)
    assert least < 50_000 and most > -50_000
    wall.ahead_ns += int(step_s * SECOND)
    least, most = lab_time(clock, epoch)
    assert least < 50_000 and most > -50_000


def test_the_shift_does_not_jitter(wall: SetClock) -> None:
    clock = WallClock(0)
    assert len({clock.shift() for _ in range(1000)}) <= 2  # two when a look was interrupted


@pytest.mark.parametrize("step_s", [1, -1])
def test_instants_never_go_back_and_are_never_in_the_future(wall: SetClock, step_s: int) -> None:
    frames = Frames()
    port = Port(cast(PacketSocket, frames), WallClock(0), 0, lambda frame: None)
    now = time.time_ns()
    frames.waiting = [(now - 2 * MILLISECOND, b"a"), (now - 3 * MILLISECOND, b"b"), (now, b"c")]
    first = port.receive(64)
    # Stamped before the clock was set, taken after that.
    frames.waiting = [(time.time_ns(), b"d")]
    wall.ahead_ns += step_s * SECOND
    frames.waiting.append((time.time_ns(), b"e"))
    second = port.receive(64)
    after = time.monotonic_ns()
    assert [frame for _, frame in first + second] == [b"a", b"b", b"c", b"d", b"e"]
    instants = [at for at, _ in first + second]
    assert instants == sorted(instants)
    assert instants[-1] <= after
    assert instants[0] == instants[1] < instants[2]


def test_no_frames_are_no_frames(wall: SetClock) -> None:
    port = Port(cast(PacketSocket, Frames()), WallClock(0), 0, lambda frame: None)
    assert port.receive(64) == []

"""RealScheduler: what comes when. Instants in these tests are in the past, so that nothing depends on the machine."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from nodes.base.clock import MILLISECOND, NEVER, SECOND
from nodes.base.real import BUDGET, RealScheduler, Source, Stamped


class Tray(Source):
    """A source that a test fills: frames with the instants at which they came."""

    def __init__(self, on_frame: Callable[[bytes], None]) -> None:
        self.frames: list[Stamped] = []
        self.on_frame = on_frame  # type: ignore[method-assign,assignment]
        self._event = os.eventfd(0, os.EFD_NONBLOCK)

    def fill(self, *frames: Stamped) -> None:
        self.frames += frames
        os.eventfd_write(self._event, 1)

    def fileno(self) -> int:
        return self._event

    def receive(self, budget: int) -> list[Stamped]:
        batch, self.frames = self.frames[:budget], self.frames[budget:]
        if not self.frames:
            os.eventfd_read(self._event)
        return batch

    def close(self) -> None:
        os.close(self._event)


class Diary:
    """What a scheduler did, with its `now()`."""

    def __init__(self, scheduler: RealScheduler) -> None:
        self.scheduler = scheduler
        self.lines: list[tuple[int, Any]] = []

    def note(self, what: Any) -> None:
        self.lines.append((self.scheduler.now(), what))


@pytest.fixture
def scheduler() -> Iterator[RealScheduler]:
    one = RealScheduler(epoch_ns=0)
    yield one
    one.close()


@pytest.fixture
def diary(scheduler: RealScheduler) -> Diary:
    return Diary(scheduler)


@pytest.fixture
def trays(scheduler: RealScheduler, diary: Diary) -> Iterator[list[Tray]]:
    made = [Tray(diary.note), Tray(diary.note)]
    for each in made:
        scheduler.add_source(each)
    yield made
    for each in made:
        scheduler.remove_source(each)
        each.close()


def test_equal_instants_run_in_the_order_they_were_asked_for(scheduler: RealScheduler, diary: Diary) -> None:
    at = scheduler.now() + 1000
    scheduler.post(at + 1, diary.note, "last")
    scheduler.post(at, diary.note, "a")
    scheduler.call_at(at, diary.note, "b")
    scheduler.post(at, diary.note, "c")
    while len(diary.lines) < 4:
        scheduler.run_once(SECOND)
    assert diary.lines == [(at, "a"), (at, "b"), (at, "c"), (at + 1, "last")]


def test_an_instant_already_past_comes_after_what_is_due(scheduler: RealScheduler, diary: Diary) -> None:
    at = scheduler.now() + 1000

    def first(_: Any) -> None:
        scheduler.post(at - 900, diary.note, "asked for too late")
        scheduler.call_at(0, diary.note, "much too late")

    scheduler.post(at, first, None)
    scheduler.post(at, diary.note, "due")
    while len(diary.lines) < 3:
        scheduler.run_once(SECOND)
    assert diary.lines == [(at, "due"), (at, "asked for too late"), (at, "much too late")]


def test_a_cancelled_call_is_not_made(scheduler: RealScheduler, diary: Diary) -> None:
    at = scheduler.now() + 1000
    timer = scheduler.call_at(at, diary.note, "cancelled")
    timer.cancel()
    timer.cancel()
    assert scheduler.next_time() == NEVER
    scheduler.post(at + 1, diary.note, "made")
    while not diary.lines:
        scheduler.run_once(SECOND)
    assert diary.lines == [(at + 1, "made")]


def test_frames_and_calls_are_handled_in_the_order_of_their_instants(
    scheduler: RealScheduler, diary: Diary, trays: list[Tray]
) -> None:
    start = scheduler.now()
    for each in (5, 15, 25):
        scheduler.post(start + each, diary.note, f"timer {each}")
    trays[0].fill((start + 10, b"10"), (start + 30, b"30"))
    trays[1].fill((start + 1, b"1"), (start + 20, b"20"))
    while len(diary.lines) < 7:
        scheduler.run_once(SECOND)
    assert diary.lines == [
        (start + 1, b"1"),
        (start + 5, "timer 5"),
        (start + 10, b"10"),
        (start + 15, "timer 15"),
        (start + 20, b"20"),
        (start + 25, "timer 25"),
        (start + 30, b"30"),
    ]


def test_what_a_frame_causes_comes_before_later_frames(
    scheduler: RealScheduler, diary: Diary, trays: list[Tray]
) -> None:
    start = scheduler.now()
    trays[0].on_frame = lambda frame: scheduler.post(scheduler.now() + 3, diary.note, frame)  # type: ignore[method-assign]
    trays[0].fill((start + 1, b"caused at 4"), (start + 6, b"caused at 9"))
    trays[1].fill((start + 5, b"5"), (start + 8, b"8"))
    while len(diary.lines) < 4:
        scheduler.run_once(SECOND)
    assert diary.lines == [
        (start + 4, b"caused at 4"),
        (start + 5, b"5"),
        (start + 8, b"8"),
        (start + 9, b"caused at 9"),
    ]


@pytest.mark.parametrize("flood", [BUDGET - 1, BUDGET, BUDGET + 1, 3 * BUDGET + 7])
def test_a_full_source_lets_nothing_later_run_ahead(
    scheduler: RealScheduler, diary: Diary, trays: list[Tray], flood: int
) -> None:
    start = scheduler.now()
    trays[0].fill(*((start + 10 * number, b"flood") for number in range(flood)))
    trays[1].fill(*((start + 10 * number + 5, b"other") for number in range(0, flood, 7)))
    for number in range(0, flood, 11):
        scheduler.post(start + 10 * number + 3, diary.note, "timer")
    expected = flood + len(range(0, flood, 7)) + len(range(0, flood, 11))
    while len(diary.lines) < expected:
        scheduler.run_once(SECOND)
    instants = [at for at, _ in diary.lines]
    assert instants == sorted(instants)
    assert [at for at, what in diary.lines if what == b"flood"] == [start + 10 * number for number in range(flood)]
    assert [at for at, what in diary.lines if what == b"other"] == [start + n * 10 + 5 for n in range(0, flood, 7)]


def test_nothing_held_of_a_removed_source_is_handled(scheduler: RealScheduler, diary: Diary, trays: list[Tray]) -> None:
    start = scheduler.now()
    trays[0].fill(*((start + number, b"flood") for number in range(2 * BUDGET)))
    trays[1].fill((start + 2 * BUDGET, b"removed"))
    scheduler.run_once(0)  # the flood goes first, so the other waits
    scheduler.remove_source(trays[1])
    while len(diary.lines) < 2 * BUDGET:
        scheduler.run_once(0)
    scheduler.run_once(0)
    assert [what for _, what in diary.lines] == [b"flood"] * (2 * BUDGET)


def test_now_never_goes_back(scheduler: RealScheduler, diary: Diary, trays: list[Tray]) -> None:
    start = scheduler.now()
    trays[0].fill((start + 100, b"late"))
    while not diary.lines:
        scheduler.run_once(SECOND)
    trays[1].fill((start + 50, b"found after that"))
    while len(diary.lines) < 2:
        scheduler.run_once(SECOND)
    assert diary.lines == [(start + 100, b"late"), (start + 100, b"found after that")]


def test_a_call_is_never_early(scheduler: RealScheduler) -> None:
    for spin_ns in (0, 200_000):
        one = RealScheduler(epoch_ns=0, spin_ns=spin_ns)
        seen: list[tuple[int, int]] = []
        for wait in (1, 1000, 100_000, 150_000, 300_000, 2_000_000):
            at = one.real_now() + wait
            one.post(at, lambda at: seen.append((at, one.real_now())), at)  # noqa: B023
        while len(seen) < 6:
            one.run_once(SECOND)
        assert all(real >= at for at, real in seen)
        assert one.lateness.count == 6
        one.close()


def test_lab_time_counts_from_the_epoch() -> None:
    epoch = time.monotonic_ns() - 5 * SECOND
    one = RealScheduler(epoch)
    before = time.monotonic_ns() - epoch
    assert before <= one.real_now() <= time.monotonic_ns() - epoch
    one.close()


def test_a_wait_ends_with_a_frame_from_another_thread(
    scheduler: RealScheduler, diary: Diary, trays: list[Tray]
) -> None:
    start = scheduler.now()
    scheduler.post(start + 3600 * SECOND, diary.note, "too late")
    thread = threading.Thread(target=trays[0].fill, args=((start + 1, b"now"),))
    thread.start()
    while not diary.lines:
        scheduler.run_once(3600 * SECOND)
    thread.join()
    assert diary.lines == [(start + 1, b"now")]


def test_readers_and_writers_of_a_descriptor(scheduler: RealScheduler) -> None:
    reading, writing = os.pipe()
    seen: list[str] = []

    def on_room() -> None:
        seen.append("room")
        os.write(writing, b"x")
        scheduler.remove_writer(writing)

    def on_data() -> None:
        seen.append(os.read(reading, 1).decode())
        scheduler.stop()

    scheduler.add_writer(writing, on_room)
    scheduler.add_reader(reading, on_data)
    scheduler.run()
    assert seen == ["room", "x"]
    scheduler.remove_reader(reading)
    scheduler.remove_reader(reading)
    os.write(writing, b"y")
    scheduler.run_once(0)
    assert seen == ["room", "x"]
    os.close(reading)
    os.close(writing)


def test_a_descriptor_above_those_of_select_is_waited_for(diary: Diary) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2000:
        pytest.fail(f"this test needs 2000 descriptors; the limit is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2000), hard))
    taken: list[int] = []
    try:
        while not taken or taken[-1] < 1100:
            taken.append(os.dup(0))
        one = RealScheduler(epoch_ns=0)
        seen: list[int] = []
        at = one.real_now() + MILLISECOND
        one.post(at, seen.append, at)
        while not seen:
            one.run_once(SECOND)
        assert one.fileno() > 1023
        one.close()
    finally:
        for each in taken:
            os.close(each)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_an_idle_loop_takes_no_processor_time(scheduler: RealScheduler, diary: Diary) -> None:
    at = scheduler.now() + SECOND // 2
    scheduler.post(at, lambda _: scheduler.stop(), None)
    before = time.thread_time_ns()
    scheduler.run()
    assert time.thread_time_ns() - before < 50 * MILLISECOND


def test_a_signal_is_handled_while_it_waits() -> None:
    code = (
        "import signal, sys\n"
        "from nodes.base.real import RealScheduler\n"
        "def handle(*_): sys.exit(7)\n"
        "signal.signal(signal.SIGTERM, handle)\n"
        "print('waiting', flush=True)\n"
        "RealScheduler(0).run()\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"waiting\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 7


def test_a_punctual_process_has_a_timer_slack_of_a_microsecond_and_a_frozen_heap() -> None:
    code = (
        "import gc\n"
        "from pathlib import Path\n"
        "from nodes.base.real import be_punctual\n"
        "be_punctual()\n"
        "print(Path('/proc/self/timerslack_ns').read_text().strip(), gc.get_freeze_count() > 1000)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1000 True\n"

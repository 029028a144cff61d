"""The scheduler of a lab process, whose loop is asyncio's: it says when there is something to do."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import msgpack
import pytest

from lab.backends.real.guest import GuestScheduler
from nodes.agent.remote import Remote
from nodes.base.clock import SECOND
from nodes.base.tasks import TaskRunner


@pytest.fixture
def scheduler() -> Iterator[GuestScheduler]:
    one = GuestScheduler(time.monotonic_ns())
    yield one
    one.close()


def test_an_earlier_call_is_told_of_and_a_later_one_is_not(scheduler: GuestScheduler) -> None:
    told: list[int] = []
    scheduler.on_earlier = lambda: told.append(scheduler.next_time())
    scheduler.post(3 * SECOND, print, "")
    scheduler.post(4 * SECOND, print, "")
    scheduler.call_at(2 * SECOND, print, "")
    scheduler.call_at(5 * SECOND, print, "")
    assert told == [3 * SECOND, 2 * SECOND]


def test_an_answer_that_comes_during_a_blocking_call_is_told_of(scheduler: GuestScheduler) -> None:
    """It is taken from the line then, so the descriptor will never tell of it."""
    ours, members = socket.socketpair()
    remote = Remote("node h1", ours, scheduler)
    runner = TaskRunner(scheduler)
    waiting = runner.spawn(0, "output of a command", remote.wait("exec_read"))
    scheduler.run_once(0)  # asks
    members.sendall(msgpack.packb({"id": 1, "value": "said"}) + msgpack.packb({"id": 2, "value": None}))
    told: list[int] = []
    scheduler.on_earlier = lambda: told.append(scheduler.next_time())
    remote.call("exec_end_input")
    assert told
    scheduler.run_once(0)
    assert waiting.result == "said"
    remote.close("is over")
    members.close()

"""The thread a live stack lives in: its answers, its end, its bugs."""

from __future__ import annotations

import signal
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from nodes.base.errors import Cancelled, FailedPrecondition
from nodes.base.tasks import Waiter
from nodes.live.loop import Loop


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop("tested")
    loop.start()
    yield loop
    loop.close()


class Waiting:
    """Work that waits for what never comes; `began` and `ended` say how far it is."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.ended = threading.Event()
        self.error: BaseException | None = None

    def __call__(self) -> Coroutine[Any, None, None] | None:
        return self._run()

    async def _run(self) -> None:
        self.began.set()
        try:
            await Waiter[None]("what never comes")
        except BaseException as error:
            self.error = error
            raise
        finally:
            self.ended.set()


def test_work_is_done_in_order_in_one_thread(loop: Loop) -> None:
    seen: list[int] = []
    for number in range(100):
        loop.post(partial(seen.append, number))
    thread = loop.call(threading.get_ident)
    assert seen == list(range(100))
    assert thread != threading.get_ident()
    assert loop.call(threading.get_ident) == thread


def test_errors_come_back(loop: Loop) -> None:
    with pytest.raises(ZeroDivisionError):
        loop.call(lambda: 1 // 0)
    assert loop.call(lambda: 1 + 1) == 2


def test_who_waits_at_the_end_is_told(loop: Loop) -> None:
    waiting = Waiting()
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(loop.wait, waiting)
        assert waiting.began.wait(10)
        loop.close()
        with pytest.raises(FailedPrecondition, match="tested has ended"):
            answer.result(10)
    with pytest.raises(FailedPrecondition, match="tested has ended"):
        loop.call(lambda: 1)
    loop.close()


def test_a_bug_in_the_thread_is_the_cause_of_what_others_are_told(loop: Loop) -> None:
    def bug() -> None:
        raise KeyError("a bug")

    waiting = Waiting()
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(loop.wait, waiting)
        assert waiting.began.wait(10)
        loop.post(bug)
        with pytest.raises(FailedPrecondition) as told:
            answer.result(10)
        assert isinstance(told.value.__cause__, KeyError)


def test_an_interrupted_call_is_cancelled(loop: Loop) -> None:
    waiting = Waiting()

    def interrupt() -> None:
        waiting.began.wait(10)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    helper = threading.Thread(target=interrupt)
    helper.start()
    with pytest.raises(KeyboardInterrupt):
        loop.wait(waiting)
    helper.join()
    assert waiting.ended.wait(10)
    assert isinstance(waiting.error, Cancelled)
    assert loop.call(lambda: 1) == 1

"""A scheduler in somebody else's loop: asyncio's, where the services of a lab process live."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nodes.base.clock import Timer
from nodes.base.real import RealScheduler


class GuestScheduler(RealScheduler):
    """Calls `on_earlier()` whenever `next_time()` has become earlier, by whatever: an answer that a blocking call to a
    member came upon makes work too, and nobody but the scheduler knows."""

    def __init__(self, epoch_ns: int) -> None:
        super().__init__(epoch_ns)
        self.on_earlier: Callable[[], None] = _nothing

    def call_at(self, time_ns: int, fn: Callable[[Any], None], arg: Any) -> Timer:
        timer = super().call_at(time_ns, fn, arg)
        if self._heap.first() is timer:
            self.on_earlier()
        return timer


def _nothing() -> None:
    """Nobody listens."""

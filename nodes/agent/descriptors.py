"""`Descriptors`: descriptors watched with every flag epoll has, beside a RealScheduler's readers and writers."""

from __future__ import annotations

import select
from collections.abc import Callable

from nodes.base.real import RealScheduler

#: Called with the flags of epoll that hold.
OnEvents = Callable[[int], None]


class Descriptors:
    """An epoll of its own that the scheduler watches. A hang-up is told whatever flags were asked for."""

    def __init__(self, scheduler: RealScheduler) -> None:
        self._scheduler = scheduler
        self._epoll = select.epoll()
        self._watched: dict[int, OnEvents] = {}
        scheduler.add_reader(self._epoll.fileno(), self._on_readable)

    def add(self, descriptor: int, flags: int, on_events: OnEvents) -> None:
        """Watch it from now on."""
        self._epoll.register(descriptor, flags)
        self._watched[descriptor] = on_events

    def change(self, descriptor: int, flags: int) -> None:
        """Watch for other flags."""
        self._epoll.modify(descriptor, flags)

    def remove(self, descriptor: int) -> None:
        """To be called before it is closed. Nothing happens when it is not watched."""
        if self._watched.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    def close(self) -> None:
        """Watch nothing any more. Idempotent."""
        if not self._epoll.closed:
            self._scheduler.remove_reader(self._epoll.fileno())
            self._epoll.close()
            self._watched.clear()

    def _on_readable(self) -> None:
        # First who is meant: a number may be closed and given anew while others are served.
        ready = [(self._watched[descriptor], descriptor, flags) for descriptor, flags in self._epoll.poll(0)]
        for on_events, descriptor, flags in ready:
            if self._watched.get(descriptor) is on_events:
                on_events(flags)

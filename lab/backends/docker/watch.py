"""Tells a lab which of its containers were started."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

from docker.errors import DockerException

from lab.backends.docker.daemon import NODE
from nodes.base.real import RealScheduler

#: A daemon that is gone is looked for again after so long, wall seconds.
_AGAIN_S: Final = 1.0


class Watch:
    """Calls `on_start(node, container id, labels)` in the scheduler's thread. A thread of its own listens to the
    daemon, so it must not be made before the process has forked what it forks."""

    def __init__(
        self,
        client: Any,
        filters: Mapping[str, list[str]],
        scheduler: RealScheduler,
        on_start: Callable[[str, str, Mapping[str, str]], None],
    ) -> None:
        self._client = client
        self._filters = {**filters, "type": "container", "event": "start"}
        self._scheduler = scheduler
        self._on_start = on_start
        self._seen: deque[Mapping[str, Any]] = deque()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._closing = threading.Event()
        self._stream: Any = self._client.events(filters=self._filters, decode=True)
        scheduler.add_reader(self._wake, self._on_wake)
        self._thread = threading.Thread(target=self._listen, name="docker events", daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while not self._closing.is_set():
            with contextlib.suppress(DockerException, OSError, ValueError, AttributeError):
                for event in self._stream:
                    self._seen.append(event)
                    os.eventfd_write(self._wake, 1)
            # The daemon is gone; containers may go on without it, so it is looked for again.
            if not self._closing.wait(_AGAIN_S):
                with contextlib.suppress(DockerException, OSError):
                    self._stream = self._client.events(filters=self._filters, decode=True)

    def _on_wake(self) -> None:
        os.eventfd_read(self._wake)
        while self._seen:
            actor = self._seen.popleft()["Actor"]
            labels = actor["Attributes"]
            if NODE in labels:
                self._on_start(labels[NODE], actor["ID"], labels)

    def close(self) -> None:
        """Listen no more. Idempotent."""
        if self._closing.is_set():
            return
        self._closing.set()
        self._stream.close()
        self._thread.join()
        self._scheduler.remove_reader(self._wake)
        os.close(self._wake)

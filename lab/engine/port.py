"""One end of the engine: a socket on the far end of a host's interface, as a source of frames and a place to send."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

from nodes.base.clock import NEVER, SECOND
from nodes.base.histogram import Histogram
from nodes.base.real import RealScheduler, Source, Stamped


class FrameCounts(Protocol):
    """What a socket has counted since it was opened."""

    @property
    def received(self) -> int: ...
    @property
    def dropped(self) -> int: ...


class FrameSocket(Protocol):
    """What a port needs of `nodes.drivers.packet_socket.PacketSocket`; stamps are CLOCK_REALTIME, ns."""

    def fileno(self) -> int: ...
    def receive(self, budget: int) -> list[tuple[int, bytes]]: ...
    def send(self, frame: bytes) -> bool: ...
    def statistics(self) -> FrameCounts: ...
    def close(self) -> None: ...


#: Opens a socket on an interface of the engine's namespace.
OpenSocket = Callable[[str], FrameSocket]


class WallClock:
    """Turns readings of CLOCK_REALTIME into lab time. How far the two are apart is looked at again every second, for
    the wall clock is steered."""

    def __init__(self, epoch_ns: int) -> None:
        self._epoch_ns = epoch_ns
        self._shift_ns = 0
        self._until_ns = -1

    def shift(self, now_ns: int) -> int:
        """What to add to a reading, at lab time `now_ns`."""
        if now_ns >= self._until_ns:
            self._until_ns = now_ns + SECOND
            best = NEVER
            for _ in range(5):  # whoever is interrupted between the readings looks again
                before, wall, after = time.monotonic_ns(), time.time_ns(), time.monotonic_ns()
                if after - before < best:
                    best = after - before
                    self._shift_ns = (before + after >> 1) - wall - self._epoch_ns
        return self._shift_ns


class Port(Source):
    """The far end `device` of the host's interface `name` (`h1:eth0`). Closed at first: what is sent then is counted.

    `waited` has, of each frame received, from the kernel's time stamp until the engine looked; `late`, of each frame
    sent, from the instant at which the link released it until it was sent.
    """

    def __init__(
        self, name: str, device: str, scheduler: RealScheduler, clock: WallClock, open_socket: OpenSocket
    ) -> None:
        self.name = name
        self.device = device
        self.inlet: Callable[[bytes], object] = _nowhere
        self.waited = Histogram()
        self.late = Histogram()
        self.send_failures = 0
        self.sent_closed = 0
        self._scheduler = scheduler
        self._clock = clock
        self._open_socket = open_socket
        self._socket: FrameSocket | None = None
        self._epoch_ns = scheduler.epoch_ns
        self._started = False
        self._since_ns = 0
        self._received = 0
        self._dropped = 0

    def open(self) -> None:
        """Open the socket: frames gather in it. Raises what the factory raises."""
        if self._socket is None:
            self._socket = self._open_socket(self.device)

    def start(self, since_ns: int) -> None:
        """Take the frames that came at `since_ns` or later; earlier ones are none of the engine's. Idempotent."""
        if not self._started:
            self._started = True
            self._since_ns = since_ns
            self._scheduler.add_source(self)

    def close(self) -> None:
        """Let go of the interface. Idempotent."""
        if self._socket is not None:
            self._scheduler.remove_source(self)
            self._received, self._dropped = self.counts()
            self._socket.close()
            self._socket = None
            self._started = False

    @property
    def is_open(self) -> bool:
        """Whether it has its socket."""
        return self._socket is not None

    def counts(self) -> tuple[int, int]:
        """Frames received, and those that the kernel dropped because the socket was full, since the port was made."""
        if self._socket is None:
            return self._received, self._dropped
        counted = self._socket.statistics()
        return self._received + counted.received, self._dropped + counted.dropped

    # The source.

    def fileno(self) -> int:
        assert self._socket is not None
        return self._socket.fileno()

    def receive(self, budget: int) -> list[Stamped]:
        assert self._socket is not None
        batch = self._socket.receive(budget)
        if not batch:
            return batch
        now = time.monotonic_ns() - self._epoch_ns
        shift = self._clock.shift(now)
        since = self._since_ns
        add = self.waited.add
        frames: list[Stamped] = []
        for stamp, frame in batch:
            stamp += shift
            if stamp > now:
                stamp = now
            if stamp >= since:
                add(now - stamp)
                frames.append((stamp, frame))
        return frames

    def on_frame(self, frame: bytes) -> None:
        self.inlet(frame)

    # The sink.

    def send(self, frame: bytes) -> None:
        """Send a frame that the link has released at `now()`."""
        if self._socket is None:
            self.sent_closed += 1
            return
        if not self._socket.send(frame):
            self.send_failures += 1
        self.late.add(time.monotonic_ns() - self._epoch_ns - self._scheduler.now())

    def report(self) -> dict[str, Any]:
        """Its part of a fidelity report, durations in ns."""
        received, dropped = self.counts()
        return {
            "sent": self.late.count,
            "late_ns": self.late.summary(),
            "received": received,
            "waited_ns": self.waited.summary(),
            "dropped_in_socket": dropped,
            "send_failures": self.send_failures,
        }


def _nowhere(frame: bytes) -> None:
    """An inlet that is not joined yet."""

"""One end of the engine: a socket on the far end of a host's interface, as a source of frames and a place to send."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from nodes.base.histogram import Histogram
from nodes.base.real import RealScheduler, Source, Stamped
from nodes.drivers.wall_clock import WallClock


class FrameCounts(Protocol):
    """What a socket has counted since it was opened."""

    @property
    def received(self) -> int: ...
    @property
    def dropped(self) -> int: ...
    @property
    def too_long(self) -> int: ...


class FrameSocket(Protocol):
    """What a port needs of `nodes.drivers.packet_socket.PacketSocket`; stamps are CLOCK_REALTIME, ns."""

    def fileno(self) -> int: ...
    def receive(self, budget: int) -> list[tuple[int, bytes]]: ...
    def send(self, frame: bytes) -> bool: ...
    def statistics(self) -> FrameCounts: ...
    def close(self) -> None: ...


class Sockets:
    """Opens and closes sockets on interfaces of the engine's namespace, many at a time."""

    def open(self, devices: Sequence[str]) -> Sequence[FrameSocket]:
        """One on each, in this order, or none."""
        raise NotImplementedError

    def close(self, sockets: Sequence[FrameSocket]) -> None:
        """Close them all."""
        for one in sockets:
            one.close()


class Port(Source):
    """The far end `device` of the host's interface `name` (`h1:eth0`). Closed at first: what is sent then is counted.

    `waited` has, of each frame received, from the kernel's time stamp until the engine looked; `late`, of each frame
    sent, from the instant at which the link released it until it was sent.
    """

    def __init__(self, name: str, device: str, scheduler: RealScheduler, clock: WallClock) -> None:
        self.name = name
        self.device = device
        self.inlet: Callable[[bytes], object] = _nowhere
        self.waited = Histogram()
        self.late = Histogram()
        self.send_failures = 0
        self.sent_closed = 0
        self._scheduler = scheduler
        self._clock = clock
        self._socket: FrameSocket | None = None
        self._epoch_ns = scheduler.epoch_ns
        self._started = False
        self._since_ns = 0
        self._last = 0
        self._received = 0
        self._dropped = 0
        self._too_long = 0

    def open(self, socket: FrameSocket) -> None:
        """Have a socket, in which frames gather."""
        self._socket = socket

    def start(self, since_ns: int) -> None:
        """Take the frames that came at `since_ns` or later; earlier ones are none of the engine's. Idempotent."""
        if not self._started:
            self._started = True
            self._since_ns = since_ns
            self._scheduler.add_source(self)

    def close(self) -> FrameSocket | None:
        """Let go of the socket, for whoever closes it; None when there is none."""
        socket = self._socket
        if socket is not None:
            if self._started:
                self._scheduler.remove_source(self)
            self._received, self._dropped, self._too_long = self.counts()
            self._socket = None
            self._started = False
        return socket

    @property
    def is_open(self) -> bool:
        """Whether it has its socket."""
        return self._socket is not None

    def counts(self) -> tuple[int, int, int]:
        """Frames received, those that the kernel dropped because the socket was full, and those dropped because they
        were longer than the MTU, since the port was made."""
        received, dropped, too_long = self._received, self._dropped, self._too_long
        if self._socket is not None:
            counted = self._socket.statistics()
            received, dropped = received + counted.received, dropped + counted.dropped
            too_long += counted.too_long
        return received, dropped, too_long

    # The source.

    def fileno(self) -> int:
        assert self._socket is not None
        return self._socket.fileno()

    def receive(self, budget: int) -> list[Stamped]:
        assert self._socket is not None
        batch = self._socket.receive(budget)
        if not batch:
            return batch
        shift = self._clock.shift()
        now = time.monotonic_ns() - self._epoch_ns
        since = self._since_ns
        last = self._last
        add = self.waited.add
        frames: list[Stamped] = []
        for stamp, frame in batch:
            stamp += shift
            if stamp >= since:
                add(now - stamp)
                # Never in the future and never back, whatever was done to the wall clock.
                if stamp > now:
                    stamp = now
                if stamp > last:
                    last = stamp
                frames.append((last, frame))
        self._last = last
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
        received, dropped, too_long = self.counts()
        return {
            "sent": self.late.count,
            "late_ns": self.late.summary(),
            "received": received,
            "waited_ns": self.waited.summary(),
            "dropped_in_socket": dropped,
            "too_long": too_long,
            "send_failures": self.send_failures,
        }


def _nowhere(frame: bytes) -> None:
    """An inlet that is not joined yet."""

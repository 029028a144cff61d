"""Binds a host with our stack to real interfaces."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

from nodes.base.real import RealScheduler, Source, Stamped
from nodes.drivers.packet_socket import RING_FRAMES, PacketSocket, close_sockets, open_sockets
from nodes.drivers.wall_clock import WallClock
from nodes.sockets.driver import StackDriver


class Port(Source):
    """A packet socket as a source of frames in lab time; `take(frame)` handles one.

    Stamps never go back and are never in the future, whatever was done to the wall clock: the order in which frames
    came is the order in which they are handled.
    """

    def __init__(self, packets: PacketSocket, clock: WallClock, epoch_ns: int, take: Callable[[bytes], None]) -> None:
        self.packets = packets
        self.on_frame = take  # type: ignore[method-assign,assignment]  # no call in between for each frame
        self._clock = clock
        self._epoch_ns = epoch_ns
        self._last = 0

    def fileno(self) -> int:
        return self.packets.fileno()

    def receive(self, budget: int) -> list[Stamped]:
        batch = self.packets.receive(budget)
        if not batch:
            return batch
        shift = self._clock.shift()
        now = time.monotonic_ns() - self._epoch_ns
        last = self._last
        frames: list[Stamped] = []
        for stamp, frame in batch:
            stamp += shift
            if stamp > now:
                stamp = now
            if stamp > last:
                last = stamp
            frames.append((last, frame))
        self._last = last
        return frames


def attach(
    driver: StackDriver, scheduler: RealScheduler, interfaces: Sequence[str], ring_frames: int = RING_FRAMES
) -> list[Port]:
    """From now on the interfaces of the driver's stack are these of the calling thread's network namespace, in the
    order of the stack's; `driver.ports` is set. The kernel must own no address there, or it would answer too.

    Raises what PacketSocket raises, and then nothing is attached. `detach` ends it.
    """
    clock = WallClock(scheduler.epoch_ns)
    ports = [
        Port(packets, clock, scheduler.epoch_ns, partial(driver.receive_frame, index))
        for index, packets in enumerate(open_sockets(interfaces, ring_frames=ring_frames))
    ]
    driver.ports = [port.packets.send for port in ports]
    for port in ports:
        scheduler.add_source(port)
    return ports


def detach(scheduler: RealScheduler, ports: Sequence[Port]) -> None:
    """Close what `attach` opened; frames sent after that are lost."""
    for port in ports:
        scheduler.remove_source(port)
    close_sockets(port.packets for port in ports)

"""Sockets for the engine that a test holds the other end of: what comes in and when, what went out and when."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

from lab.engine.engine import Engine
from lab.engine.port import Sockets
from lab.links.netem import NetemOptions
from lab.topology.loader import topology_from_text
from nodes.base.event_sink import EventSink
from nodes.base.random import Randomness
from nodes.base.real import RealScheduler
from tests.lab.attacks.arena import Sink


@dataclass
class Counted:
    received: int = 0
    dropped: int = 0
    too_long: int = 0


class FakeSocket:
    """`push` gives it frames as if the kernel had stamped them; `sent` has (lab time as the links see it, frame)."""

    def __init__(self, scheduler: RealScheduler) -> None:
        self.scheduler = scheduler
        self.sent: list[tuple[int, bytes]] = []
        self.counted = Counted()
        self.fails = False
        self.closed = False
        self._event = os.eventfd(0, os.EFD_NONBLOCK)
        self._waiting: list[tuple[int, bytes]] = []

    def push(self, stamp: int, frame: bytes) -> None:
        self._waiting.append((stamp, frame))
        self.counted.received += 1
        os.eventfd_write(self._event, 1)

    def fileno(self) -> int:
        return self._event

    def receive(self, budget: int) -> list[tuple[int, bytes]]:
        batch, self._waiting = self._waiting[:budget], self._waiting[budget:]
        if not self._waiting:
            os.eventfd_read(self._event)
        return batch

    def send(self, frame: bytes) -> bool:
        if not self.fails:
            self.sent.append((self.scheduler.now(), frame))
        return not self.fails

    def statistics(self) -> Counted:
        return self.counted

    def close(self) -> None:
        os.close(self._event)
        self.closed = True


class FakeSockets(Sockets):
    """`opened` has the socket of each device that was asked for."""

    def __init__(self, scheduler: RealScheduler) -> None:
        self.scheduler = scheduler
        self.opened: dict[str, FakeSocket] = {}

    def open(self, devices: Sequence[str]) -> Sequence[FakeSocket]:
        made = {device: FakeSocket(self.scheduler) for device in devices}
        self.opened.update(made)
        return list(made.values())


class FakeNetem:
    """`given` has the options that each device was given last."""

    def __init__(self) -> None:
        self.given: dict[str, NetemOptions] = {}
        self.seeds: dict[str, int] = {}

    def set(self, device: str, options: NetemOptions, seed: int) -> None:
        self.given[device] = options
        self.seeds[device] = seed

    def statistics(self, device: str) -> dict[str, int]:
        return {"packets_delivered": 7, "dropped_loss": 1}


class Wired:
    """An engine between fake sockets; `sockets` by the hosts' interfaces."""

    def __init__(self, topology: str, sink: EventSink | None = None, seed: int = 7) -> None:
        self.scheduler = RealScheduler(time.monotonic_ns())
        self.topology = topology_from_text(topology)
        self.sink = sink or Sink(0)
        self.sockets = FakeSockets(self.scheduler)
        self.netem = FakeNetem()
        devices = {
            str(end): f"e{index}"
            for index, end in enumerate(
                interface
                for node in self.topology.nodes.values()
                for interface in node.interfaces
                if node.kind != "switch"
            )
        }
        assert isinstance(self.sink, Sink)
        self.engine = Engine(
            self.topology,
            devices,
            self.scheduler,
            Randomness(seed),
            self.sink,
            self.sink.subscribe,
            self.sockets,
            self.netem,
        )
        self.devices = devices

    def carry_all(self) -> Wired:
        self.engine.carry_all(self.topology.links, since_ns=0)
        return self

    def socket(self, interface: str) -> FakeSocket:
        return self.sockets.opened[self.devices[interface]]

    def run(self, for_ns: int = 0) -> None:
        """Handle what is there, and what is due until `for_ns` from now."""
        end = self.scheduler.real_now() + for_ns
        while True:
            left = end - self.scheduler.real_now()
            self.scheduler.run_once(max(0, left))
            if left <= 0:
                return

    def close(self) -> None:
        self.engine.close()
        self.scheduler.close()

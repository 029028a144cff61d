"""Frames per second through the link engine: `engine_frames.py KIND LENGTH RATE SECONDS` prints one JSON object.

h1 =veth= e1 [carrier] e2 =veth= h2, in a network namespace of its own (root, or a user namespace). h1 sends frames of
LENGTH bytes at RATE a second (0: as many as it can), each with its instant in it; h2 takes the kernel's time stamps.

KIND is who carries: `engine` (the link engine, a link of 20 ms), `engine-plain` (the same, a link that does nothing),
`relay` (a loop in Python that takes from one packet socket and gives to another: what Python can do at all), or
`bridge` (the kernel's bridge).
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute

from lab.backends.real.fork import die_with
from lab.engine.engine import Engine
from lab.engine.netem import Netem
from lab.engine.process import PacketSockets
from lab.topology.loader import topology_from_text
from nodes.base import garbage
from nodes.base.clock import MILLISECOND, SECOND
from nodes.base.event_sink import EventSink
from nodes.base.random import Randomness
from nodes.base.real import RealScheduler, be_punctual
from nodes.drivers.packet_socket import PacketSocket

CLONE_NEWNET, CLONE_NEWUSER = 0x40000000, 0x10000000
DELAY_NS = 20 * MILLISECOND
HEADER = b"\x02\0\0\0\0\x02\x02\0\0\0\0\x01\x88\xb5"
RING_FRAMES = 4096


def main() -> None:
    kind, length, rate, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    be_alone()
    if kind == "bridge":
        join()
    receiver = Child(lambda: receive(seconds))
    carrier = Child(lambda: CARRIERS[kind]())
    receiver.wait_ready()
    carrier.wait_ready()
    sent, took = send(length, rate, seconds)
    found = receiver.end()
    carried = carrier.end()
    stamps = found["late_ns"]
    delay = DELAY_NS if kind == "engine" else 0
    late = sorted(value - delay for value in stamps)
    result = {
        "sent": sent,
        "received": found["count"],
        "sent_per_s": sent / took,
        "frames_per_s": found["count"] / took,
        "carrier_us_per_frame": 1e6 * carried["cpu_s"] / max(1, found["count"]),
        "late_p50_us": late[len(late) // 2] / 1000 if late else None,
        "late_p99_us": late[len(late) * 99 // 100] / 1000 if late else None,
        "late_max_us": late[-1] / 1000 if late else None,
        **{name: value for name, value in carried.items() if name != "cpu_s"},
    }
    print(json.dumps(result))


def be_alone() -> None:
    """A namespace with the veths in it."""
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    if libc.unshare(CLONE_NEWNET | (CLONE_NEWUSER if user else 0)):
        raise OSError(ctypes.get_errno(), "no network namespace for the benchmark")
    if user:
        for file, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
            Path("/proc/self", file).write_text(text)
    Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("1")
    with IPRoute() as ip:
        for ours, theirs in (("h1", "e1"), ("h2", "e2")):
            ip.link("add", ifname=ours, peer={"ifname": theirs}, kind="veth")
            for name in (ours, theirs):
                ip.link("set", index=ip.link_lookup(ifname=name)[0], state="up")


def join() -> None:
    with IPRoute() as ip:
        ip.link("add", ifname="br", kind="bridge")
        bridge = ip.link_lookup(ifname="br")[0]
        ip.link("set", index=bridge, state="up")
        for name in ("e1", "e2"):
            ip.link("set", index=ip.link_lookup(ifname=name)[0], master=bridge)


class Child:
    """A process that does something until SIGTERM and then tells what came of it."""

    def __init__(self, work: Callable[[], Callable[[Callable[[], bool]], dict[str, Any]]]) -> None:
        self.out, theirs = os.pipe()
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid:
            os.close(theirs)
            return
        die_with(parent)
        ended: list[bool] = []
        signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
        be_punctual()
        run = work()
        garbage.settle()
        os.write(theirs, b"R")
        before = resource.getrusage(resource.RUSAGE_SELF)
        result = run(lambda: bool(ended))
        after = resource.getrusage(resource.RUSAGE_SELF)
        result["cpu_s"] = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
        with os.fdopen(theirs, "wb") as pipe:
            pipe.write(json.dumps(result).encode())
        os._exit(0)

    def wait_ready(self) -> None:
        assert os.read(self.out, 1) == b"R"

    def end(self) -> dict[str, Any]:
        os.kill(self.pid, signal.SIGTERM)
        with os.fdopen(self.out, "rb") as pipe:
            result: dict[str, Any] = json.loads(pipe.read())
        os.waitpid(self.pid, 0)
        return result


def send(length: int, rate: int, seconds: float) -> tuple[int, float]:
    """Send from h1; how many frames, in how many seconds. Gives what is under way the time to arrive."""
    socket = PacketSocket("h1", ring_frames=0)
    body = bytes(length - len(HEADER) - 8)
    now = time.time_ns
    begin = time.monotonic_ns()
    end = begin + int(seconds * SECOND)
    sent = 0
    while (at := time.monotonic_ns()) < end:
        due = (at - begin) * rate // SECOND if rate else sent + 16
        if due == sent:
            time.sleep(0.0001)
        while sent < due:
            socket.send(HEADER + now().to_bytes(8, "big") + body)
            sent += 1
    took = (time.monotonic_ns() - begin) / SECOND
    time.sleep(0.5)
    return sent, took


def receive(seconds: float) -> Callable[[Callable[[], bool]], dict[str, Any]]:
    socket = PacketSocket("h2", ring_frames=RING_FRAMES)

    def run(ended: Callable[[], bool]) -> dict[str, Any]:
        late: list[int] = []
        while not ended():
            time.sleep(0.02)  # not at every frame: there are three processes, and maybe two cores
            while batch := socket.receive(256):
                late += [stamp - int.from_bytes(frame[14:22], "big") for stamp, frame in batch]
        return {"count": len(late), "late_ns": late}

    return run


def engine(impairments: dict[str, int]) -> Callable[[Callable[[], bool]], dict[str, Any]]:
    scheduler = RealScheduler(time.monotonic_ns())
    sink = EventSink()
    devices = {"h1:eth0": "e1", "h2:eth0": "e2"}
    made = Engine(
        topology_from_text("{nodes: {h1: host, h2: host}, links: [h1-h2]}"),
        devices,
        scheduler,
        Randomness(1),
        sink,
        lambda kinds, listener: lambda: None,
        PacketSockets(RING_FRAMES),
        Netem(),
    )
    if impairments:
        made.update("h1-h2", impairments)
    made.carry("h1-h2")

    def run(ended: Callable[[], bool]) -> dict[str, Any]:
        while not ended():
            scheduler.run_once(50 * MILLISECOND)
        said = made.fidelity()
        return {"engine": {name: said[name] for name in ("late_ns", "waited_ns", "dropped_in_socket", "warnings")}}

    return run


def relay() -> Callable[[Callable[[], bool]], dict[str, Any]]:
    one, other = (PacketSocket(name, ring_frames=RING_FRAMES) for name in ("e1", "e2"))

    def run(ended: Callable[[], bool]) -> dict[str, Any]:
        while not ended():
            for ready in select.select([one, other], [], [], 0.05)[0]:
                to = other if ready is one else one
                for _, frame in ready.receive(64):
                    to.send(frame)
        return {}

    return run


def nothing() -> Callable[[Callable[[], bool]], dict[str, Any]]:
    def run(ended: Callable[[], bool]) -> dict[str, Any]:
        while not ended():
            time.sleep(0.02)
        return {}

    return run


CARRIERS = {
    "engine": lambda: engine({"delay_ns": DELAY_NS}),
    "engine-plain": lambda: engine({}),
    "relay": relay,
    "bridge": nothing,
}

if __name__ == "__main__":
    main()

"""Goodput of one TCP connection over real interfaces: `veth_goodput.py FROM TO [--seconds N] [--level LEVEL] [--engine]
[--profile from|to]` prints one JSON object.

FROM sends to TO for N seconds; what TO has received, over the time from the first byte to the last, counts. Each of
them is `tcplab` (our stack), `linux` (the kernel's) or `pytcp` (pmd-pytcp, from PyPI), in a process of its own. Both
are in network namespaces of their own on a direct veth, MTU 1500, offloads off; with --engine on a veth each, and the
link engine between. pytcp is on its TAP interface, whose other side is the kernel's. Needs root.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import cProfile
import fcntl
import json
import multiprocessing
import os
import pstats
import resource
import socket
import struct
import sys
import time
from collections import Counter
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent))  # for tests.namespaces; last: a compiled copy comes before it

from engine_frames import engine

from nodes.base.clock import SECOND
from nodes.base.event_sink import EventSink
from nodes.base.events import LEVEL_ALL, LEVEL_CONGESTION, LEVEL_SEGMENTS, LEVEL_STATES
from nodes.base.random import Randomness
from nodes.base.real import RealScheduler, be_punctual
from nodes.base.records import RecordWriter
from nodes.base.tasks import TaskRunner
from nodes.drivers.veth import attach
from nodes.packet.address import parse_address
from nodes.sockets.driver import StackDriver
from nodes.sockets.stream import connect, listen
from nodes.stack import Stack
from nodes.tcp.parameters import Parameters
from tests.namespaces import Namespace, veth

ADDRESSES = {"from": "10.0.0.1", "to": "10.0.0.2"}
PORT = 5001
PIECE = bytes(range(256)) * 256
PATIENCE_S = 60
#: Bytes per second that pytcp is given to send.
PYTCP_SENDS = 2_000_000

LEVELS = {
    "off": 0,
    "states": LEVEL_STATES,
    "congestion": LEVEL_CONGESTION,
    "segments": LEVEL_SEGMENTS,
    "all": LEVEL_ALL,
}
_TUNSETIFF = 0x400454CA
_IFF_TAP, _IFF_NO_PI = 0x0002, 0x1000

FORK = multiprocessing.get_context("fork")

Counted = dict[str, float]


class Tally:
    """Bytes received, and when."""

    def __init__(self) -> None:
        self.bytes = 0
        self.began = self.ended = 0.0

    def add(self, size: int) -> None:
        self.ended = time.perf_counter()
        self.began = self.began or self.ended
        self.bytes += size

    def result(self) -> Counted:
        return {"bytes": self.bytes, "mbit_per_s": self.bytes * 8e-6 / (self.ended - self.began)}


@dataclass(frozen=True)
class Work:
    """What one side is to do."""

    role: str
    namespace: Namespace
    tap: int
    seconds: float
    level: int
    line: Connection

    def ready(self) -> None:
        """Say that it listens."""
        self.line.send("ready")


class NoFile(RecordWriter):
    """Makes the records of events, and drops them where a node's process would send them on."""

    def _write(self, data: bytes) -> None:
        pass


# Our stack.


def tcplab(work: Work) -> Counted:
    scheduler = RealScheduler(time.monotonic_ns())
    runner = TaskRunner(scheduler)
    sink = NoFile(work.level, False) if work.level else EventSink()
    stack = Stack(work.role, Parameters(), Randomness(1), sink)
    stack.add_interface("eth0", work.namespace.mac("eth0"), parse_address(ADDRESSES[work.role]), 24)
    driver = StackDriver(stack, scheduler, runner, [])
    (port,) = work.namespace.call(attach, driver, scheduler, ["eth0"])
    be_punctual()
    tally = Tally()

    async def send() -> None:
        one = await connect(driver, parse_address(ADDRESSES["to"]), PORT)
        until = scheduler.real_now() + int(work.seconds * SECOND)
        while scheduler.real_now() < until:
            await one.send_all(PIECE)
            tally.add(len(PIECE))
        one.shutdown()
        await one.recv()

    async def receive() -> None:
        listener = listen(driver, PORT)
        work.ready()
        one = await listener.accept()
        while data := await one.recv():
            tally.add(len(data))
        one.close()
        await one.closed()

    task = runner.spawn(0, work.role, send() if work.role == "from" else receive())
    task.on_done(lambda _: scheduler.stop())
    scheduler.run()
    if task.error is not None:
        raise task.error
    counted = port.packets.statistics()
    return {
        **tally.result(),
        "dropped_in_socket": counted.dropped,
        "retransmitted": stack.counters.TcpRetransSegs,
        "frames_received": counted.received,
        "frames_sent": counted.sent,
    }


# The kernel's.


def linux(work: Work) -> Counted:
    tally = Tally()
    if work.role == "from":
        with work.namespace.entered():
            one = socket.create_connection((ADDRESSES["to"], PORT), timeout=PATIENCE_S)
        until = time.perf_counter() + work.seconds
        while time.perf_counter() < until:
            one.sendall(PIECE)
            tally.add(len(PIECE))
        one.shutdown(socket.SHUT_WR)
        one.recv(1)
        return tally.result()
    with work.namespace.entered():
        listening = socket.create_server((ADDRESSES["to"], PORT))
    work.ready()
    listening.settimeout(PATIENCE_S)
    with listening.accept()[0] as one:
        one.settimeout(PATIENCE_S)
        while data := one.recv(1 << 18):
            tally.add(len(data))
    return tally.result()


# pmd-pytcp's.


def pytcp(work: Work) -> Counted:
    tally = Tally()
    asyncio.run(pytcp_tasks(work, tally))
    return tally.result()


async def pytcp_tasks(work: Work, tally: Tally) -> None:
    from pmd_net_addr import Ip4IfAddr, MacAddress
    from pmd_pytcp import socket as theirs
    from pmd_pytcp import stack

    stack.init(
        fd=work.tap,
        layer=stack.InterfaceLayer.L2,
        mac_address=MacAddress("02:00:00:00:00:07"),
        interface_name="tap0",
        ip4_host=Ip4IfAddr(f"{ADDRESSES[work.role]}/24"),
        ip4_dhcp=False,
        ip6_support=False,
    )
    await stack.start()
    while not stack.local_ip4_hosts():  # noqa: ASYNC110  # it first looks whether somebody else has the address
        await asyncio.sleep(0.01)
    one = theirs.socket(theirs.AF_INET4, theirs.SOCK_STREAM)
    if work.role == "from":
        await one.connect((ADDRESSES["to"], PORT))
        # Its send takes everything at once; about as much as it can send in the time.
        total = int(work.seconds * PYTCP_SENDS)
        while tally.bytes < total:
            tally.add(await one.send(PIECE))
        one.shutdown(theirs.SHUT_WR)
        await one.recv(1)
        return
    one.bind((ADDRESSES["to"], PORT))
    one.listen()
    work.ready()
    accepted, _ = await one.accept()
    while data := await accepted.recv(1 << 18):
        tally.add(len(data))
    accepted.close()
    await asyncio.sleep(0.1)


def tap(namespace: Namespace, kernel_address: str) -> int:
    """The interface `tap0`, whose other side is the kernel's: its descriptor."""
    with namespace.entered():
        descriptor = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", b"tap0", _IFF_TAP | _IFF_NO_PI))
    namespace.offloads_off("tap0")
    namespace.address("tap0", kernel_address, 24)
    namespace.up("tap0")
    return descriptor


def run(kind: str, work: Work, profiled: bool) -> None:
    """Be one side, in this process."""
    profile = cProfile.Profile() if profiled else contextlib.nullcontext()
    with profile:
        result = STACKS[kind](work)
    if isinstance(profile, cProfile.Profile):
        show(profile)
    used = resource.getrusage(resource.RUSAGE_SELF)
    work.line.send({**result, "user_s": used.ru_utime, "system_s": used.ru_stime})
    sys.stderr.flush()


def show(profile: cProfile.Profile) -> None:
    """The dearest functions, and what each layer took itself; cProfile makes calls of Python functions look dearer."""
    stats = pstats.Stats(profile, stream=sys.stderr).sort_stats("tottime")
    stats.print_stats(30)
    layers: Counter[str] = Counter()
    for (file, _, function), (_, _, own, _, _) in stats.stats.items():  # type: ignore[attr-defined]
        if "nodes/" in file:
            layers["/".join(file[file.index("nodes/") :].split("/")[:2])] += own
        else:
            layers[function if "_socket" in function or "poll" in function else "built-in and other"] += own
    total = layers.total()
    for layer, own in layers.most_common(12):
        print(f"{own / total:>6.1%}  {layer}", file=sys.stderr)


def carry(namespaces: dict[str, Namespace]) -> None:
    """Join both by the link engine, in a process and a namespace of its own."""
    middle = Namespace()
    for role, far in (("from", "e1"), ("to", "e2")):
        veth(namespaces[role], middle, far=far)
    ours, theirs = FORK.Pipe()

    def work() -> None:
        middle.enter()
        be_punctual()
        run_engine = engine({})
        theirs.send("ready")
        run_engine(lambda: False)

    FORK.Process(target=work, daemon=True).start()
    ours.recv()


STACKS = {"tcplab": tcplab, "linux": linux, "pytcp": pytcp}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sender", choices=STACKS, metavar="FROM")
    parser.add_argument("receiver", choices=STACKS, metavar="TO")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--level", choices=LEVELS, default="off", help="of the trace that tcplab makes")
    parser.add_argument("--engine", action="store_true", help="the link engine carries the frames")
    parser.add_argument("--profile", choices=("from", "to"))
    options = parser.parse_args()
    kinds = {"from": options.sender, "to": options.receiver}
    descriptor = -1
    namespaces = {role: Namespace() for role in kinds}
    if "pytcp" in kinds.values():
        if set(kinds.values()) != {"pytcp", "linux"}:
            parser.error("pytcp's peer is linux")
        namespaces["from"] = namespaces["to"]
        kernel = next(role for role, kind in kinds.items() if kind == "linux")
        descriptor = tap(namespaces[kernel], ADDRESSES[kernel])
    else:
        if options.engine:
            carry(namespaces)
        else:
            veth(namespaces["from"], namespaces["to"])
        for role, kind in kinds.items():
            if kind == "linux":
                namespaces[role].address("eth0", ADDRESSES[role], 24)
    lines: dict[str, Connection] = {}
    for role in ("to", "from"):
        ours, theirs = FORK.Pipe()
        work = Work(role, namespaces[role], descriptor, options.seconds, LEVELS[options.level], theirs)
        FORK.Process(target=run, args=(kinds[role], work, options.profile == role), daemon=True).start()
        theirs.close()
        lines[role] = ours
        if role == "to":
            ours.recv()  # it listens
    received, sent = lines["to"].recv(), lines["from"].recv()
    print(json.dumps({**received, "sender": sent}))


if __name__ == "__main__":
    main()

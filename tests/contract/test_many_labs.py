"""Twenty labs at once on one controller, made and deleted at random, one in ten killed, and once the controller, too.

Nothing leaks, no lab sees another's packets, labs outlive the controller, traces have no gap. By default this takes a
few seconds of coming and going; five minutes, with a report, are

    TCPLAB_MANY_LABS=300 pytest -s tests/contract/test_many_labs.py
"""

from __future__ import annotations

import os
import random
import socket
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest

from lab.trace.bundle import Bundle
from lab.trace.spool_reader import SpoolReader
from nodes.base.events import FRAME, SEGMENT
from tcplab.client import Connection, Controller, Lab
from tcplab.v1 import lab_pb2
from tests.contract.under import Under, kill
from tests.dockerd import Dockerd
from tests.server.api import Api, Server

pytestmark = [pytest.mark.real_time, pytest.mark.requires("root", "mn", "brctl", "ovs-vswitchd", "docker")]

LABS: Final = 20
SECONDS: Final = float(os.environ.get("TCPLAB_MANY_LABS", "15"))
#: So many come and go at a time.
HANDS: Final = 4
#: How often each backend is taken; the fast ones more often.
BACKENDS: Final = ("sim", "sim", "netns", "netns", "netns", "mininet", "docker")
TOPOLOGY: Final = """
defaults: {parameters: {tcp_msl_ms: 200}}
nodes: {h1: host, h2: host, s1: switch}
links: [{endpoints: h1-s1, delay: 1ms}, h2-s1]
"""
#: All labs have these addresses and ports in common.
PORT: Final = 80
#: The resident memory of a controller may grow by so much, bytes: what it knows of runs stays.
GROWTH: Final = 32 << 20


class Member:
    """One of the labs: it talks on one connection, in words of its own."""

    def __init__(self, number: int, backend: str, lab: Lab) -> None:
        self.number = number
        self.backend = backend
        self.lab = lab
        self.words = f"only lab {number:06} says this. ".encode()
        self.said = 0
        listener = lab.node("h2").listen(PORT)
        self.client = lab.node("h1").open("h2", PORT, timeout="60s").number
        self.server = listener.accept(timeout="60s").number

    def ends(self) -> tuple[Connection, Connection]:
        return self.lab.node("h1").connection(self.client), self.lab.node("h2").connection(self.server)

    def talk(self) -> None:
        """What it says arrives, and nothing else."""
        client, server = self.ends()
        words = self.words * 100
        client.send(words)
        assert server.receive_exactly(len(words), timeout="60s") == words
        self.said += len(words)

    def check_trace(self, whole: bool) -> int:
        """Its trace: numbers rise, each byte that it said is there, and nobody else's. Returns how many frames."""
        last, frames = 0, 0
        first = -1
        sent: list[tuple[int, int]] = []
        for event in SpoolReader(Bundle.open(self.lab.run_directory).spool):
            assert event.seq > last
            last = event.seq
            if event.kind == FRAME:
                frames += 1
                assert event.tail.count(b"only lab ") == event.tail.count(self.words[:15]) + event.tail.endswith(
                    tuple(self.words[:cut] for cut in range(9, 15))
                )
            elif event.kind == SEGMENT and event.node == "h1" and event["direction"] == "SENT":
                if first < 0:
                    first = int(event["seq"]) + 1
                sent.append(((int(event["seq"]) - first) % (1 << 32), int(event["length"])))
        reached = 0
        for at, length in sorted(one for one in sent if one[1]):
            assert at <= reached or not whole
            reached = max(reached, at + length)
        assert reached == self.said or not whole
        return frames


class Crowd:
    """A controller and its labs. Whatever is random comes from `dice`."""

    def __init__(self, directory: Path, dockerd: Dockerd, seed: int) -> None:
        self.directory = directory
        self.dockerd = dockerd
        self.dice = random.Random(seed)
        self.members: dict[int, Member] = {}
        self.happened: Counter[str] = Counter()
        self.slowest_ns = 0
        self.start()

    def start(self) -> None:
        """The controller, or the next one on its socket."""
        self.server = Server(self.directory, DOCKER_HOST=self.dockerd.environment["DOCKER_HOST"])
        assert self.server.address, self.server.log.read_text()
        self.controller = Controller(self.server.address)
        self.controller.open()
        self.api = Api(self.server.address)

    def let_go(self) -> None:
        """Of a controller that has ended, or ends now."""
        self.controller.close()
        self.api.channel.close()
        if self.server.process.poll() is None:
            assert self.server.stop() == 0
        else:
            assert self.server.process.stdin is not None and self.server.process.stdout is not None
            self.server.process.stdin.close()
            self.server.process.stdout.close()

    def make(self, number: int, backend: str) -> None:
        before = time.monotonic_ns()
        keep = "" if backend == "sim" else "keep"
        lab = self.controller.create_lab(
            TOPOLOGY, name=f"crowd-{number}", backend=backend, seed=number, on_controller_loss=keep
        )
        self.slowest_ns = max(self.slowest_ns, time.monotonic_ns() - before)
        self.members[number] = Member(number, backend, lab)
        self.happened[f"made {backend}"] += 1

    def replace(self, number: int, victim: str, next_number: int, next_backend: str) -> None:
        """A lab goes, killed by SIGKILL to `victim` or in order, and another comes."""
        one = self.members.pop(number)
        one.talk()
        one.talk()
        if victim:
            self.kill(one, victim)
        one.lab.delete()
        self.happened["deleted"] += 1
        self.happened["frames looked at"] += one.check_trace(whole=not victim)
        self.make(next_number, next_backend)

    def kill(self, one: Member, victim: str) -> None:
        under = Under(
            one.backend, self.server, self.controller, self.api, self.dockerd if one.backend == "docker" else None
        )
        if one.backend == "sim" or victim == "lab":
            kill(process_of(one.lab, self.server))
            wanted: Callable[[lab_pb2.Lab], bool] = lambda lab: bool(lab.failure)  # noqa: E731
        else:
            kill(under.member(one.lab, victim))
            wanted = lambda lab: bool(lab.failure) if victim == "engine" else victim in lab.failed_nodes  # noqa: E731
        next(lab for lab in one.lab.watch() if wanted(lab))
        self.happened[f"killed {one.backend}"] += 1

    def come_and_go(self, seconds: float) -> None:
        """For so long: each lab that is free is replaced by another, in random order."""
        until = time.monotonic() + seconds
        with ThreadPoolExecutor(HANDS) as pool:
            while time.monotonic() < until:
                chosen = self.dice.sample(sorted(self.members), HANDS)
                turns = [
                    pool.submit(
                        self.replace,
                        number,
                        self.dice.choice(("lab", "engine", "h1", "h2")) if self.dice.randrange(10) == 0 else "",
                        self.next_number(),
                        self.dice.choice(BACKENDS),
                    )
                    for number in chosen
                ]
                for turn in turns:
                    turn.result()

    def next_number(self) -> int:
        self.happened["numbers"] += 1
        return self.happened["numbers"]

    def lose_the_controller(self) -> None:
        """SIGKILL to it; the next one adopts what is real. Labs in virtual time go with it."""
        for one in self.members.values():
            one.talk()
        kill(self.server.process.pid)
        self.let_go()
        self.start()
        names = {lab.name for lab in self.controller.labs()}
        for number, one in list(self.members.items()):
            if one.backend == "sim":
                assert one.lab.name not in names
                del self.members[number]
                continue
            one.lab = self.controller.lab(one.lab.name)
            one.talk()
            self.happened["adopted"] += 1

    def fill(self) -> None:
        """Make labs until there are enough, several at a time."""
        with ThreadPoolExecutor(HANDS) as pool:
            missing = [(self.next_number(), self.dice.choice(BACKENDS)) for _ in range(LABS - len(self.members))]
            list(pool.map(lambda one: self.make(*one), missing))


def process_of(lab: Lab, server: Server) -> int:
    """The process that writes the trace of a lab."""
    spool = Path(lab.run_directory) / "events.spool"
    for pid in server.processes():
        if any(link == str(spool) for link in open_files(pid)):
            return pid
    raise AssertionError(f"nobody writes {spool}")


def open_files(pid: int) -> list[str]:
    """Where the descriptors of a process lead."""
    found = []
    with suppress(FileNotFoundError):  # it ends meanwhile
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                found.append(str(entry.readlink()))
    return found


def resident(pid: int) -> int:
    """Resident memory, bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_many_labs_come_and_go(dockerd: Dockerd, tcplab_image: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    interfaces = socket.if_nameindex()
    before_containers = dockerd.docker("ps", "--all", "--quiet")
    crowd = Crowd(tmp_path_factory.mktemp("many"), dockerd, seed=4)
    started = time.monotonic()
    crowd.fill()
    crowd.come_and_go(SECONDS / 2)
    crowd.lose_the_controller()
    crowd.fill()
    # From here on, nothing may grow.
    pid = crowd.server.process.pid
    descriptors, memory = len(open_files(pid)), resident(pid)
    crowd.come_and_go(SECONDS / 2)
    grown = resident(pid) - memory
    members = list(crowd.members.values())
    with ThreadPoolExecutor(HANDS) as pool:
        list(pool.map(Member.talk, members))
        list(pool.map(lambda one: one.lab.delete(), members))
    for one in members:
        crowd.happened["frames looked at"] += one.check_trace(whole=True)
    assert grown < GROWTH
    assert len(open_files(pid)) <= descriptors
    own = crowd.server.processes()
    assert len(own) == 2  # the controller and its nursery
    assert not [link for one in own for link in open_files(one) if link.startswith(("net:", "mnt:"))]
    assert list(crowd.server.state.iterdir()) == []
    assert dockerd.docker("ps", "--all", "--quiet") == before_containers
    assert socket.if_nameindex() == interfaces
    crowd.let_go()
    assert Server.processes_marked(str(crowd.directory)) == []
    assert list((crowd.directory / "tmp").iterdir()) == []
    assert not (crowd.directory / "s").exists()
    print(
        f"\n{time.monotonic() - started:.0f} s: {dict(sorted(crowd.happened.items()))}; "
        f"the controller grew by {grown >> 10} KiB; slowest creation {crowd.slowest_ns / 1e9:.1f} s"
    )

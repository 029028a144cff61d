"""A backend under test: a controller of its own, and what it takes to look at its labs from outside."""

from __future__ import annotations

import itertools
import json
import os
import select
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tcplab.client import Connection, Controller, Lab
from tcplab.v1 import backend_pb2, link_pb2
from tests.dockerd import Dockerd
from tests.server.api import Api, Server

#: Two hosts. Nobody waits a minute for TIME-WAIT.
PAIR: Final = "defaults: {parameters: {tcp_msl_ms: 200}}\nnodes: {h1: host, h2: host}\nlinks: [h1-h2]\n"
#: Three hosts at a switch, and one behind a router.
SITE: Final = """
defaults: {parameters: {tcp_msl_ms: 200}}
nodes: {h1: host, h2: host, h3: host, r1: router, h4: host, s1: switch}
links: [{endpoints: h1-s1, delay: 1ms}, h2-s1, h3-s1, r1-s1, r1-h4]
"""
MS: Final = 1_000_000


@dataclass
class Under:
    """A backend, by the word that selects it, and its controller. `dockerd` is the daemon of those that use one."""

    backend: str
    server: Server
    controller: Controller
    api: Api
    dockerd: Dockerd | None
    capabilities: dict[str, backend_pb2.Capability] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._own = self.server.processes()

    @property
    def real_time(self) -> bool:
        return not self.can("virtual-time")

    def can(self, capability: str) -> bool:
        """Whether it says so of itself."""
        return capability in self.capabilities and self.capabilities[capability].available

    def lab(self, topology: str = PAIR, **more: Any) -> Lab:
        return self.controller.create_lab(topology, backend=self.backend, **more)

    def process(self, lab: Lab) -> int:
        """Process id of a lab."""
        for path in self.server.state.iterdir():
            if path.name[0].isdigit() and json.loads((path / "journal.json").read_text())["lab"] == lab.name:
                return int(path.name.partition("-")[0])
        raise AssertionError(f"nothing is known of {lab}")

    def member(self, lab: Lab, name: str) -> int:
        """Process id of what a real-time lab is made of: `engine`, or a node."""
        nodes = [one.name for one in lab.nodes()]
        if name != "engine" and self.dockerd is not None:
            wanted = [f"--filter=label=tcplab.{key}={value}" for key, value in (("lab", lab.name), ("node", name))]
            container = self.dockerd.docker("ps", "--quiet", *wanted).strip()
            return int(self.dockerd.docker("inspect", "--format={{.State.Pid}}", container))
        process = self.process(lab)
        # Members are forked, so they look like the lab: first the link engine, then nodes in the topology's order.
        looks = Path(f"/proc/{process}/cmdline").read_bytes()
        children = map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split())
        members = [pid for pid in children if Path(f"/proc/{pid}/cmdline").read_bytes() == looks]
        return members[["engine", *nodes].index(name)]

    def lone_processes(self) -> bool:
        """Whether a lab is one process: then there is no member of it that could be killed alone."""
        with self.lab():
            return len(self.left()["processes"]) == 1

    def left(self) -> dict[str, list[str]]:
        """What there is of labs on this machine, without the controller and its nursery."""
        found: dict[str, list[Any]] = {
            "processes": [pid for pid in self.server.processes() if pid not in self._own],
            "journal": sorted(path.name for path in self.server.state.iterdir()) if self.server.state.exists() else [],
            "containers": self.dockerd.docker("ps", "--all", "--quiet").split() if self.dockerd is not None else [],
        }
        return {what: [str(one) for one in some] for what, some in found.items() if some}


def kill(pid: int) -> None:
    """SIGKILL a process of ours, and wait for its end."""
    descriptor = os.pidfd_open(pid)
    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    select.select([descriptor], [], [])
    os.close(descriptor)


class Pair:
    """A lab of h1 and h2 that tests share: each leaves its link as it was, and has ports of its own."""

    def __init__(self, lab: Lab, api: Api) -> None:
        self.lab = lab
        self.api = api
        self.path = f"labs/{lab.name}"
        self.h1, self.h2 = lab.node("h1"), lab.node("h2")
        self.link = lab.link("h1-h2")
        self._ports = itertools.count(1024)

    def port(self) -> int:
        """A port that nobody has used."""
        return next(self._ports)

    def reset(self) -> None:
        """The link as it is without anything asked of it."""
        for rule in self.link.rules():
            self.link.remove_rule(rule.name.rpartition("/")[2])
        request = link_pb2.UpdateLinkRequest(link=link_pb2.Link(name=f"{self.path}/links/h1-h2", up=True))
        request.update_mask.paths.extend(("up", "forward", "backward"))
        self.api.links.UpdateLink(request)

    def connect(self, **options: Any) -> tuple[Connection, Connection]:
        """A connection from h1 to h2: its ends."""
        port = self.port()
        listener = self.h2.listen(port)
        client = self.h1.open("h2", port, options=options)
        server = listener.accept()
        listener.close()
        return client, server

    def transfer(self, client: Connection, server: Connection, length: int) -> tuple[str, int]:
        """Bytes from one end to the other: their digest when they arrived, and how long it took, ns of lab time."""
        before = self.lab.now_ns()
        sending = client.start_send(pattern=b"tcplab", length=length)
        receiving = server.start_receive(length, at_least=length, digest_only=True)
        _, received = self.lab.wait(sending, receiving)
        assert received.received.length == length
        return received.received.sha256, received.end_time_ns - before

    def rtts(self, count: int, interval: str = "2ms", timeout: str = "1s") -> list[int]:
        """Round-trip times of the pings from h1 to h2 that were answered, in the order of the answers, ns."""
        result = self.h1.ping("h2", count, interval=interval, timeout=timeout)
        assert result.transmitted == count
        return [one.ToNanoseconds() for one in result.round_trip_times]

    def counts(self, direction: str = "h1->h2") -> dict[str, int]:
        """Counters of a direction."""
        return self.link.statistics()[direction]

    def verdicts(self, verdict: str, start: int = 1, direction: str = "h1->h2") -> list[int]:
        """Numbers of the frames of a direction of which the link said that, since an event."""
        where = {"verdict": verdict, "link": "h1-h2/h1:eth0->h2:eth0"}
        if direction != "h1->h2":
            where["link"] = "h1-h2/h2:eth0->h1:eth0"
        return [one["frame"] for one in self.lab.trace("verdict", where=where, start=start)]

    def mark(self) -> int:
        """The number of the next event."""
        *_, last = self.lab.trace()
        return last.seq + 1


def tshark(path: Path, *fields: str, keep: str = "") -> list[list[str]]:
    """What Wireshark reads in a capture: the fields of each frame."""
    command = ["tshark", "-r", str(path), "-T", "fields", *(f"-e{name}" for name in fields)]
    done = subprocess.run([*command, *(("-Y", keep) if keep else ())], capture_output=True, check=True, text=True)
    return [line.split("\t") for line in done.stdout.splitlines()]


def drained(pieces: Iterator[bytes]) -> bytes:
    return b"".join(pieces)

"""A node's job as it is given to a process that is to be the node: in a container, or beside it."""

from __future__ import annotations

import importlib.metadata
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lab.backends.real.node_process import serve_node
from lab.topology.loader import topology_from_mapping
from lab.topology.model import Topology
from nodes.agent.line import pack
from nodes.agent.member import Member
from nodes.agent.plain import plain_error
from nodes.base.random import Randomness
from nodes.base.real import RealScheduler, be_punctual
from nodes.base.tasks import TaskRunner
from nodes.kernel.exec import MakePlace


@dataclass(frozen=True)
class Job:
    """`node` of `lab`, whose `topology` is in a file's words. `epoch_ns` is what CLOCK_MONOTONIC read at lab time 0.

    A node that is started again in the same lab has made `connections` before; their numbers are not used again, and
    its randomness is another.
    """

    lab: str
    node: str
    topology: Mapping[str, Any]
    seed: int
    epoch_ns: int
    level: int
    capture: bool
    connections: int = 0
    starts: int = 1
    version: str = importlib.metadata.version("tcplab")

    @property
    def randomness(self) -> Randomness:
        """Of this start of the node."""
        first = Randomness(self.seed)
        return first if self.starts == 1 else Randomness(first.stream(f"node/{self.node}/{self.starts}").bits(63))


#: Is called with the member and its topology before it serves.
Watch = Callable[[Member, Topology], None]


def do_job(line: socket.socket, job: Job, place: MakePlace | None = None, watch: Watch | None = None) -> None:
    """Be the node, until told to end or the lab is gone. The calling thread is in the node's network namespace;
    commands run in what `place` makes."""
    be_punctual()
    scheduler = RealScheduler(job.epoch_ns)
    member = Member(line, scheduler, TaskRunner(scheduler), job.level, job.capture)
    try:
        topology = topology_from_mapping(dict(job.topology))
        if watch is not None:
            watch(member, topology)
        serve_node(member, topology, job.node, job.randomness, place=place, connections=job.connections)
    except Exception as error:
        member.tell("failed", error=plain_error(error))
        raise


def refuse(line: socket.socket, error: Exception) -> None:
    """Say on a line why there will be no member there."""
    line.sendall(pack({"say": "failed", "error": plain_error(error)}))

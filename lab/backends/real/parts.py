"""What a real lab is made of, put together: interfaces, and forked processes for the link engine and the nodes. All of
it comes up, or nothing is left behind."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from lab.backends.base import Progress
from lab.backends.real.crew import Crew
from lab.backends.real.guest import GuestScheduler
from lab.backends.real.member import RunningMember
from lab.backends.real.merge import Merge
from lab.engine.process import serve as serve_engine
from lab.topology.file import AUTO, DIRECT, NETEM
from lab.topology.model import SWITCH, Node, Topology, Wire
from lab.trace.spool import SpoolWriter
from nodes.base.events import LEVEL_SEGMENTS
from nodes.base.random import Randomness
from nodes.base.tasks import TaskRunner

#: The link engine's niceness, where it is allowed.
ENGINE_NICE: Final = -10


class Place(Protocol):
    """A network namespace."""

    def enter(self) -> None:
        """The calling thread is there from now on."""

    def entered(self) -> AbstractContextManager[None]:
        """The calling thread is there meanwhile; what it opens stays there."""


class Plumbing(Protocol):
    """What frames go through outside of our processes: namespaces, interfaces, and links that the kernel carries."""

    @property
    def engine(self) -> Place:
        """Where the link engine is."""

    @property
    def nodes(self) -> Mapping[str, Place]:
        """Where the nodes are, by name; switches of the link engine are nowhere."""

    @property
    def ports(self) -> Mapping[str, str]:
        """By interface ("h1:eth0") its far end, in the link engine's namespace. A switch whose interfaces are here is
        not the link engine's."""

    def unsplice(self, link: str) -> None:
        """Let go of a link that the kernel carries."""

    def close(self) -> None:
        """Take everything down. Idempotent."""


#: Makes the plumbing; the kernel carries those links at first.
Plumb = Callable[[Collection[str], Progress], Plumbing]
#: Makes the process of a node.
AddNode = Callable[[Crew, Node, Plumbing, Randomness], RunningMember]


class Parts(NamedTuple):
    """Of a lab that runs. `direct`: the links that the kernel carries."""

    sink: SpoolWriter
    scheduler: GuestScheduler
    runner: TaskRunner
    merge: Merge
    randomness: Randomness
    plumbing: Plumbing
    engine: RunningMember
    nodes: Mapping[str, RunningMember]
    direct: set[str]


def make_parts(
    topology: Topology,
    seed: int,
    spool: Path,
    level: int,
    capture: bool,
    own_switches: bool,
    plumb: Plumb,
    add_node: AddNode,
    progress: Progress,
) -> Parts:
    """`own_switches`: the link engine is the switches. Raises what anything raises, when nothing is left of it."""
    watched = capture or level >= LEVEL_SEGMENTS
    direct = {wire.name for wire in topology.links.values() if _kernel_carries(topology, wire, watched, own_switches)}
    plumbing = plumb(direct, progress)
    # Lab time begins only now: containers take seconds to start.
    with contextlib.ExitStack() as undo:
        undo.callback(plumbing.close)
        sink = SpoolWriter(spool, level, capture)
        undo.callback(spool.unlink, missing_ok=True)
        undo.callback(sink.close)
        scheduler = GuestScheduler(time.monotonic_ns())
        undo.callback(scheduler.close)
        runner = TaskRunner(scheduler)
        randomness = Randomness(seed)
        merge = Merge(sink, scheduler)
        crew = Crew(scheduler, merge, level, capture)
        undo.callback(crew.disband)
        engine = crew.add(
            "link engine",
            partial(_enter_first, plumbing.engine),
            partial(
                serve_engine,
                topology=topology,
                ports=plumbing.ports,
                direct=frozenset(direct),
                randomness=randomness,
            ),
        )
        nodes = {
            node.name: add_node(crew, node, plumbing, randomness)
            for node in topology.nodes.values()
            if node.kind != SWITCH
        }
        crew.await_ready(partial(progress, "processes"))
        undo.pop_all()
    return Parts(sink, scheduler, runner, merge, randomness, plumbing, engine, nodes, direct)


def _kernel_carries(topology: Topology, wire: Wire, watched: bool, own_switches: bool) -> bool:
    """Whether a link is left to the kernel at first: it is asked to, or it joins two nodes, impairs nothing, and nobody
    wants to see its frames."""
    if wire.engine != AUTO:
        return wire.engine in (DIRECT, NETEM)
    ends = (topology.nodes[wire.a.node].kind, topology.nodes[wire.b.node].kind)
    own = own_switches and SWITCH in ends
    return not own and wire.forward.none and wire.backward.none and not watched


def _enter_first(place: Place) -> None:
    """Be in a namespace, and come before those who only use the wires: root may ask that."""
    place.enter()
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, ENGINE_NICE)

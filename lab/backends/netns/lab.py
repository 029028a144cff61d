"""A lab in network namespaces of this machine: real interfaces, real time, our stack and the kernel's side by side."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from lab import spec
from lab.backends.base import Capability
from lab.backends.netns.node_process import serve_node
from lab.backends.real.crew import Crew
from lab.backends.real.lab import RealLab
from lab.backends.real.merge import Merge
from lab.backends.real.wires import EngineWires
from lab.engine.process import serve as serve_engine
from lab.fabric.capabilities import capabilities, require
from lab.fabric.fabric import Fabric
from lab.fabric.namespaces import Namespace
from lab.fabric.rootless import standing
from lab.topology.file import AUTO, DIRECT, NETEM
from lab.topology.model import LINUX, SWITCH, Topology, Wire
from lab.trace.spool import SpoolWriter
from nodes.agent.host_calls import RemoteHost
from nodes.base.errors import FailedPrecondition, TcplabError
from nodes.base.events import LEVEL_ALL, LEVEL_SEGMENTS
from nodes.base.random import Randomness
from nodes.base.real import RealScheduler
from nodes.base.tasks import TaskRunner

#: The link engine's niceness, where it is allowed.
ENGINE_NICE: Final = -10

#: Called with what is being made, how many of it are, and how many there will be.
Progress = Callable[[str, int, int], None]


class NetnsLab(RealLab):
    """Built from a topology; lab time 0 is now. The spool is written to `spool`, which must not exist.

    To be made in a process without threads: its members are forked from it. Raises Unsupported, naming what the
    machine lacks; AlreadyExists, NotFound, InvalidArgument as other labs do; then nothing is left behind.
    """

    backend = "netns"

    def __init__(
        self,
        name: str,
        topology: Topology,
        seed: int,
        spool: Path,
        level: int = LEVEL_ALL,
        capture: bool = True,
        progress: Progress | None = None,
    ) -> None:
        tell = progress or _say_nothing
        require(topology)
        sink = SpoolWriter(spool, level, capture)
        scheduler = RealScheduler(time.monotonic_ns())
        runner = TaskRunner(scheduler)
        randomness = Randomness(seed)
        merge = Merge(sink, scheduler)
        crew = Crew(scheduler, merge, level, capture)
        fabric: Fabric | None = None
        try:
            watched = _watched(level, capture)
            self._direct = {wire.name for wire in topology.links.values() if kernel_carries(topology, wire, watched)}
            fabric = Fabric(topology, self._direct, tell)
            self.topology = topology
            engine = crew.add(
                "link engine",
                partial(_enter_first, fabric.engine),
                partial(
                    serve_engine,
                    topology=topology,
                    ports=fabric.ports,
                    direct=frozenset(self._direct),
                    randomness=randomness,
                ),
            )
            nodes = {
                node.name: crew.add(
                    f"node {node.name}",
                    fabric.nodes[node.name].enter,
                    partial(serve_node, topology=topology, name=node.name, randomness=randomness, resolve=self.resolve),
                )
                for node in topology.nodes.values()
                if node.kind != SWITCH
            }
            crew.await_ready(partial(tell, "processes"))
        except BaseException:
            crew.disband()
            if fabric is not None:
                fabric.close()
            scheduler.close()
            sink.close()
            spool.unlink(missing_ok=True)
            raise
        remotes = {node: member.remote for node, member in nodes.items()}
        order = {node: number for number, node in enumerate(topology.nodes)}
        hosts = {node: RemoteHost(node, order[node], remote, runner, spec.plain) for node, remote in remotes.items()}
        wires = EngineWires(topology, scheduler, randomness, level, engine.remote, remotes, self._carry)
        self._fabric = fabric
        super().__init__(name, topology, seed, sink, scheduler, runner, merge, engine, nodes, hosts, wires, fabric)

    def _end_parts(self) -> None:
        # What a kernel does depends on more than what the topology says of it.
        sysctls: dict[str, Mapping[str, int | str]] = {}
        for name, node in self.topology.nodes.items():
            if node.kind == LINUX and not self.node_failure(name):
                with contextlib.suppress(TcplabError):
                    sysctls[name] = self.parameters(name)
        self._facts |= {"privilege": standing(), "offloads": "off"} | ({"sysctls": sysctls} if sysctls else {})
        super()._end_parts()

    def capabilities(self) -> Sequence[Capability]:
        return capabilities()

    def _carry(self, link: str) -> None:
        """Have the engine carry a link from now on."""
        if link not in self._direct:
            return
        engine = self.topology.links[link].engine
        if engine != AUTO:
            raise FailedPrecondition(
                f"link {link} is carried by the kernel (engine: {engine}), which cannot do that; engine: auto can"
            )
        self._engine.remote.call("hold", link=link)
        since_ns = self.now()
        self._fabric.unsplice(link)
        self._engine.remote.call("carry", link=link, since_ns=since_ns)
        self._direct.discard(link)


def kernel_carries(topology: Topology, wire: Wire, watched: bool) -> bool:
    """Whether a link is left to the kernel at first: it is asked to, or it joins two nodes, impairs nothing, and nobody
    wants to see its frames."""
    if wire.engine != AUTO:
        return wire.engine in (DIRECT, NETEM)
    ends = (topology.nodes[wire.a.node].kind, topology.nodes[wire.b.node].kind)
    return SWITCH not in ends and wire.forward.none and wire.backward.none and not watched


def _enter_first(namespace: Namespace) -> None:
    """Be in a namespace, and come before those who only use the wires: root may ask that."""
    namespace.enter()
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, ENGINE_NICE)


def _watched(level: int, capture: bool) -> bool:
    """Whether the trace wants to see frames on links."""
    return capture or level >= LEVEL_SEGMENTS


def _say_nothing(what: str, done: int, of: int) -> None:
    """Nobody listens."""

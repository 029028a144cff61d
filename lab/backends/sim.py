"""A lab in virtual time: one process, one thread, no privilege, and the same bytes from the same seed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from lab.attacks.base import AttackContext
from lab.backends.advance import SimAdvance
from lab.backends.base import Advance, Capability, Progress
from lab.backends.hosted import HostedLab
from lab.backends.network import Network
from lab.backends.until import Until
from lab.backends.wires import LocalWires
from lab.topology.file import NETEM
from lab.topology.model import LINUX, Topology
from lab.trace.spool import SpoolWriter
from nodes.base.clock import SimScheduler
from nodes.base.errors import FailedPrecondition, InvalidArgument, Unsupported
from nodes.base.events import LEVEL_ALL
from nodes.base.random import Randomness
from nodes.base.tasks import TaskRunner

CAPABILITIES: Final = (
    Capability("virtual-time", True),
    Capability("deterministic", True),
    Capability("engine-link", True),
    Capability("engine-direct", True),
    Capability("packet-rules", True),
    Capability("attacks", True),
    Capability("capture", True),
    Capability("engine-netem", False, "the kernel's netem needs real time; this backend has virtual time"),
    Capability("linux-nodes", False, "kernel stacks need real time; here every node runs tcplab's TCP"),
    Capability("programs", False, "programs need real time; backend netns runs them, and here `apps` do what they do"),
    Capability("real-interfaces", False, "interfaces are simulated: captures are of frames that were kept, not live"),
)


class SimLab(HostedLab):
    """Built from a topology; lab time is 0. The spool is written to `spool`, which must not exist.

    Raises AlreadyExists, NotFound (no such directory), InvalidArgument; Unsupported for what needs real time.
    """

    backend = "sim"

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
        _require_virtual(topology)
        sink = SpoolWriter(spool, level, capture)
        self._scheduler = SimScheduler()
        self._advancing = False
        runner = TaskRunner(self._scheduler)
        randomness = Randomness(seed)
        try:
            network = Network(topology, self._scheduler, runner, randomness, sink, self.resolve)
        except BaseException:
            sink.close()
            spool.unlink(missing_ok=True)
            raise
        context = AttackContext(
            self._scheduler,
            randomness,
            sink,
            network.links,
            {node: network.addresses(node) for node in network.hosts},
            lambda node, packet: network.hosts[node].send_raw(packet),
            sink.subscribe,
        )
        super().__init__(name, topology, seed, sink, runner, network.hosts, LocalWires(network.links, context))
        for link in network.links.values():
            link.forward.emit_link_event()
            link.backward.emit_link_event()

    def now(self) -> int:
        return self._scheduler.now()

    def next_time(self) -> int:
        return self._scheduler.next_time()

    @classmethod
    def capabilities(cls) -> Sequence[Capability]:
        return CAPABILITIES

    def start_advance(self, until: Until) -> Advance:
        self._check_open()
        if self._advancing:
            raise FailedPrecondition("the lab's clock is being advanced already; one can at a time")
        operations = [self.operations.get(name) for name in until.operations]
        apps = [self._app(name) for name in until.apps]
        advance = SimAdvance(self._scheduler, until, operations, apps, self.sink, self._waiting, self._release_clock)
        self._advancing = True
        return advance

    def _release_clock(self) -> None:
        self._advancing = False

    def run_to(self, calls: int, time_ns: int) -> None:
        """Go on until so many scheduled calls have been made, then to `time_ns`: the place of a recorded call.

        Raises InvalidArgument when this run never comes there.
        """
        scheduler = self._scheduler
        while scheduler.calls < calls and scheduler.run(time_ns, calls - scheduler.calls):
            pass
        if scheduler.calls != calls or scheduler.next_time() < time_ns or scheduler.now() > time_ns:
            raise InvalidArgument(f"no place of this run has {calls} calls made and the time {time_ns} ns")
        scheduler.jump_to(time_ns)

    def _place(self) -> dict[str, int]:
        return {"step": self._scheduler.calls}


def _require_virtual(topology: Topology) -> None:
    """That nothing of it needs the kernel, which knows no virtual time. Raises Unsupported."""
    for node in topology.nodes.values():
        if node.kind == LINUX:
            raise Unsupported(
                f"node {node.name}: kind linux is the kernel's TCP, which needs real time; backend netns has it, "
                "backend sim has kind host and router"
            )
    for wire in topology.links.values():
        if wire.engine == NETEM:
            raise Unsupported(
                f"link {wire.name}: engine netem is the kernel's, which needs real time; backend netns has it, and "
                "here engine auto does the same"
            )

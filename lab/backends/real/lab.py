"""`RealLab`: a lab whose nodes and links run in processes of their own, in real time."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from functools import partial
from typing import Any, Final, Protocol

from lab.backends.base import Advance
from lab.backends.hosted import HostedLab
from lab.backends.real.advance import RealAdvance
from lab.backends.real.execution import Execution
from lab.backends.real.fork import how_it_ended
from lab.backends.real.merge import Merge
from lab.backends.real.wires import EngineWires
from lab.backends.until import Until
from lab.engine.fidelity import with_nodes
from lab.topology.model import LINUX, Topology
from lab.trace.spool import SpoolWriter
from nodes.agent.host_calls import RemoteHost
from nodes.agent.line import Message
from nodes.agent.remote import Remote
from nodes.base.clock import MILLISECOND, NEVER, SECOND
from nodes.base.errors import TcplabError, Unsupported
from nodes.base.events import ACTION
from nodes.base.real import RealScheduler
from nodes.base.tasks import TaskRunner
from nodes.kernel.remote_exec import RemoteCommands

#: Members that were told to end have so long, wall time; then they are killed.
_END_WITHIN_NS: Final = 5 * SECOND


class Place(Protocol):
    """Where a node is: a network namespace."""

    def entered(self) -> AbstractContextManager[None]:
        """The calling thread is there meanwhile; what it opens stays there."""


class Plumbing(Protocol):
    """What carries the frames, as the lab sees it (`lab.fabric`)."""

    @property
    def nodes(self) -> Mapping[str, Place]:
        """Where the nodes are, by name."""

    def unsplice(self, link: str) -> None:
        """Let go of a link that the kernel carries."""

    def close(self) -> None:
        """Take everything down. Idempotent."""


class RunningMember:
    """A member and its process. `on_change` is called when it has ended by itself."""

    def __init__(self, remote: Remote, pid: int) -> None:
        self.remote = remote
        self.pid = pid
        self._reaped = False

    def reap(self, within_ns: int) -> str:
        """Wait for the end of the process, kill it when that takes too long; how it ended, in words."""
        if self._reaped:
            return self.remote.failure
        self._reaped = True
        pidfd = os.pidfd_open(self.pid)
        try:
            poll = select.poll()
            poll.register(pidfd, select.POLLIN)
            if not poll.poll(within_ns // MILLISECOND):
                os.kill(self.pid, signal.SIGKILL)
        finally:
            os.close(pidfd)
        return how_it_ended(os.waitpid(self.pid, 0)[1])


class RealLab(HostedLab):
    """`engine` and `nodes` are running members, `hosts` the calls of the latter."""

    real_time = True

    def __init__(
        self,
        name: str,
        topology: Topology,
        seed: int,
        sink: SpoolWriter,
        scheduler: RealScheduler,
        runner: TaskRunner,
        merge: Merge,
        engine: RunningMember,
        nodes: Mapping[str, RunningMember],
        hosts: Mapping[str, RemoteHost],
        wires: EngineWires,
        plumbing: Plumbing,
    ) -> None:
        super().__init__(name, topology, seed, sink, runner, hosts, wires)
        #: Called when a member has ended by itself, for whoever shows states.
        self.on_change: Callable[[], None] = _nothing
        self.epoch_ns = scheduler.epoch_ns
        self._scheduler = scheduler
        self._merge = merge
        self._engine = engine
        self._nodes = nodes
        self._remote_hosts = hosts
        self._engine_wires = wires
        self._plumbing = plumbing
        self._end_ns = NEVER
        self._facts: dict[str, Any] = {}
        for member in (engine, *nodes.values()):
            self._listen_to(member)

    # -- members

    def _listen_to(self, member: RunningMember) -> None:
        remote = member.remote

        def on_end() -> None:
            remote.close(member.reap(_END_WITHIN_NS))
            self.on_change()

        remote.on_say = self._on_say
        remote.on_end = on_end

    def _on_say(self, message: Message) -> None:
        """A member says something nobody asked for; there is nothing of that kind here."""

    @property
    def failure(self) -> str:
        """Why the lab as a whole cannot go on; "" while it can."""
        remote = self._engine.remote
        return f"{remote.name}: {remote.failure}" if remote.failure and not self._closed else ""

    def node_failure(self, node: str) -> str:
        self._host(node)
        return "" if self._closed else self._nodes[node].remote.failure

    @property
    def processes(self) -> Mapping[str, int]:
        """Process ids by member: `engine`, and the nodes' names."""
        return {"engine": self._engine.pid, **{name: member.pid for name, member in self._nodes.items()}}

    def inside(self, node: str) -> AbstractContextManager[None]:
        """Have the calling thread in the node's network namespace meanwhile, to open a socket there."""
        self._host(node)
        self._check_open()
        return self._plumbing.nodes[node].entered()

    def execute(
        self,
        node: str,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str = "",
        timeout_ns: int = NEVER,
    ) -> Execution:
        host = self._remote_hosts[self._host(node).name]
        if self.topology.nodes[node].kind != LINUX:
            raise Unsupported(
                f"node {node} has tcplab's TCP, which programs of this machine do not see; nodes of `kind: linux` run "
                "commands"
            )
        self._log("execute", node=node, argv=list(argv), cwd=cwd, timeout_ns=timeout_ns)
        commands = RemoteCommands(host.remote)
        number = commands.start(argv, env, cwd, timeout_ns)
        return Execution(commands, number, partial(self._runner.spawn, host.order))

    # -- the clock

    def now(self) -> int:
        return min(self._scheduler.real_now(), self._end_ns)

    def next_time(self) -> int:
        return self._scheduler.next_time()

    def fileno(self) -> int:
        return self._scheduler.fileno()

    def pump(self) -> None:
        self._scheduler.run_once(0)

    def start_advance(self, until: Until) -> Advance:
        self._check_open()
        operations = [self.operations.get(name) for name in until.operations]
        apps = [self._app(name) for name in until.apps]
        return RealAdvance(self._scheduler, until, operations, apps, self.sink, self._handled_when_idle)

    def _handled_when_idle(self) -> int | None:
        """How much the members have handled so far; None while an app goes on or a member has a timer."""
        if any(not task.done for _, _, task in self._apps.values()):
            return None
        activity = 0
        idle = True
        for member in (self._engine, *self._nodes.values()):
            if not member.remote.failure:
                is_idle, handled = member.remote.call("idle")
                activity += handled
                idle = idle and is_idle
        return activity if idle else None

    # -- the end

    def facts(self) -> Mapping[str, Any]:
        return self._facts

    def _place(self) -> dict[str, int]:
        return {}

    def _record_action(self, text: bytes) -> None:
        self._merge.add((self.now(), 0, ACTION, 0, 0, 0, (), text))

    def _end_parts(self) -> None:
        for host in self._remote_hosts.values():
            host.freeze()
        try:
            self._engine_wires.freeze()
            self._facts["fidelity"] = with_nodes(self._engine.remote.call("fidelity"), self._asked("report"))
        except TcplabError as error:
            self._facts["fidelity"] = {"warning": f"there is no report of the link engine: {error}"}
        followed = self._asked("followed")
        if followed:
            self._facts["linux_nodes"] = followed
        failures = {name: one.remote.failure for name, one in self._nodes.items() if one.remote.failure}
        if self.failure:
            failures["link engine"] = self._engine.remote.failure
        if failures:
            self._facts["failures"] = failures
        end_members((self._engine, *self._nodes.values()), self._scheduler)
        self._end_ns = self._scheduler.real_now()
        self._merge.write(NEVER)
        self._facts["late_events"] = self._merge.late
        self._plumbing.close()
        self._scheduler.close()

    def _asked(self, call: str) -> dict[str, Mapping[str, Any]]:
        """What nodes say of themselves: not those that have failed, or do not offer this call."""
        said = {}
        for name, member in self._nodes.items():
            with suppress(TcplabError):
                said[name] = member.remote.call(call)
        return said


def end_members(members: Sequence[RunningMember], scheduler: RealScheduler) -> None:
    """Tell members to end, hear them out, and see that they have ended."""
    for member in members:
        member.remote.end()
    deadline = time.monotonic_ns() + _END_WITHIN_NS
    while any(not member.remote.failure for member in members):
        left = deadline - time.monotonic_ns()
        if left <= 0:
            break
        scheduler.run_once(min(left, 100 * MILLISECOND))
    for member in members:
        member.remote.close(member.reap(max(0, deadline - time.monotonic_ns())))


def _nothing() -> None:
    """Nobody listens."""

"""`RealLab`: a lab whose nodes and links run in processes of their own, in real time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from lab import spec
from lab.backends.base import Advance, Progress
from lab.backends.hosted import HostedLab
from lab.backends.real.advance import RealAdvance
from lab.backends.real.crew import Crew
from lab.backends.real.execution import Execution
from lab.backends.real.member import END_WITHIN_NS, RunningMember, end_members
from lab.backends.real.merge import WINDOW_NS
from lab.backends.real.node_process import serve_node
from lab.backends.real.parts import Plumbing, make_parts
from lab.backends.real.wires import EngineWires
from lab.backends.until import Until
from lab.engine.fidelity import with_nodes
from lab.fabric.rootless import standing
from lab.topology.file import AUTO
from lab.topology.model import LINUX, Node, Topology
from nodes.agent.host_calls import RemoteHost
from nodes.agent.line import Message
from nodes.base.clock import NEVER
from nodes.base.errors import FailedPrecondition, TcplabError
from nodes.base.events import ACTION, LEVEL_ALL
from nodes.base.random import Randomness
from nodes.base.tasks import Task
from nodes.kernel.remote_exec import RemoteCommands


class RealLab(HostedLab):
    """Built from a topology; lab time 0 is now. The spool is written to `spool`, which must not exist.

    To be made in a process without threads: its members are forked from it. Raises Unsupported, naming what the
    machine lacks; AlreadyExists, NotFound, InvalidArgument as other labs do; then nothing is left behind.

    What carries its links and where its nodes are is up to each backend: `_plumb`.
    """

    real_time = True
    #: Whether the link engine is the switches.
    own_switches = True

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
        self.topology = topology
        parts = make_parts(
            topology,
            seed,
            spool,
            level,
            capture,
            self.own_switches,
            self._plumb,
            self._add_node,
            progress or _say_nothing,
        )
        sink, self._scheduler, runner, self._merge, randomness, self._plumbing, engine, nodes, self._direct = parts
        remotes = {node: member.remote for node, member in nodes.items()}
        order = {node: number for number, node in enumerate(topology.nodes)}
        hosts = {node: RemoteHost(node, order[node], remote, runner, spec.plain) for node, remote in remotes.items()}
        wires = EngineWires(topology, self._scheduler, randomness, level, engine.remote, remotes, self._carry)
        super().__init__(name, topology, seed, sink, runner, hosts, wires)
        #: Called when a member has ended by itself, for whoever shows states.
        self.on_change: Callable[[], None] = _nothing
        self._scheduler.on_earlier = self._on_earlier
        self.epoch_ns = self._scheduler.epoch_ns
        self._engine = engine
        self._nodes = dict(nodes)
        self._remotes = remotes
        self._remote_hosts = hosts
        self._engine_wires = wires
        self._end_ns = NEVER
        self._facts: dict[str, Any] = {}
        for member in (engine, *nodes.values()):
            self._listen_to(member)

    # -- how it is built

    def _plumb(self, direct: Collection[str], progress: Progress) -> Plumbing:
        """Make the namespaces and interfaces; the kernel carries the links in `direct` at first. Raises Unsupported."""
        raise NotImplementedError

    def _add_node(self, crew: Crew, node: Node, plumbing: Plumbing, randomness: Randomness) -> RunningMember:
        """Make the process of a node, which will say "ready"."""
        serve = partial(serve_node, topology=self.topology, name=node.name, randomness=randomness)
        return crew.add(f"node {node.name}", plumbing.nodes[node.name].enter, serve)

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
        self._plumbing.unsplice(link)
        self._engine.remote.call("carry", link=link, since_ns=since_ns)
        self._direct.discard(link)

    # -- members

    def _listen_to(self, member: RunningMember) -> None:
        remote = member.remote

        def on_end() -> None:
            remote.close(member.reap(END_WITHIN_NS))
            self.on_change()

        remote.on_say = self._on_say
        remote.on_end = on_end

    def _replace(self, node: str, member: RunningMember) -> None:
        """A node that has ended has started again, with a fresh stack: this member is it now, and has said "ready"."""
        self._nodes[node] = member
        self._remotes[node] = member.remote
        self._remote_hosts[node].start_again(member.remote)
        self._held = {one for one in self._held if one[0] != node}
        self._listen_to(member)
        self.on_change()

    def _on_earlier(self) -> None:
        self.on_earlier()

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

    def settle(self) -> Task:
        return self._runner.spawn(0, "what has happened", self._hear_all())

    async def _hear_all(self) -> None:
        """Members say what they hold before they answer, and in the order of their instants it is recorded then."""
        until_ns = self.now() + WINDOW_NS
        for member in (self._engine, *self._nodes.values()):
            with suppress(TcplabError):  # one that has failed has said all
                await member.remote.wait("idle")
        await self._runner.sleep_until(until_ns)

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
        self.on_change = _nothing  # members end now because they are told to
        self._facts |= {"privilege": standing(), "offloads": "off"}
        # What a kernel does depends on more than what the topology says of it.
        sysctls: dict[str, Mapping[str, int | str]] = {}
        for name, node in self.topology.nodes.items():
            if node.kind == LINUX and not self.node_failure(name):
                with suppress(TcplabError):
                    sysctls[name] = self.parameters(name)
        if sysctls:
            self._facts["sysctls"] = sysctls
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


def _nothing() -> None:
    """Nobody listens."""


def _say_nothing(what: str, done: int, of: int) -> None:
    """Nobody listens."""

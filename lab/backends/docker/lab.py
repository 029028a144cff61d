"""A lab whose nodes are containers. Docker runs them and knows nothing of their network."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from lab.backends.base import Capability, Logs, Progress
from lab.backends.docker import daemon
from lab.backends.docker.containers import Container
from lab.backends.docker.fabric import DockerFabric
from lab.backends.docker.inside import Inside
from lab.backends.docker.job import Job
from lab.backends.docker.logs import ContainerLogs
from lab.backends.docker.member import AgentMember, BesideMember, agent_answers, connect_to_agent, start_beside
from lab.backends.docker.watch import Watch
from lab.backends.real.crew import Crew
from lab.backends.real.lab import RealLab
from lab.backends.real.member import END_WITHIN_NS, RunningMember
from lab.backends.real.node_process import serve_node
from lab.backends.real.parts import Plumbing
from lab.fabric.capabilities import capabilities, require
from lab.topology.model import LINUX, SWITCH, Node, Topology
from nodes.agent.line import Message
from nodes.agent.plain import error_of
from nodes.agent.remote import Remote
from nodes.base.clock import MILLISECOND, SECOND
from nodes.base.errors import FailedPrecondition, TcplabError, Unsupported
from nodes.base.events import CONNECTION, LEVEL_ALL
from nodes.base.random import Randomness

#: An agent takes its job within this, wall time.
_AGENT_WITHIN_NS: Final = 60 * SECOND
_LOOK_EVERY_MS: Final = 10


class DockerLab(RealLab):
    """A container that is started again is wired again: its node has a fresh stack then, and the links that it had."""

    backend = "docker"
    _plumbing: DockerFabric

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
        self.name = name
        self.seed = seed
        self._level = level
        self._capture = capture
        #: Of nodes that were started again: how often.
        self._starts: dict[str, int] = {}
        self._connections: dict[str, int] = {}
        #: Of nodes whose containers run: these, which are watched.
        self._running: dict[str, Container] = {}
        #: Of nodes that are coming back: their members, and why others do not.
        self._coming: dict[str, RunningMember] = {}
        self._not_back: dict[str, str] = {}
        self._watch: Watch | None = None
        super().__init__(name, topology, seed, spool, level, capture, progress)
        try:
            self.sink.subscribe((CONNECTION,), self._on_connection)
            for node in self.nodes:
                self._watch_end(node)
            self._watch = Watch(self._client, self._containers.filters, self._scheduler, self._on_start)
        except BaseException:
            self.close_lab()
            raise

    # -- how it is built

    def _plumb(self, direct: Collection[str], progress: Progress) -> Plumbing:
        reason = daemon.missing()
        if reason:
            raise Unsupported(reason)
        require(self.topology)
        self._client = daemon.connect()
        fabric = DockerFabric(self._client, self.name, self.topology, direct, progress)
        self._containers = fabric.containers
        try:
            for node in self.topology.nodes.values():
                if node.kind not in (LINUX, SWITCH):
                    self._await_agent(fabric, node.name)
        except BaseException:
            fabric.close()
            raise
        return fabric

    def _await_agent(self, fabric: DockerFabric, node: str) -> None:
        container = self._containers.nodes[node]
        until_ns = time.monotonic_ns() + _AGENT_WITHIN_NS
        while not agent_answers(fabric.nodes[node], container):
            if container.has_ended(_LOOK_EVERY_MS):
                raise FailedPrecondition(f"node {node}: {self._containers.how_it_ended(container)}")
            if time.monotonic_ns() > until_ns:
                raise FailedPrecondition(
                    f"node {node}: no agent answers in its container {container.name}; it must run `tcplab agent`"
                )

    def _add_node(self, crew: Crew, node: Node, plumbing: Plumbing, randomness: Randomness) -> RunningMember:
        assert isinstance(plumbing, DockerFabric)
        container = plumbing.containers.nodes[node.name]
        how = plumbing.containers.how_it_ended
        if node.kind == LINUX:
            place = partial(Inside, container.pid)
            serve = partial(serve_node, topology=self.topology, name=node.name, randomness=randomness, place=place)
            make = partial(BesideMember, container=container, how=how)
            return crew.add(f"node {node.name}", plumbing.nodes[node.name].enter, serve, make)
        line = connect_to_agent(plumbing.nodes[node.name], container, self._job(node.name, crew.scheduler.epoch_ns))
        if line is None:
            raise FailedPrecondition(f"node {node.name}: the agent in its container {container.name} has ended")
        member = AgentMember(Remote(f"node {node.name}", line, crew.scheduler), container, how)
        crew.join(member, line)
        return member

    def _job(self, node: str, epoch_ns: int) -> Job:
        return Job(
            self.name,
            node,
            self.topology.spec,
            self.seed,
            epoch_ns,
            self._level,
            self._capture,
            self._connections.get(node, 0),
            self._starts.get(node, 1),
        )

    # -- containers that end, and are started again

    def node_failure(self, node: str) -> str:
        return super().node_failure(node) and (self._not_back.get(node) or super().node_failure(node))

    def _on_connection(
        self,
        seq: int,
        kind: int,
        time_ns: int,
        node: int,
        connection: int,
        cause: int,
        values: tuple[int, ...],
        tail: bytes,
    ) -> None:
        self._connections[self.sink.names[node]] = connection

    def _watch_end(self, node: str) -> None:
        container = self._running[node] = self._containers.nodes[node]
        self._scheduler.add_reader(container.process, partial(self._on_container_end, node))

    def _on_container_end(self, node: str) -> None:
        """Its container has ended: the node falls silent, and its process ends."""
        container = self._running.pop(node, None)
        if container is None:
            return
        self._scheduler.remove_reader(container.process)
        with suppress(TcplabError):  # interfaces go with a namespace that nobody else has
            self._plumbing.unplug(self.topology.nodes[node])
        self._nodes[node].remote.end()

    def _on_start(self, node: str, container: str, labels: Mapping[str, str]) -> None:
        """A container was started that has this node's label."""
        if self._closed or node not in self._nodes or not self._containers.is_of_lab(labels):
            return
        if not self._containers.nodes[node].has_ended():
            return
        self._on_container_end(node)
        before = self._coming.pop(node, self._nodes[node])
        before.remote.end()
        before.remote.close(before.reap(END_WITHIN_NS))
        try:
            self._come_back(self.topology.nodes[node], self._containers.look(node, container))
        except (TcplabError, OSError) as error:
            self._stay_away(node, str(error))

    def _come_back(self, node: Node, container: Container) -> None:
        self._plumbing.rewire(node)
        self._watch_end(node.name)
        self._starts[node.name] = self._starts.get(node.name, 1) + 1
        job = self._job(node.name, self.epoch_ns)
        how = self._containers.how_it_ended
        if node.kind == LINUX:
            pid, line = start_beside(job, container)
            self._await(
                node.name, BesideMember(Remote(f"node {node.name}", line, self._scheduler), pid, container, how)
            )
            return
        until_ns = self.now() + _AGENT_WITHIN_NS

        def look(_: Any) -> None:
            if self._closed or self._running.get(node.name) is not container:
                return
            line = connect_to_agent(self._plumbing.nodes[node.name], container, job)
            if line is not None:
                self._await(node.name, AgentMember(Remote(f"node {node.name}", line, self._scheduler), container, how))
            elif self.now() > until_ns:
                self._stay_away(node.name, f"no agent answers in its container {container.name}")
            else:
                self._scheduler.call_at(self._scheduler.now() + _LOOK_EVERY_MS * MILLISECOND, look, None)

        look(None)

    def _await(self, node: str, member: RunningMember) -> None:
        """Have a member as soon as it is ready."""
        self._coming[node] = member
        self._merge.join(member.remote)

        def on_say(message: Message) -> None:
            if message["say"] == "ready":
                del self._coming[node]
                self._not_back.pop(node, None)
                self._replace(node, member)
            elif message["say"] == "failed":
                self._stay_away(node, str(error_of(message["error"])))

        def on_end() -> None:
            member.remote.close(member.reap(END_WITHIN_NS))
            if self._coming.get(node) is member:
                del self._coming[node]
                self._stay_away(node, member.remote.failure)

        member.remote.on_say = on_say
        member.remote.on_end = on_end

    def _stay_away(self, node: str, why: str) -> None:
        self._not_back.setdefault(node, f"it was started again, but does not come back: {why}")
        self.on_change()

    # -- the end

    def _end_parts(self) -> None:
        if self._watch is not None:
            self._watch.close()
        for node in list(self._running):
            self._scheduler.remove_reader(self._running.pop(node).process)
        for member in self._coming.values():
            member.remote.close(member.reap(0))
        super()._end_parts()
        self._client.close()

    def logs(self, node: str, tail: int = 0, follow: bool = False) -> Logs:
        self._host(node)
        self._check_open()
        return ContainerLogs(self._client, self._containers.nodes[node].id, tail, follow)

    @classmethod
    def missing(cls) -> str:
        return daemon.missing()

    @classmethod
    def capabilities(cls) -> Sequence[Capability]:
        image = daemon.default_image()
        reason = daemon.missing()
        if not reason:
            client = daemon.connect()
            reason = daemon.image_missing(client, image)
            client.close()
        return [*capabilities(), Capability("image", not reason, reason or image)]

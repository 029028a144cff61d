"""One running lab."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tcplab.client.aio.app import App
from tcplab.client.aio.attack import Attack
from tcplab.client.aio.link import Link
from tcplab.client.aio.node import Node
from tcplab.client.aio.operation import Clock, Operation, Stopped, advance_request, event_filter, text, texts
from tcplab.client.aio.rpc import Rpc
from tcplab.client.event import Event
from tcplab.client.values import Time, enum_value, nanoseconds, size
from tcplab.v1 import (
    app_pb2,
    attack_pb2,
    connection_pb2,
    lab_pb2,
    link_pb2,
    node_pb2,
    operation_pb2,
    trace_pb2,
)


class Lab:
    """A lab of a controller. As a context it is deleted at the end. Times are lab time.

    Threads or tasks that block in one lab take turns at its clock (in real time they need not). To have both ends of a
    connection wait at once, and the same bytes from the same seed, start both calls (`start_send`, `start_receive`) and
    `wait` for them.
    """

    def __init__(self, rpc: Rpc, message: lab_pb2.Lab) -> None:
        self._rpc = rpc
        self._path = message.name
        self._clock = Clock(rpc, message.name, message.real_time)
        #: Name without its prefix; seed; name of the topology; whether its time passes by itself; `runs/{run}` and its
        #: directory at the controller.
        self.name = message.name.rpartition("/")[2]
        self.seed = message.seed
        self.topology = message.topology
        self.real_time = message.real_time
        self.run = message.run
        self.run_directory = message.directory

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.delete()

    async def delete(self) -> None:
        """End it. Its run's files stay with the controller."""
        await self._rpc.call(self._rpc.labs.DeleteLab, lab_pb2.DeleteLabRequest(name=self._path))

    async def info(self) -> lab_pb2.Lab:
        """What is known of it now."""
        return await self._rpc.call(self._rpc.labs.GetLab, lab_pb2.GetLabRequest(name=self._path))

    async def watch(self) -> AsyncIterator[lab_pb2.Lab]:
        """What it is now, then whatever becomes of it, until it is deleted."""
        request = lab_pb2.WatchLabsRequest(name=self._path)
        async for answer in self._rpc.stream(self._rpc.labs.WatchLabs, request):
            if answer.deleted:
                return
            if answer.HasField("lab"):
                yield answer.lab

    async def now_ns(self) -> int:
        """The current instant, ns."""
        return (await self.info()).time_ns

    # What is in it.

    def node(self, name: str) -> Node:
        """A host or router."""
        return Node(self._clock, name)

    async def nodes(self) -> list[Node]:
        """All hosts and routers, in the topology's order."""
        pages = self._rpc.pages(self._rpc.nodes.ListNodes, node_pb2.ListNodesRequest(parent=self._path))
        return [self.node(one.name.rpartition("/")[2]) async for page in pages for one in page.nodes]

    def link(self, name: str) -> Link:
        """A link."""
        return Link(self._rpc, self._path, name)

    async def links(self) -> list[Link]:
        """All links, in the topology's order."""
        pages = self._rpc.pages(self._rpc.links.ListLinks, link_pb2.ListLinksRequest(parent=self._path))
        return [self.link(one.name.rpartition("/")[2]) async for page in pages for one in page.links]

    async def rule(
        self,
        link: str,
        *,
        match: str = "",
        nth: str | int = "",
        direction: str = "",
        stream_bytes: str = "",
        name: str = "",
        drop: bool = False,
        delay: Time | None = None,
        duplicate: int = 0,
        corrupt: bool = False,
        hold: int = 0,
        reset: bool = False,
    ) -> str:
        """Add a packet rule to a link; see Link.rule."""
        return await self.link(link).rule(
            match=match,
            nth=nth,
            direction=direction,
            stream_bytes=stream_bytes,
            name=name,
            drop=drop,
            delay=delay,
            duplicate=duplicate,
            corrupt=corrupt,
            hold=hold,
            reset=reset,
        )

    # The clock.

    async def advance(
        self,
        duration: Time | None = None,
        *,
        time: Time | None = None,
        operations: Iterable[Operation | str] = (),
        apps: Iterable[str] = (),
        event: trace_pb2.EventFilter | None = None,
        nth: int = 1,
        idle: bool = False,
        pace: float = 0.0,
        deadline: float | None = None,
    ) -> Stopped:
        """Let time pass: for `duration`, until `time`, until these operations are done or apps have ended, until the
        `nth` `event` (see `lab.event`), or until nothing is left to do (`idle`); whichever comes first.

        `pace` is lab seconds per wall second; 0: as fast as it goes. After `deadline` wall seconds the clock stops
        where it is and Timeout is raised. Raises FailedPrecondition, naming who waits for what, when nothing can happen
        any more.
        """
        names = [one if one.startswith("labs/") else f"{self._path}/apps/{one}" for one in apps]
        request = advance_request(duration, time, operations, names, event, nth, idle, pace)
        return await self._clock.advance(request, deadline)

    async def wait(self, *operations: Operation) -> list[operation_pb2.Operation]:
        """Let time pass until all are done; raises the first one's error."""
        pending = [one for one in operations if not await one.done()]
        if pending:
            await self.advance(operations=pending)
        return [await one.wait() for one in operations]

    def event(
        self, kind: str, node: str = "", connection: int = 0, cause: str = "", **where: Any
    ) -> trace_pb2.EventFilter:
        """An event to wait for: `lab.event("state", "h1", new="ESTABLISHED")`, `lab.event("cwnd", cwnd=">= 20000")`."""
        return event_filter(kind, node, connection, cause, where)

    async def operations(self) -> list[Operation]:
        """Pending operations, and the latest that ended."""
        request = operation_pb2.ListOperationsRequest(parent=self._path)
        pages = self._rpc.pages(self._rpc.operations.ListOperations, request)
        return [Operation(self._clock, one) async for page in pages for one in page.operations]

    # Attacks and applications.

    async def attack_on_path_rst(
        self,
        link: str,
        *,
        to: str = "both",
        state: str = "",
        node: str = "",
        bytes: str | int = 0,
        time: Time | None = None,
        client: str = "",
        server: str = "",
        port: int = 0,
        count: int = 1,
        name: str = "",
    ) -> Attack:
        """RSTs with exact sequence numbers from somebody on a link, to `client`, `server` or `both`.

        It waits until a connection enters a `state` (at `node`), has carried so many `bytes` of payload, or for an
        instant of lab `time`; for nothing when none is given. `client`, `server`, `port` restrict whose connections.
        """
        spec = attack_pb2.OnPathRst(
            link=f"{self._path}/links/{link}",
            to=attack_pb2.OnPathRst.Target.ValueType(enum_value(attack_pb2.OnPathRst.Target.DESCRIPTOR, to, "to")),
            client=client,
            server=server,
            port=port,
            count=count,
        )
        if state:
            spec.state.state = connection_pb2.TcpState.ValueType(
                enum_value(connection_pb2.TcpState.DESCRIPTOR, state, "state")
            )
            spec.state.node = node
        elif bytes:
            spec.bytes = size(bytes, "bytes")
        elif time is not None:
            spec.time_ns = nanoseconds(time, "time")
        return await self._attack(attack_pb2.Attack(on_path_rst=spec), name)

    async def attack_blind_rst(
        self,
        node: str,
        *,
        spoof: str,
        spoof_ports: int | tuple[int, int],
        target: str,
        target_port: int,
        seq_start: int = 0,
        seq_count: int = 0,
        step: int = 65535,
        rate: int = 100_000,
        name: str = "",
    ) -> Attack:
        """RSTs from a node that sees nothing, as if from `spoof`: ports and sequence numbers are swept."""
        first, last = (spoof_ports, spoof_ports) if isinstance(spoof_ports, int) else spoof_ports
        spec = attack_pb2.BlindRst(
            node=f"{self._path}/nodes/{node}",
            spoof=spoof,
            spoof_port_first=first,
            spoof_port_last=last,
            target=target,
            target_port=target_port,
            seq_start=seq_start,
            seq_count=seq_count,
            step=step,
            rate=rate,
        )
        return await self._attack(attack_pb2.Attack(blind_rst=spec), name)

    async def _attack(self, attack: attack_pb2.Attack, name: str) -> Attack:
        request = attack_pb2.CreateAttackRequest(parent=self._path, attack_id=name, attack=attack)
        return Attack(self._rpc, await self._rpc.call(self._rpc.attacks.CreateAttack, request))

    async def attacks(self) -> list[Attack]:
        """All attacks, ended ones included."""
        pages = self._rpc.pages(self._rpc.attacks.ListAttacks, attack_pb2.ListAttacksRequest(parent=self._path))
        return [Attack(self._rpc, one) async for page in pages for one in page.attacks]

    async def app(self, node: str, kind: str, *, name: str = "", **settings: Any) -> App:
        """Start an application on a node: `lab.app("h2", "sink", port=80)`."""
        request = app_pb2.CreateAppRequest(
            parent=self._path,
            app_id=name,
            app=app_pb2.App(node=f"{self._path}/nodes/{node}", kind=kind, settings=texts(settings)),
        )
        return App(self._clock, await self._rpc.call(self._rpc.apps.CreateApp, request))

    async def apps(self) -> list[App]:
        """All applications, ended ones included."""
        pages = self._rpc.pages(self._rpc.apps.ListApps, app_pb2.ListAppsRequest(parent=self._path))
        return [App(self._clock, one) async for page in pages for one in page.apps]

    # What happened.

    async def trace(
        self,
        kinds: str | Iterable[str] = (),
        *,
        node: str = "",
        connection: int = 0,
        cause: str = "",
        where: Mapping[str, Any] | None = None,
        start: int = 1,
        follow: bool = False,
    ) -> AsyncIterator[Event]:
        """The events so far that match, from number `start` on; with `follow` then those that come, until the lab is
        deleted or the loop is left."""
        request = trace_pb2.FollowTraceRequest(
            lab=self._path, start_seq=start, filter=event_filter(kinds, node, connection, cause, where)
        )
        async for answer in self._rpc.stream(self._rpc.traces.FollowTrace, request):
            for message in answer.events:
                yield Event(message)
            if answer.snapshot_done and not follow:
                return

    async def flows(self) -> list[trace_pb2.Flow]:
        """Each connection as both its ends saw it: states, resets, retransmissions, errors."""
        answer = await self._rpc.call(self._rpc.traces.ListFlows, trace_pb2.ListFlowsRequest(parent=self._path))
        return list(answer.flows)

    async def capture(self, interface: str, *, follow: bool = False, live: bool = False) -> AsyncIterator[bytes]:
        """The pcapng file of an interface (`h1:eth0`) in pieces; with `follow` then what comes.

        `live`, in real time only: what passes the interface from now on, with the kernel's time stamps.
        """
        request = trace_pb2.CaptureRequest(lab=self._path, interface=interface, follow=follow, live=live)
        async for answer in self._rpc.stream(self._rpc.traces.Capture, request):
            yield answer.data

    async def save_capture(self, interface: str, path: Path | str) -> None:
        """Write the pcapng file of an interface so far."""
        with Path(path).open("wb") as file:  # noqa: ASYNC230 - a local file, written piece by piece
            async for piece in self.capture(interface):
                file.write(piece)

    def __repr__(self) -> str:
        return f"<lab {self.name}: {self.topology}, seed {text(self.seed)}>"

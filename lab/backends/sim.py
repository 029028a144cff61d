"""A lab in virtual time: one process, one thread, no privilege, and the same bytes from the same seed."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from lab import spec
from lab.attacks.base import Attack, AttackContext, AttackSpec
from lab.backends.advance import SimAdvance
from lab.backends.base import Advance, AppInfo, Capability, Lab, ListenerInfo
from lab.backends.network import Network
from lab.backends.payload import Payload, Received
from lab.backends.until import Until
from lab.links.link import Link
from lab.links.rules import Rule, RuleSpec
from lab.operations import Operation, Operations
from lab.topology.model import Topology
from lab.trace.spool import SpoolWriter
from nodes.agent.stack_host import StackHost
from nodes.apps.base import App
from nodes.apps.catalogue import APPS
from nodes.base.clock import NEVER, SECOND, SimScheduler
from nodes.base.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from nodes.base.events import ACTION, COUNTER, LEVEL_ALL, LEVEL_STATES
from nodes.base.random import Randomness
from nodes.base.tasks import Task, TaskRunner
from nodes.packet.address import address_text, parse_address
from nodes.sockets.stream import StreamSocket
from nodes.tcp.connection import Connection
from nodes.tcp.info import TcpInfo, info

#: What one RECEIVE of `receive` asks for, and what one SEND of `send` gives: bounds of memory, not of meaning.
_PIECE: Final = 1 << 18

CAPABILITIES: Final = (
    Capability("virtual-time", True),
    Capability("deterministic", True),
    Capability("engine-link", True),
    Capability("packet-rules", True),
    Capability("attacks", True),
    Capability("capture", True),
    Capability("engine-netem", False, "the kernel's netem needs real time; this backend has virtual time"),
    Capability("linux-nodes", False, "kernel stacks need real time; here every node runs tcplab's TCP"),
)


class SimLab(Lab):
    """Built from a topology; lab time is 0. The spool is written to `spool`, which must not exist.

    Raises AlreadyExists, NotFound (no such directory), InvalidArgument.
    """

    backend = "sim"

    def __init__(
        self, name: str, topology: Topology, seed: int, spool: Path, level: int = LEVEL_ALL, capture: bool = True
    ) -> None:
        self.name = name
        self.seed = seed
        self.topology = topology
        self.operations = Operations()
        self.sink = SpoolWriter(spool, level, capture)
        self._scheduler = SimScheduler()
        self._runner = TaskRunner(self._scheduler)
        self._randomness = Randomness(seed)
        self._advancing = False
        self._closed = False
        try:
            self._network = Network(topology, self._scheduler, self._runner, self._randomness, self.sink)
        except BaseException:
            self.sink.close()
            spool.unlink(missing_ok=True)
            raise
        self._apps: dict[str, tuple[App[Any], Task]] = {}
        self._held: set[tuple[str, int]] = set()  # connections of calls made here, not of apps
        self._attacks: dict[str, Attack] = {}
        self._attacks_made = 0
        self._context = AttackContext(
            self._scheduler,
            self._randomness,
            self.sink,
            self._network.links,
            {node: self._network.addresses(node) for node in self._network.hosts},
            self._send_raw,
            self.sink.subscribe,
        )
        for link in self._network.links.values():
            link.forward.emit_link_event()
            link.backward.emit_link_event()

    # -- reading

    def now(self) -> int:
        return self._scheduler.now()

    def next_time(self) -> int:
        return self._scheduler.next_time()

    def capabilities(self) -> Sequence[Capability]:
        return CAPABILITIES

    @property
    def nodes(self) -> Sequence[str]:
        return tuple(self._network.hosts)

    @property
    def links(self) -> Mapping[str, Link]:
        return self._network.links

    @property
    def attacks(self) -> Mapping[str, Attack]:
        return self._attacks

    @property
    def apps(self) -> Mapping[str, AppInfo]:
        return {name: _app_info(app, task) for name, (app, task) in self._apps.items()}

    def addresses(self, node: str) -> Sequence[str]:
        return [address_text(address) for address in self._network.addresses(node)]

    def resolve(self, host: str) -> bytes:
        if host in self._network.hosts or host in self._network.switches:
            return self._network.addresses(host)[0]
        try:
            return parse_address(host)
        except InvalidArgument:
            raise NotFound(_unknown("node", host, self._network.hosts, " of this lab, nor an IP address")) from None

    def parameters(self, node: str) -> Mapping[str, int | str]:
        return self._host(node).parameters()

    def counters(self, node: str) -> Mapping[str, int]:
        return self._host(node).counters()

    def status(self, node: str, connection: int) -> TcpInfo:
        return info(self._connection(node, connection))  # not its STATUS call: looking must not change the trace

    def connections(self, node: str) -> Sequence[TcpInfo]:
        return [info(connection) for connection in self._host(node).stack.tcp.connections.values()]

    def listeners(self, node: str) -> Sequence[ListenerInfo]:
        return [
            ListenerInfo(
                node,
                one.number,
                address_text(one.local_address),
                one.local_port,
                one.backlog,
                one.syn_queue,
                one.accept_queue,
            )
            for one in self._host(node).listeners()
        ]

    def get_option(self, node: str, connection: int, name: str) -> int | str:
        return self._connection(node, connection).get_option(name)

    def link_statistics(self, link: str) -> Mapping[str, Mapping[str, int]]:
        return {name: one.statistics.as_dict() for name, one in self._link(link).directions.items()}

    def rules(self, link: str) -> Sequence[Rule]:
        return tuple(self._link(link).rules)

    # -- the clock

    def start_advance(self, until: Until) -> Advance:
        self._check_open()
        if self._advancing:
            raise FailedPrecondition("the lab's clock is being advanced already; one can at a time")
        operations = [self.operations.get(name) for name in until.operations]
        apps = [self._app(name)[1] for name in until.apps]
        advance = SimAdvance(self._scheduler, until, operations, apps, self.sink, self._waiting, self._release_clock)
        self._advancing = True
        return advance

    def _release_clock(self) -> None:
        self._advancing = False

    def _waiting(self) -> list[str]:
        """Who waits for what, for an error."""
        waiting = [(str(one), one.waiting_for) for one in self.operations.pending()]
        waiting += [
            (f"app {name} on {app.node}", task.waiting.what if task.waiting else "")
            for name, (app, task) in self._apps.items()
            if not task.done
        ]
        return [f"{who} waits for {what or 'its turn'}" for who, what in waiting]

    # -- TCP user calls

    def open(
        self,
        node: str,
        remote: str,
        remote_port: int,
        *,
        local: str = "",
        local_port: int = 0,
        options: Mapping[str, int | str] | None = None,
        timeout_ns: int = NEVER,
    ) -> Operation:
        host = self._host(node)
        address = self.resolve(remote)
        source = parse_address(local, "local") if local else b""
        self._log(
            "open",
            node=node,
            remote=address_text(address),
            remote_port=remote_port,
            local=local,
            local_port=local_port,
            options=dict(options or {}),
            timeout_ns=timeout_ns,
        )
        number = host.start_open(address, remote_port, source, local_port, options)
        self._held.add((node, number))
        return self._start("open", host, number, self._opened(host, number, timeout_ns))

    async def _opened(self, host: StackHost, number: int, timeout_ns: int) -> TcpInfo:
        await host.established(number, timeout_ns)
        return info(host.stack.tcp.connections[number])

    def listen(
        self,
        node: str,
        local_port: int,
        *,
        local: str = "",
        backlog: int = 128,
        options: Mapping[str, int | str] | None = None,
    ) -> ListenerInfo:
        host = self._host(node)
        address = parse_address(local, "local") if local else b""
        self._log("listen", node=node, local=local, local_port=local_port, backlog=backlog, options=dict(options or {}))
        number = host.listen(local_port, address, backlog, options)
        return next(one for one in self.listeners(node) if one.number == number)

    def close_listener(self, node: str, listener: int) -> None:
        host = self._host(node)
        self._check_listener(host, listener)
        self._log("close_listener", node=node, listener=listener)
        host.close_listener(listener)
        self._runner.drain()

    def accept(self, node: str, listener: int, *, timeout_ns: int = NEVER) -> Operation:
        host = self._host(node)
        self._check_listener(host, listener)
        self._log("accept", node=node, listener=listener, timeout_ns=timeout_ns)
        operation = self._start("accept", host, 0, self._accepted(host, listener, timeout_ns))
        operation.on_done(_take_number)
        return operation

    async def _accepted(self, host: StackHost, listener: int, timeout_ns: int) -> TcpInfo:
        number = await host.accept(listener, timeout_ns)
        self._held.add((host.name, number))
        return info(host.stack.tcp.connections[number])

    def send(self, node: str, connection: int, payload: Payload, *, timeout_ns: int = NEVER) -> Operation:
        socket = self._socket(node, connection)
        self._log("send", node=node, connection=connection, payload=payload.logged(), timeout_ns=timeout_ns)
        return self._start("send", self._host(node), connection, self._sent(socket, payload, timeout_ns))

    async def _sent(self, socket: StreamSocket, payload: Payload, timeout_ns: int) -> int:
        deadline = NEVER if timeout_ns == NEVER else self.now() + timeout_ns
        offset = 0
        while piece := payload.part(offset, _PIECE):
            await socket.send_all(piece, NEVER if deadline == NEVER else max(0, deadline - self.now()))
            offset += len(piece)
        return offset

    def receive(
        self,
        node: str,
        connection: int,
        *,
        max_bytes: int = 65536,
        min_bytes: int = 1,
        keep: bool = True,
        timeout_ns: int = NEVER,
    ) -> Operation:
        socket = self._socket(node, connection)
        if not 1 <= min_bytes <= max_bytes:
            raise InvalidArgument(f"{min_bytes} is not 1 to max_bytes, {max_bytes}", "min_bytes")
        self._log(
            "receive", node=node, connection=connection, max_bytes=max_bytes, min_bytes=min_bytes, timeout_ns=timeout_ns
        )
        work = self._received(socket, max_bytes, min_bytes, keep, timeout_ns)
        return self._start("receive", self._host(node), connection, work)

    async def _received(
        self, socket: StreamSocket, max_bytes: int, min_bytes: int, keep: bool, timeout_ns: int
    ) -> Received:
        """What came when the FIN, an error or the timeout comes first; raised only when nothing came."""
        deadline = NEVER if timeout_ns == NEVER else self.now() + timeout_ns
        digest = hashlib.sha256()
        parts: list[bytes] = []
        length = 0
        eof = False
        connection = socket.connection
        while length < max_bytes:
            if length and not connection.buffered and (connection.error_pending or length >= min_bytes):
                eof = connection.eof
                break
            left = NEVER if deadline == NEVER else max(0, deadline - self.now())
            try:
                data = await socket.recv(min(max_bytes - length, _PIECE), left)
            except TimeoutError:
                if not length:
                    raise
                break
            if not data:
                eof = True
                break
            length += len(data)
            digest.update(data)
            if keep:
                parts.append(data)
        return Received(b"".join(parts), length, digest.hexdigest(), eof)

    def wait_ready(self, node: str, connection: int, *, read: bool, write: bool, timeout_ns: int = NEVER) -> Operation:
        if not read and not write:
            raise InvalidArgument("ask for read, write or both", "read")
        socket = self._socket(node, connection)
        self._log("wait_ready", node=node, connection=connection, read=read, write=write, timeout_ns=timeout_ns)
        return self._start("wait_ready", self._host(node), connection, _became_ready(socket, read, write, timeout_ns))

    def shutdown(self, node: str, connection: int) -> None:
        one = self._connection(node, connection)
        self._log("shutdown", node=node, connection=connection)
        self._act(node, lambda now: one.shutdown(now))

    def close(self, node: str, connection: int) -> None:
        one = self._connection(node, connection)
        self._log("close", node=node, connection=connection)
        self._act(node, lambda now: one.close(now))

    def abort(self, node: str, connection: int) -> None:
        one = self._connection(node, connection)
        self._log("abort", node=node, connection=connection)
        self._act(node, lambda now: one.abort(now))

    def set_option(self, node: str, connection: int, name: str, value: int | str) -> None:
        one = self._connection(node, connection)
        self._log("set_option", node=node, connection=connection, name=name, value=value)
        self._act(node, lambda now: one.set_option(now, name, value))

    def cancel(self, operation: str) -> None:
        one = self.operations.get(operation)
        if not one.done:
            self._log("cancel", operation=operation)
            one.cancel()
            self._runner.drain()

    def ping(
        self,
        node: str,
        remote: str,
        *,
        count: int = 1,
        interval_ns: int = SECOND,
        size: int = 56,
        ttl: int = 0,
        timeout_ns: int = SECOND,
    ) -> Operation:
        host = self._host(node)
        address = self.resolve(remote)
        self._log(
            "ping",
            node=node,
            remote=address_text(address),
            count=count,
            interval_ns=interval_ns,
            size=size,
            ttl=ttl,
            timeout_ns=timeout_ns,
        )
        return self._start("ping", host, 0, host.ping(address, count, interval_ns, size, ttl, timeout_ns))

    # -- nodes, links, attacks, apps

    def set_parameters(self, node: str, values: Mapping[str, int | str]) -> None:
        host = self._host(node)
        self._log("set_parameters", node=node, values=dict(values))
        host.set_parameters(values)

    def update_link(self, link: str, changes: Mapping[str, Any], direction: str = "") -> None:
        one = self._link(link)
        for selected in one.selected(direction):
            selected.impairments.merged(changes)  # all or nothing: what is wrong is found here
        self._log("update_link", link=link, direction=direction, changes=dict(changes))
        one.update(changes, direction)

    def set_link_up(self, link: str, up: bool) -> None:
        one = self._link(link)
        self._log("set_link_up", link=link, up=up)
        one.set_up(up)

    def add_rule(self, link: str, rule: RuleSpec) -> Rule:
        one = self._link(link)
        one.selected(rule.direction)
        self._log("add_rule", link=link, rule=spec.plain(rule))
        return one.add_rule(rule)

    def remove_rule(self, link: str, rule: str) -> None:
        one = self._link(link)
        one.rule(rule)
        self._log("remove_rule", link=link, rule=rule)
        one.remove_rule(rule)

    def create_attack(self, attack: AttackSpec, name: str = "") -> Attack:
        name = name or f"attack-{self._attacks_made + 1}"
        if name in self._attacks:
            raise AlreadyExists(f"there is an attack {name} already")
        self._check_open()
        made = attack.make(name, self._context)
        self._log("create_attack", name=name, kind=attack.kind, attack=spec.plain(attack))
        self._attacks_made += 1
        self._attacks[name] = made
        made.start()
        self._runner.drain()
        return made

    def stop_attack(self, attack: str) -> None:
        one = self._attacks.get(attack)
        if one is None:
            raise NotFound(_unknown("attack", attack, self._attacks))
        if not one.ended:
            self._log("stop_attack", attack=attack)
            one.stop()

    def start_app(self, node: str, kind: str, settings: Mapping[str, Any], name: str = "") -> AppInfo:
        host = self._host(node)
        app_class = APPS.get(kind)
        if app_class is None:
            raise InvalidArgument(_unknown("kind of app", kind, APPS, whose=""), "kind")
        parsed = spec.from_mapping(app_class.Settings, settings)
        if not name:
            number = 1
            while (name := f"{node}-{kind}-{number}") in self._apps:
                number += 1
        elif name in self._apps:
            raise AlreadyExists(f"there is an app {name} already")
        app = app_class(name, host.driver, host.order, parsed, self.resolve)
        self._log("start_app", node=node, kind=kind, settings=spec.plain(parsed), name=name)
        task = app.start()
        self._apps[name] = app, task
        self._runner.drain()
        return _app_info(app, task)

    def stop_app(self, app: str) -> None:
        task = self._app(app)[1]
        if not task.done:
            self._log("stop_app", app=app)
            task.cancel()
            self._runner.drain()

    def _send_raw(self, node: str, packet: bytes) -> None:
        host = self._network.hosts[node]
        host.stack.send_raw_ip(self.now(), packet)
        host.driver.flush()

    # -- the end

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

    def close_lab(self) -> None:
        if self._closed:
            return
        self._log("close_lab")
        for attack in self._attacks.values():
            attack.stop()
        if self.sink.level >= LEVEL_STATES:
            for name, host in self._network.hosts.items():
                node = self.sink.name(name)
                for counter, value in host.counters().items():
                    self.sink.emit(COUNTER, self.now(), node, 0, 0, (self.sink.name(counter), value))
        self._closed = True
        self.sink.close()

    # -- helpers

    def _check_open(self) -> None:
        if self._closed:
            raise FailedPrecondition(f"lab {self.name} is closed")

    def _log(self, call: str, **arguments: Any) -> None:
        """Record a call that is about to act."""
        self._check_open()
        if self.sink.level >= LEVEL_STATES:
            text = json.dumps(
                {"call": call, **arguments, "step": self._scheduler.calls},
                sort_keys=True,
                separators=(",", ":"),
                ensure_ascii=False,
            )
            self.sink.emit_tail(ACTION, self.now(), 0, 0, 0, (), text.encode())

    def _start(self, call: str, host: StackHost, connection: int, work: Coroutine[Any, None, Any]) -> Operation:
        name = self.operations.next_name()
        task = self._runner.spawn(host.order, name, work)
        operation = Operation(name, call, host.name, connection, self.now(), task)
        operation.on_done(self._stamp)
        self.operations.add(operation)
        self._runner.drain()
        return operation

    def _stamp(self, operation: Operation) -> None:
        operation.ended_ns = self.now()

    def _host(self, node: str) -> StackHost:
        host = self._network.hosts.get(node)
        if host is None:
            if node in self._network.switches:
                raise NotFound(f"{node} is a switch and has no TCP; there are {', '.join(self._network.hosts)}")
            raise NotFound(_unknown("node", node, self._network.hosts))
        return host

    def _link(self, link: str) -> Link:
        found = self._network.links.get(link)
        if found is None:
            raise NotFound(_unknown("link", link, self._network.links))
        return found

    def _connection(self, node: str, number: int) -> Connection:
        connections = self._host(node).stack.tcp.connections
        connection = connections.get(number)
        if connection is None:
            raise NotFound(_unknown("connection", str(number), map(str, connections), f" of {node}"))
        return connection

    def _socket(self, node: str, number: int) -> StreamSocket:
        """For calls that wait: only on connections that were opened or accepted here."""
        connection = self._connection(node, number)
        if (node, number) not in self._held:
            for name, (app, _) in self._apps.items():
                if app.node == node and number in app.connections:
                    raise FailedPrecondition(f"connection {number} of {node} is in the hands of app {name}")
            raise FailedPrecondition(f"connection {number} of {node} has not been accepted")
        return self._host(node).socket(connection.number)

    def _act(self, node: str, call: Callable[[int], None]) -> None:
        """Make a TCP call that does not wait, and send what it wants sent."""
        try:
            call(self.now())
        finally:
            self._host(node).driver.flush()
            self._runner.drain()

    def _app(self, name: str) -> tuple[App[Any], Task]:
        found = self._apps.get(name)
        if found is None:
            raise NotFound(_unknown("app", name, self._apps))
        return found

    def _check_listener(self, host: StackHost, number: int) -> None:
        if all(one.number != number for one in host.listeners()):
            raise NotFound(f"{host.name} has no listener {number}")


async def _became_ready(socket: StreamSocket, read: bool, write: bool, timeout_ns: int) -> tuple[str, ...]:
    readable, writable = await socket.ready(read, write, timeout_ns)
    return tuple(word for word, is_so in (("readable", readable), ("writable", writable)) if is_so)


def _take_number(operation: Operation) -> None:
    if operation.error is None:
        operation.connection = operation.result.number


def _app_info(app: App[Any], task: Task) -> AppInfo:
    error = task.error
    words = getattr(error, "errno_name", "") or str(error) if error is not None else ""
    return AppInfo(app.name, app.node, app.kind, task.done, dict(app.results), words, tuple(app.connections))


def _unknown(what: str, name: str, known: Iterable[str], whose: str = " of this lab") -> str:
    names = list(known)
    near = difflib.get_close_matches(name, names, 1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names[:20]) or 'none'}"
    return f"{name!r} is no {what}{whose}; {hint}"

"""`HostedLab`: what all labs share. Calls are checked, recorded, and made on Hosts and Wires, wherever these are."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from lab import spec
from lab.attacks.base import Attack, AttackSpec
from lab.backends.base import AppInfo, Lab, ListenerInfo
from lab.backends.wires import Wires
from lab.links.link import Link
from lab.links.rules import Rule, RuleSpec
from lab.operations import Operation, Operations
from lab.topology.model import Topology, unknown
from lab.trace.spool import SpoolWriter
from nodes.agent.host import Host
from nodes.agent.payload import Payload, SendFlags
from nodes.apps.catalogue import APPS
from nodes.base.clock import NEVER, SECOND
from nodes.base.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from nodes.base.events import ACTION, COUNTER, LEVEL_STATES
from nodes.base.tasks import Task, TaskRunner
from nodes.packet.address import address_text, parse_address
from nodes.tcp.info import TcpInfo


class HostedLab(Lab):
    """`hosts` are the nodes with a TCP by name, `runner` runs what waits. A subclass has the clock."""

    def __init__(
        self,
        name: str,
        topology: Topology,
        seed: int,
        sink: SpoolWriter,
        runner: TaskRunner,
        hosts: Mapping[str, Host],
        wires: Wires,
    ) -> None:
        self.name = name
        self.seed = seed
        self.topology = topology
        self.operations = Operations()
        self.sink = sink
        self._runner = runner
        self._hosts = hosts
        self._wires = wires
        self._closed = False
        self._apps: dict[str, tuple[str, str, Task]] = {}  # node, kind, task
        self._held: set[tuple[str, int]] = set()  # connections of calls made here, not of apps
        self._attacks_made = 0

    # -- reading

    @property
    def nodes(self) -> Sequence[str]:
        return tuple(self._hosts)

    @property
    def links(self) -> Mapping[str, Link]:
        return self._wires.links

    @property
    def attacks(self) -> Mapping[str, Attack]:
        return self._wires.attacks()

    @property
    def apps(self) -> Mapping[str, AppInfo]:
        return {name: self._app_info(name) for name in self._apps}

    def addresses(self, node: str) -> Sequence[str]:
        return [address_text(address) for address in self.topology.addresses(node)]

    def resolve(self, host: str) -> bytes:
        return self.topology.resolve(host)

    def parameters(self, node: str) -> Mapping[str, int | str]:
        return self._host(node).parameters()

    def counters(self, node: str) -> Mapping[str, int]:
        return self._host(node).counters()

    def status(self, node: str, connection: int) -> TcpInfo:
        return self._host_of(node, connection).status(connection)

    def connections(self, node: str) -> Sequence[TcpInfo]:
        return self._host(node).statuses()

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
        return self._host_of(node, connection).get_option(connection, name)

    def link_statistics(self, link: str) -> Mapping[str, Mapping[str, int]]:
        return self._wires.statistics(self._link(link).name)

    def rules(self, link: str) -> Sequence[Rule]:
        return self._wires.rules(self._link(link).name)

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

    async def _opened(self, host: Host, number: int, timeout_ns: int) -> TcpInfo:
        await host.established(number, timeout_ns)
        return host.status(number)

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

    async def _accepted(self, host: Host, listener: int, timeout_ns: int) -> TcpInfo:
        number = await host.accept(listener, timeout_ns)
        self._held.add((host.name, number))
        return host.status(number)

    def send(
        self,
        node: str,
        connection: int,
        payload: Payload,
        *,
        more: bool = False,
        end: bool = False,
        urgent: bool = False,
        timeout_ns: int = NEVER,
    ) -> Operation:
        host = self._holder(node, connection)
        flags = SendFlags(more, end, urgent)
        said = {name: True for name, on in flags._asdict().items() if on}
        self._log("send", node=node, connection=connection, payload=payload.logged(), timeout_ns=timeout_ns, **said)
        return self._start("send", host, connection, host.send(connection, payload, timeout_ns, flags))

    def receive(
        self,
        node: str,
        connection: int,
        *,
        max_bytes: int = 65536,
        min_bytes: int = 1,
        keep: bool = True,
        urgent: bool = False,
        timeout_ns: int = NEVER,
    ) -> Operation:
        host = self._holder(node, connection)
        if not 1 <= min_bytes <= max_bytes:
            raise InvalidArgument(f"{min_bytes} is not 1 to max_bytes, {max_bytes}", "min_bytes")
        if urgent:
            self._log("receive", node=node, connection=connection, urgent=True, timeout_ns=timeout_ns)
            return self._start("receive", host, connection, host.receive_urgent(connection, timeout_ns))
        self._log(
            "receive", node=node, connection=connection, max_bytes=max_bytes, min_bytes=min_bytes, timeout_ns=timeout_ns
        )
        work = host.receive(connection, max_bytes, min_bytes, keep, timeout_ns)
        return self._start("receive", host, connection, work)

    def wait_ready(self, node: str, connection: int, *, read: bool, write: bool, timeout_ns: int = NEVER) -> Operation:
        if not read and not write:
            raise InvalidArgument("ask for read, write or both", "read")
        host = self._holder(node, connection)
        self._log("wait_ready", node=node, connection=connection, read=read, write=write, timeout_ns=timeout_ns)
        return self._start("wait_ready", host, connection, _became_ready(host, connection, read, write, timeout_ns))

    def shutdown(self, node: str, connection: int) -> None:
        host = self._host_of(node, connection)
        self._log("shutdown", node=node, connection=connection)
        self._act(lambda: host.shutdown(connection))

    def close(self, node: str, connection: int) -> None:
        host = self._host_of(node, connection)
        self._log("close", node=node, connection=connection)
        self._act(lambda: host.close(connection))

    def linger(self, node: str, connection: int) -> Operation:
        host = self._host_of(node, connection)
        self._log("linger", node=node, connection=connection)
        return self._start("linger", host, connection, _lingered(host, connection))

    def abort(self, node: str, connection: int) -> None:
        host = self._host_of(node, connection)
        self._log("abort", node=node, connection=connection)
        self._act(lambda: host.abort(connection))

    def set_option(self, node: str, connection: int, name: str, value: int | str) -> None:
        host = self._host_of(node, connection)
        self._log("set_option", node=node, connection=connection, name=name, value=value)
        self._act(lambda: host.set_option(connection, name, value))

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
        self._wires.update(link, changes, direction)

    def set_link_up(self, link: str, up: bool) -> None:
        self._link(link)
        self._log("set_link_up", link=link, up=up)
        self._wires.set_up(link, up)

    def add_rule(self, link: str, rule: RuleSpec) -> Rule:
        one = self._link(link)
        one.selected(rule.direction)
        self._log("add_rule", link=link, rule=spec.plain(rule))
        return self._wires.add_rule(link, rule)

    def remove_rule(self, link: str, rule: str) -> None:
        one = self._link(link)
        one.rule(rule)
        self._log("remove_rule", link=link, rule=rule)
        self._wires.remove_rule(link, rule)

    def create_attack(self, attack: AttackSpec, name: str = "") -> Attack:
        name = name or f"attack-{self._attacks_made + 1}"
        if name in self._wires.attacks():
            raise AlreadyExists(f"there is an attack {name} already")
        self._check_open()
        made, begin = self._wires.make_attack(name, attack)
        self._log("create_attack", name=name, kind=attack.kind, attack=spec.plain(attack))
        self._attacks_made += 1
        begin()
        self._runner.drain()
        return made

    def stop_attack(self, attack: str) -> None:
        attacks = self._wires.attacks()
        if attack not in attacks:
            raise NotFound(unknown("attack", attack, attacks))
        if not attacks[attack].ended:
            self._log("stop_attack", attack=attack)
            self._wires.stop_attack(attack)

    def start_app(self, node: str, kind: str, settings: Mapping[str, Any], name: str = "") -> AppInfo:
        host = self._host(node)
        app_class = APPS.get(kind)
        if app_class is None:
            raise InvalidArgument(unknown("kind of app", kind, APPS, whose=""), "kind")
        parsed = spec.from_mapping(app_class.Settings, settings)
        if not name:
            number = 1
            while (name := f"{node}-{kind}-{number}") in self._apps:
                number += 1
        elif name in self._apps:
            raise AlreadyExists(f"there is an app {name} already")
        self._log("start_app", node=node, kind=kind, settings=spec.plain(parsed), name=name)
        self._apps[name] = node, kind, host.start_app(name, kind, parsed)
        self._runner.drain()
        return self._app_info(name)

    def stop_app(self, app: str) -> None:
        task = self._app(app)
        if not task.done:
            self._log("stop_app", app=app)
            task.cancel()
            self._runner.drain()

    # -- the end

    def close_lab(self) -> None:
        if self._closed:
            return
        self._log("close_lab")
        for name, attack in self._wires.attacks().items():
            if not attack.ended:
                self._wires.stop_attack(name)
        self._end_parts()
        if self.sink.level >= LEVEL_STATES:
            now = self.now()
            for name, host in self._hosts.items():
                node = self.sink.name(name)
                for counter, value in host.counters().items():
                    self.sink.emit(COUNTER, now, node, 0, 0, (self.sink.name(counter), value))
        self._closed = True
        self.sink.close()

    def _end_parts(self) -> None:
        """End what runs outside this process; Hosts and Wires then tell what was last known."""

    # -- helpers

    @abstractmethod
    def _place(self) -> dict[str, int]:
        """What beside the time tells the place of a call in the run, for its record."""

    def _check_open(self) -> None:
        if self._closed:
            raise FailedPrecondition(f"lab {self.name} is closed")

    def _log(self, call: str, **arguments: Any) -> None:
        """Record a call that is about to act."""
        self._check_open()
        if self.sink.level >= LEVEL_STATES:
            text = json.dumps(
                {"call": call, **arguments, **self._place()}, sort_keys=True, separators=(",", ":"), ensure_ascii=False
            )
            self._record_action(text.encode())

    def _record_action(self, text: bytes) -> None:
        """Put the record of a call into the trace."""
        self.sink.emit_tail(ACTION, self.now(), 0, 0, 0, (), text)

    def _start(self, call: str, host: Host, connection: int, work: Coroutine[Any, None, Any]) -> Operation:
        name = self.operations.next_name()
        task = self._runner.spawn(host.order, name, work)
        operation = Operation(name, call, host.name, connection, self.now(), task)
        operation.on_done(self._stamp)
        self.operations.add(operation)
        self._runner.drain()
        return operation

    def _stamp(self, operation: Operation) -> None:
        operation.ended_ns = self.now()

    def _waiting(self) -> list[str]:
        """Who waits for what, for an error."""
        waiting = [(str(one), one.waiting_for) for one in self.operations.pending()]
        waiting += [
            (f"app {name} on {node}", task.waiting.what if task.waiting else "")
            for name, (node, _, task) in self._apps.items()
            if not task.done
        ]
        return [f"{who} waits for {what or 'its turn'}" for who, what in waiting]

    def _host(self, node: str) -> Host:
        host = self._hosts.get(node)
        if host is None:
            if node in self.topology.nodes:
                raise NotFound(f"{node} is a switch and has no TCP; there are {', '.join(self._hosts)}")
            raise NotFound(unknown("node", node, self._hosts))
        return host

    def _link(self, link: str) -> Link:
        found = self._wires.links.get(link)
        if found is None:
            raise NotFound(unknown("link", link, self._wires.links))
        return found

    def _host_of(self, node: str, connection: int) -> Host:
        """The host, when it has that connection."""
        host = self._host(node)
        if not host.has_connection(connection):
            numbers = (str(one.number) for one in host.statuses())
            raise NotFound(unknown("connection", str(connection), numbers, f" of {node}"))
        return host

    def _holder(self, node: str, number: int) -> Host:
        """For calls that wait: only on connections that were opened or accepted here."""
        host = self._host_of(node, number)
        if (node, number) not in self._held:
            for name, (at, _, _) in self._apps.items():
                if at == node and number in host.app(name).connections:
                    raise FailedPrecondition(f"connection {number} of {node} is in the hands of app {name}")
            raise FailedPrecondition(f"connection {number} of {node} has not been accepted")
        return host

    def _act(self, call: Callable[[], None]) -> None:
        """Make a call that does not wait, and let those run whom it woke."""
        try:
            call()
        finally:
            self._runner.drain()

    def _app(self, name: str) -> Task:
        found = self._apps.get(name)
        if found is None:
            raise NotFound(unknown("app", name, self._apps))
        return found[2]

    def _app_info(self, name: str) -> AppInfo:
        node, kind, task = self._apps[name]
        error = task.error
        words = getattr(error, "errno_name", "") or str(error) if error is not None else ""
        state = self._hosts[node].app(name)
        return AppInfo(name, node, kind, task.done, state.results, words, state.connections)

    def _check_listener(self, host: Host, number: int) -> None:
        if all(one.number != number for one in host.listeners()):
            raise NotFound(f"{host.name} has no listener {number}")


async def _lingered(host: Host, connection: int) -> TcpInfo:
    await host.linger(connection)
    return host.status(connection)


async def _became_ready(host: Host, connection: int, read: bool, write: bool, timeout_ns: int) -> tuple[str, ...]:
    readable, writable = await host.wait_ready(connection, read, write, timeout_ns)
    return tuple(word for word, is_so in (("readable", readable), ("writable", writable)) if is_so)


def _take_number(operation: Operation) -> None:
    if operation.error is None:
        operation.connection = operation.result.number

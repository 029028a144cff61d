"""The keeper of a script: the process beside somebody's Mininet program that has our part of its network.

It makes the interfaces of links and forks the process that carries them, and for each host that of its stack, anew when
its addresses or routes change. When the script ends, however it ends, so does everything here.

What is said on the line from the script: {"do": a call, its arguments}; back {"value"} or {"error"}.
"""

from __future__ import annotations

import contextlib
import dataclasses
import ipaddress
import json
import os
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from lab import spec
from lab.backends.mininet.commands import Whose, run_command
from lab.backends.mininet.kept import MTU, KeptHost
from lab.backends.mininet.link_options import impairments
from lab.backends.mininet.link_process import serve_links
from lab.backends.real.crew import Crew, Serve
from lab.backends.real.member import RunningMember
from lab.backends.real.merge import Merge
from lab.backends.real.node_process import serve_node
from lab.fabric.fabric import Fabric
from lab.fabric.host import quieten
from lab.fabric.namespaces import Namespace
from lab.fabric.netlink import Netlink
from lab.links.impairments import Impairments
from lab.topology.model import Interface, Topology
from lab.trace.bundle import Bundle
from lab.trace.spool import SpoolWriter
from nodes.agent.line import LineReader, Message, pack
from nodes.agent.plain import plain, plain_error
from nodes.base.clock import NEVER, SECOND
from nodes.base.errors import NotFound, TcplabError
from nodes.base.events import LEVEL_OFF, LEVEL_SEGMENTS
from nodes.base.random import Randomness
from nodes.base.real import RealScheduler
from nodes.base.records import RecordWriter
from nodes.shims.keeper import DOOR

_IDLE_NS: Final = 3600 * SECOND
_LONGEST_REQUEST: Final = 1 << 16


class _Nowhere(RecordWriter):
    """A trace that nobody wants."""

    def _write(self, data: bytes) -> None:
        """It is gone."""


class _Interfaces(Fabric):
    """Interfaces in namespaces of others, and their far ends."""

    def __init__(self) -> None:
        super().__init__(Topology("", "", {}, {}, {}), ())

    def add(self, interface: Interface, pid: int, kernel: bool) -> None:
        """Make it in the namespace of a process. Raises what the kernel says."""
        with (
            contextlib.closing(Namespace.of(pid)) as place,
            place.entered(),
            Netlink() as netlink,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe,
        ):
            self._make_interface(netlink, probe, interface, kernel)

    def remove(self, interface: Interface) -> None:
        """Idempotent."""
        far = self.ports.pop(str(interface), "")
        if far:
            with contextlib.suppress(NotFound):
                self._netlink.delete_link(f"interface {interface}", far)


class Keeper:
    """`line` is the script's; `run` the directory for a trace, or None; `script` what its manifest says."""

    def __init__(self, line: socket.socket, run: Path | None, seed: int, script: str) -> None:
        self._hosts: dict[str, KeptHost] = {}
        self._doors: dict[str, socket.socket] = {}
        self._links: dict[str, tuple[Interface, Interface]] = {}
        self._line = line
        self._reader = LineReader(line)
        self._todo: deque[Callable[[], None]] = deque()
        self._scheduler = RealScheduler(time.monotonic_ns())
        self._randomness = Randomness(seed)
        self._bundle: Bundle | None = None
        self._sink: RecordWriter = _Nowhere(LEVEL_OFF, False)
        if run is not None:
            more = {"name": Path(script).stem, "capture": True}
            self._bundle = Bundle.create(
                run, spec=script, seed=seed, backend="mininet", level=LEVEL_SEGMENTS, more=more
            )
            self._sink = SpoolWriter(self._bundle.spool, LEVEL_SEGMENTS, True)
        self._merge = Merge(self._sink, self._scheduler)
        self._crew = Crew(self._scheduler, self._merge, self._sink.level, run is not None)
        self._interfaces = _Interfaces()
        serve = partial(serve_links, randomness=self._randomness)
        self._engine = self._start("link engine", self._interfaces.engine, serve)
        self._calls = {
            one.__name__: one
            for one in (
                self.add_host,
                self.remove_host,
                self.set_device,
                self.remove_device,
                self.set_address,
                self.set_default_route,
                self.add_host_route,
                self.apply,
                self.add_link,
                self.remove_link,
                self.impair,
            )
        }

    # -- the loop

    def run(self) -> None:
        """Do what is asked until the script has ended."""
        self._scheduler.add_reader(self._line.fileno(), self._on_line)
        while not self._reader.ended:
            self._scheduler.run_once(_IDLE_NS)
            while self._todo:
                self._todo.popleft()()
        self._crew.disband()
        self._interfaces.close()
        self._merge.write(NEVER)
        if self._bundle is not None:
            self._sink.flush()
            self._bundle.finish()
            self._bundle.export()

    def _on_line(self) -> None:
        self._todo.extend(partial(self._do, request) for request in self._reader.read())

    def _do(self, request: Message) -> None:
        try:
            answer = {"value": plain(self._calls[request.pop("do")](**request))}
        except Exception as error:
            answer = {"error": plain_error(error)}
        with contextlib.suppress(OSError):
            self._line.sendall(pack(answer))

    def _open_door(self, host: KeptHost) -> socket.socket:
        with host.namespace.entered():
            door = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        door.bind(DOOR)
        door.listen()
        self._scheduler.add_reader(door.fileno(), partial(self._on_door, door, host))
        return door

    def _on_door(self, door: socket.socket, host: KeptHost) -> None:
        with contextlib.suppress(OSError):
            visitor, _ = door.accept()
            self._scheduler.add_reader(visitor.fileno(), partial(self._on_visitor, visitor, host))

    def _on_visitor(self, visitor: socket.socket, host: KeptHost) -> None:
        self._scheduler.remove_reader(visitor.fileno())
        self._todo.append(partial(self._serve_visitor, visitor, host))

    def _serve_visitor(self, visitor: socket.socket, host: KeptHost) -> None:
        with visitor, contextlib.suppress(OSError, ValueError, TypeError):  # whatever somebody's program says
            whose, code, err = run_command(self.renew, host, json.loads(visitor.recv(_LONGEST_REQUEST)))
            answer = {"handled": whose is Whose.OURS, "kernel": whose is Whose.KERNEL, "code": code, "err": err}
            visitor.sendall(json.dumps(answer).encode())

    # -- hosts

    def add_host(self, name: str, pid: int, address: str, parameters: Mapping[str, int | str]) -> None:
        """A host with our stack, in the namespace of a process; `address`: what it will have; `parameters` by their
        sysctl names."""
        self.remove_host(name)
        host = self._hosts[name] = KeptHost(name, Namespace.of(pid), address, dict(parameters))
        with host.namespace.entered():
            quieten()
        self._doors[name] = self._open_door(host)

    def remove_host(self, name: str) -> None:
        """Idempotent."""
        host = self._hosts.pop(name, None)
        if host is not None:
            door = self._doors.pop(name)
            self._scheduler.remove_reader(door.fileno())
            door.close()
            if host.member is not None:
                self._crew.dismiss(host.member)
            host.namespace.close()

    def set_device(self, host: str, device: str, mac: str) -> None:
        """A host has an interface, or another MAC address there."""
        self._host(host).set_device(device, _mac(mac))

    def remove_device(self, host: str, device: str) -> None:
        """Idempotent."""
        kept = self._host(host)
        if kept.devices.pop(device, None) is not None:
            self.renew(kept)

    def set_address(self, host: str, device: str, address: str) -> None:
        """Address and prefix length of an interface; "" takes it away."""
        self._host(host).set_address(device, address)

    def set_default_route(self, host: str, via: str, device: str) -> None:
        """The route to everywhere, instead of the one there was; neither: none."""
        self._host(host).set_default_route(via, device)

    def add_host_route(self, host: str, address: str, device: str) -> None:
        """An address is straight behind an interface."""
        self._host(host).add_route(ipaddress.IPv4Network(address), None, device, replace=True)

    def apply(self, host: str) -> None:
        """Have the stack that was asked for."""
        self.renew(self._host(host))

    def renew(self, host: KeptHost) -> None:
        """The host's stack begins anew, unless it is as it should be."""
        if host.node() == host.made:
            return
        if host.member is not None:
            self._end_stack(host, host.member)
        if host.devices:
            with self._paused(host) as frames:
                self._begin_stack(host, frames)

    def _begin_stack(self, host: KeptHost, frames: Mapping[str, tuple[int, int]]) -> None:
        node = host.node()
        with host.namespace.entered(), Netlink() as netlink:
            for name, device in host.devices.items():
                netlink.set_link(f"interface {name}", name, [("IFLA_MTU", device.mtu)])
        nodes = {name: node if one is host else one.known_as() for name, one in self._hosts.items()}
        topology = Topology("", "", nodes, {}, {})
        serve = partial(
            serve_node,
            topology=topology,
            name=host.name,
            randomness=self._randomness,
            connections=host.connections,
            frames=frames,
        )
        host.member = self._start(f"node {host.name}", host.namespace, serve)
        host.made = node

    @contextlib.contextmanager
    def _paused(self, host: KeptHost) -> Iterator[Mapping[str, tuple[int, int]]]:
        """The host's links take nothing meanwhile. Gives how many frames each of its interfaces has received and sent:
        the trace knows a frame by its number, and a new stack has to go on where the old one was."""
        frames = {}
        links = [name for name, ends in self._links.items() if any(end.node == host.name for end in ends)]
        for link in links:
            (forward, backward) = self._engine.remote.call("pause_link", link=link).values()
            for end, own, other in zip(self._links[link], (forward, backward), (backward, forward), strict=True):
                if end.node == host.name:
                    frames[end.name] = (other["packets_delivered"], own["packets_in"])
        try:
            yield frames
        finally:
            for link in links:
                self._engine.remote.call("resume_link", link=link)

    def _end_stack(self, host: KeptHost, member: RunningMember) -> None:
        with contextlib.suppress(TcplabError):  # its process may have been killed
            host.connections += len(member.remote.call("statuses"))
            host.parameters = dict(member.remote.call("parameters"))  # perhaps changed by its sysctl
        self._crew.dismiss(member)
        host.member = host.made = None

    def _host(self, name: str) -> KeptHost:
        found = self._hosts.get(name)
        if found is None:
            raise NotFound(f"{name} is no host with tcplab's stack")
        return found

    # -- links

    def add_link(self, nodes: Sequence[str], devices: Sequence[str], macs: Sequence[str], pids: Sequence[int]) -> str:
        """Make a link between interfaces to be made in the namespaces of two processes; returns its name."""
        base = name = f"{nodes[0]}-{nodes[1]}"
        number = 1
        while name in self._links:
            number += 1
            name = f"{base}-{number}"
        a, b = (
            Interface(node, device, 0, name, _mac(mac), b"", 0, MTU)
            for node, device, mac in zip(nodes, devices, macs, strict=True)
        )
        with contextlib.ExitStack() as undo:
            for end, pid in zip((a, b), pids, strict=True):
                self._interfaces.add(end, pid, end.node not in self._hosts)
                undo.callback(self._interfaces.remove, end)
            devices = [self._interfaces.ports[str(end)] for end in (a, b)]
            ends = [(end.node, end.name) for end in (a, b)]
            self._engine.remote.call("add_link", link=name, ends=ends, devices=devices, mtu=MTU)
            undo.pop_all()
        self._links[name] = (a, b)
        return name

    def remove_link(self, link: str) -> None:
        """Idempotent."""
        ends = self._links.pop(link, None)
        if ends is not None:
            self._engine.remote.call("remove_link", link=link)
            for end in ends:
                self._interfaces.remove(end)

    def impair(self, link: str, end: int, options: Mapping[str, Any]) -> list[str]:
        """What a link does from now on to what comes from its first (0) or second end, in the words of Mininet's
        TCLink; returns those that mean nothing here."""
        if link not in self._links:
            raise NotFound(f"there is no link {link}")
        words, unknown = impairments(options)
        changes = dataclasses.asdict(spec.from_mapping(Impairments, words))
        one, other = self._links[link][end], self._links[link][1 - end]
        direction = f"{one.node}->{other.node}"
        self._engine.remote.call("update_link", link=link, changes=changes, direction=direction)
        return unknown

    def _start(self, name: str, place: Namespace, serve: Serve) -> RunningMember:
        member = self._crew.add(name, place.enter, serve)
        try:
            self._crew.await_ready(_say_nothing)
        except BaseException:
            self._crew.dismiss(member)
            raise
        return member


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def _say_nothing(done: int, of: int) -> None:
    """Nobody listens."""


def main(descriptor: int, run: str, seed: int, script: str) -> None:
    """Keep what a script at the other end of a socket asks for, until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the script, which ends us
    os.setsid()
    sys.stdin.close()
    line = socket.socket(fileno=descriptor)
    try:
        keeper = Keeper(line, Path(run) if run else None, seed, script)
    except Exception as error:  # the answer to the script's first call
        line.sendall(pack({"error": plain_error(error)}))
        return
    keeper.run()

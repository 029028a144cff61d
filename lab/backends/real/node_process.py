"""The process of a node: our stack bound to the interfaces of its network namespace, or the kernel's there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from functools import partial

from lab.attacks.base import AttackContext
from lab.backends.network import make_stack
from lab.backends.real.settings import read_settings
from lab.engine.attacks import MemberAttacks
from lab.engine.rings import ring_frames
from lab.fabric.libc import open_filesystem
from lab.topology.model import LINUX, SWITCH, Node, Topology
from nodes import shims
from nodes.agent.door import Door
from nodes.agent.host import Host
from nodes.agent.host_calls import offer_host
from nodes.agent.member import Member
from nodes.agent.stack_host import StackHost
from nodes.base.clock import NEVER
from nodes.base.random import Randomness
from nodes.drivers.veth import attach
from nodes.kernel.exec import Commands, MakePlace
from nodes.kernel.node import KernelNode
from nodes.kernel.place import NodePlace
from nodes.packet.address import address_text


def serve_node(
    member: Member,
    topology: Topology,
    name: str,
    randomness: Randomness,
    *,
    place: MakePlace | None = None,
    connections: int = 0,
    frames: Mapping[str, tuple[int, int]] | None = None,
) -> None:
    """Be the node until told to end. The calling thread is in the node's network namespace.

    Commands run in what `place` makes. Of a node that was there before: connections get numbers after the first
    `connections`, and so do the frames received and sent by each interface of our stack in `frames`.
    """
    node = topology.nodes[name]
    order = list(topology.nodes).index(name)
    host: Host
    environment: Mapping[str, str] = {}
    with contextlib.ExitStack() as closing:
        if node.kind == LINUX:
            kernel = closing.enter_context(
                contextlib.closing(
                    KernelNode(member, name, order, topology.resolve, partial(open_filesystem, "tracefs"))
                )
            )
            kernel.host.connections.numbered = connections
            host = kernel.host
        else:
            stack_host = _stack_host(member, topology, node, order, randomness)
            stack_host.stack.tcp.numbered = connections
            for interface in stack_host.stack.interfaces:
                interface.rx_packets, interface.tx_packets = (frames or {}).get(interface.name, (0, 0))
            host = stack_host
            known = {one.name: topology.addresses(one.name) for one in topology.nodes.values() if one.kind != SWITCH}
            closing.enter_context(contextlib.closing(Door(stack_host, member.scheduler, member.runner, known)))
            of_place = NodePlace.environment if place is None else os.environ
            environment = shims.environment(of_place.get("PATH", os.defpath))
        _serve(member, topology, host, randomness, place, environment, closing)


def _serve(
    member: Member,
    topology: Topology,
    host: Host,
    randomness: Randomness,
    place: MakePlace | None,
    environment: Mapping[str, str],
    closing: contextlib.ExitStack,
) -> None:
    """Offer what every node has to offer, and do what is called for."""
    offer_host(member, host, read_settings)
    addresses = {one.name: topology.addresses(one.name) for one in topology.nodes.values() if one.kind != SWITCH}
    context = AttackContext(
        member.scheduler,
        randomness,
        member.sink,
        {},
        addresses,
        lambda _, packet: host.send_raw(packet),
        member.subscribe,
    )
    MemberAttacks(context).offer_to(member.offer)
    names = {one: address_text(known[0]) for one, known in addresses.items() if known}
    commands = Commands(member.scheduler, member.runner, place or partial(NodePlace, names), environment)
    commands.offer_to(member)
    closing.callback(commands.close)
    member.tell("ready")
    member.run()


def _stack_host(
    member: Member,
    topology: Topology,
    node: Node,
    order: int,
    randomness: Randomness,
) -> StackHost:
    scheduler = member.scheduler
    stack = make_stack(node, topology.controls, randomness, member.sink)
    host = StackHost(stack, scheduler, member.runner, order, [], topology.resolve)
    names = [interface.name for interface in node.interfaces]
    ports = attach(host.driver, scheduler, names, ring_frames(topology))
    member.offer(
        "report",
        lambda: {
            "dropped": {one.packets.interface: one.packets.statistics().dropped for one in ports},
            "late_ns": scheduler.lateness.summary(),
        },
    )
    member.offer("idle", lambda: [scheduler.next_time() == NEVER, scheduler.handled])
    return host

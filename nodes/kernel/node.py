"""The process of a node with the kernel's stack."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from nodes.agent.host_calls import ReadSettings, offer_host
from nodes.agent.member import Member
from nodes.base.clock import NEVER
from nodes.base.events import LEVEL_STATES
from nodes.kernel.exec import Commands
from nodes.kernel.host import KernelHost
from nodes.kernel.observer import Observer


def make_host(
    member: Member, name: str, order: int, resolve: Callable[[str], bytes]
) -> tuple[KernelHost, Observer | None]:
    """The host of a member, and who follows its connections: nobody when nothing is traced."""
    host = KernelHost(name, order, member.scheduler, member.runner, member.sink, resolve)
    if member.sink.level < LEVEL_STATES:
        return host, None
    return host, Observer(member.scheduler, host.connections, host.follower, member.sink, name, host.diag)


def serve_linux(
    member: Member,
    name: str,
    order: int,
    hosts: Mapping[str, str],
    resolve: Callable[[str], bytes],
    read_settings: ReadSettings,
    offer_more: Callable[[KernelHost], None],
) -> None:
    """Be the node until told to end. The calling thread is in the node's network namespace, whose interfaces are up and
    have their addresses. `hosts` are the names and addresses of the lab's nodes, in text; `offer_more` offers what else
    a node has to offer."""
    host, observer = make_host(member, name, order, resolve)
    offer_host(member, host, read_settings)
    commands = Commands(member.scheduler, member.runner, hosts)
    commands.offer_to(member)
    offer_more(host)
    scheduler = member.scheduler

    def idle() -> list[Any]:
        asking = observer.next_time if observer is not None else NEVER
        polls = observer.polls if observer is not None else 0
        timers = any(one.timer for one in host.diag.sockets(with_info=False))
        return [not timers and scheduler.next_time() in (asking, NEVER), scheduler.handled - polls]

    def facts() -> dict[str, Any]:
        return {
            "states": "inferred from segments and calls, checked by sock_diag" if observer else "not traced",
            "frames_not_seen": observer.dropped() if observer is not None else 0,
        }

    member.offer("idle", idle)
    member.offer("facts", facts)
    member.tell("ready")
    try:
        member.run()
    finally:
        commands.close()

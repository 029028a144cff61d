"""What a member of a lab with the kernel's stack offers besides the calls of its Host."""

from __future__ import annotations

from collections.abc import Callable

from nodes.agent.member import Member
from nodes.base.clock import NEVER
from nodes.base.events import LEVEL_STATES
from nodes.kernel.host import KernelHost
from nodes.kernel.observer import Observer


def kernel_host(member: Member, name: str, order: int, resolve: Callable[[str], bytes]) -> KernelHost:
    """The host of a member, its connections followed as far as something is traced. The calling thread is in the
    node's network namespace, whose interfaces are up and have their addresses.

    Offers `idle` ([whether no timer runs, what was handled so far]) and `dropped` (frames that passed by unseen).
    """
    scheduler = member.scheduler
    host = KernelHost(name, order, scheduler, member.runner, member.sink, resolve)
    observer = None
    if member.sink.level >= LEVEL_STATES:
        observer = Observer(scheduler, host.connections, host.follower, member.sink, name, host.diag)

    def idle() -> list[bool | int]:
        own = (NEVER,) if observer is None else (NEVER, observer.next_time)
        busy = any(one.timer for one in host.diag.sockets(with_info=False))
        return [
            not busy and scheduler.next_time() in own,
            scheduler.handled - (observer.polls if observer is not None else 0),
        ]

    member.offer("idle", idle)
    member.offer("dropped", lambda: {"all": observer.dropped()} if observer is not None else {})
    return host

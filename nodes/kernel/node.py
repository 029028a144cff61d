"""What a member of a lab with the kernel's stack offers besides the calls of its Host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nodes.agent.member import Member
from nodes.base.clock import NEVER
from nodes.base.errors import Unsupported
from nodes.base.events import LEVEL_CONGESTION, LEVEL_STATES
from nodes.kernel.host import KernelHost
from nodes.kernel.observer import Observer
from nodes.kernel.tracefs import Tracefs


class KernelNode:
    """The host of a member, its connections followed as far as something is traced. The calling thread is in the node's
    network namespace, whose interfaces are up and have their addresses. `open_tracefs` gives a descriptor of the root
    of the tracer's file system, or raises OSError.

    Offers `idle` ([whether no timer runs, what was handled so far]) and `followed` (from what its states are known).
    """

    def __init__(
        self,
        member: Member,
        name: str,
        order: int,
        resolve: Callable[[str], bytes],
        open_tracefs: Callable[[], int],
    ) -> None:
        self.host = KernelHost(name, order, member.scheduler, member.runner, member.sink, resolve)
        self._scheduler = member.scheduler
        self._tracefs: Tracefs | None = None
        self._observer: Observer | None = None
        self._without = ""
        level = member.sink.level
        if level >= LEVEL_CONGESTION:
            self._open_tracefs(open_tracefs)
        if level >= LEVEL_STATES:
            host = self.host
            self._observer = Observer(
                member.scheduler, host.connections, host.follower, member.sink, name, host.diag, self._tracefs
            )
        member.offer("idle", self.idle)
        member.offer("followed", self.followed)

    def _open_tracefs(self, open_tracefs: Callable[[], int]) -> None:
        try:
            root = open_tracefs()
        except OSError as error:
            self._without = f"the kernel's tracer is not for us: {error.strerror}"
            return
        try:
            self._tracefs = Tracefs(root)
        except Unsupported as error:
            self._without = str(error)

    def idle(self) -> list[bool | int]:
        """Whether nothing is under way: no timer of the kernel's sockets or of applications."""
        observer = self._observer
        own = (NEVER,) if observer is None else (NEVER, observer.next_time)
        busy = any(one.timer for one in self.host.diag.sockets(with_info=False))
        polls = observer.polls if observer is not None else 0
        return [not busy and self._scheduler.next_time() in own, self._scheduler.handled - polls]

    def followed(self) -> dict[str, Any]:
        """For the manifest."""
        observer = self._observer
        if observer is None:
            return {"sources": ["SOCK_DIAG, when asked"]}
        sources = ["CAPTURE", "INFERRED", "SOCK_DIAG"]
        said: dict[str, Any] = {"sources": sources, "frames_not_seen": observer.dropped()}
        if self._tracefs is not None:
            sources.append("TRACEFS")
            said |= {
                "states_confirmed": observer.confirmed,
                "state_changes_of_unknown_sockets": observer.unattributed,
                "tracer_overruns": self._tracefs.missed,
            }
        elif self._without:
            said["without"] = self._without
        return said

    def close(self) -> None:
        """Leave nothing behind."""
        if self._observer is not None:
            self._observer.close()

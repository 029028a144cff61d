"""`Crew`: the members of a lab while they are being made. All of them come up, or none stays."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import Final

from lab.backends.real.fork import fork_member
from lab.backends.real.member import RunningMember, end_members
from lab.backends.real.merge import Merge
from nodes.agent.line import Message
from nodes.agent.member import Member
from nodes.agent.plain import error_of, plain_error
from nodes.agent.remote import Remote
from nodes.base import garbage
from nodes.base.clock import SECOND
from nodes.base.errors import FailedPrecondition
from nodes.base.real import RealScheduler, be_punctual
from nodes.base.tasks import TaskRunner

#: Members come up within this, wall time.
_READY_WITHIN_NS: Final = 60 * SECOND

#: Does a member's work: offers its calls, tells "ready", runs until the end.
Serve = Callable[[Member], None]
#: Called with how many members are ready, of how many.
Progress = Callable[[int, int], None]


class Crew:
    """Forks members, which share the lab's time, trace level and capture; `merge` takes their events."""

    def __init__(self, scheduler: RealScheduler, merge: Merge, level: int, capture: bool) -> None:
        self.scheduler = scheduler
        self._merge = merge
        self._level = level
        self._capture = capture
        self._lines: list[socket.socket] = []
        self._members: list[RunningMember] = []
        self._ready: set[RunningMember] = set()
        garbage.settle()

    def add(
        self,
        name: str,
        enter: Callable[[], None],
        serve: Serve,
        make: Callable[[Remote, int], RunningMember] = RunningMember,
    ) -> RunningMember:
        """Fork a member: it calls `enter()` (to be where it belongs), then `serve(member)`."""
        epoch_ns, level, capture = self.scheduler.epoch_ns, self._level, self._capture

        def main(line: socket.socket) -> None:
            enter()
            be_punctual()
            scheduler = RealScheduler(epoch_ns)
            member = Member(line, scheduler, TaskRunner(scheduler), level, capture)
            try:
                serve(member)
            except Exception as error:
                member.tell("failed", error=plain_error(error))
                raise

        pid, line = fork_member(main, self._lines)
        member = make(Remote(name, line, self.scheduler), pid)
        self.join(member, line)
        return member

    def join(self, member: RunningMember, line: socket.socket) -> None:
        """Have a member that was made elsewhere; `line` is our end."""
        self._merge.join(member.remote)
        self._lines.append(line)
        self._members.append(member)

    def await_ready(self, progress: Progress) -> None:
        """Wait until every member says that it is ready. Raises what one failed with."""
        failures: list[Exception] = []
        for member in self._members:
            remote = member.remote

            def on_say(message: Message, member: RunningMember = member) -> None:
                if message["say"] == "ready":
                    self._ready.add(member)
                    progress(len(self._ready), len(self._members))
                elif message["say"] == "failed":
                    failures.append(error_of(message["error"]))

            def on_end(remote: Remote = remote) -> None:
                failures.append(FailedPrecondition(f"{remote.name} ended before it was ready"))

            remote.on_say = on_say
            remote.on_end = on_end
        deadline = self.scheduler.real_now() + _READY_WITHIN_NS
        while len(self._ready) < len(self._members) and not failures:
            left = deadline - self.scheduler.real_now()
            if left <= 0:
                missing = len(self._members) - len(self._ready)
                raise FailedPrecondition(f"{missing} of {len(self._members)} processes of the lab do not come up")
            self.scheduler.run_once(left)
        if failures:
            raise failures[0]

    @property
    def members(self) -> Sequence[RunningMember]:
        """Those there are."""
        return self._members

    def dismiss(self, member: RunningMember) -> None:
        """End one of them."""
        end_members((member,), self.scheduler)
        self._members.remove(member)
        self._ready.discard(member)

    def disband(self) -> None:
        """End all of them."""
        end_members(self._members, self.scheduler)

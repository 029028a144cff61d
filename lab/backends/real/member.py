"""`RunningMember`: a process of a lab, as seen from the lab's."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Sequence
from typing import Final

from lab.backends.real.fork import how_it_ended
from nodes.agent.remote import Remote
from nodes.base.clock import MILLISECOND, SECOND
from nodes.base.real import RealScheduler

#: Members that were told to end have so long, wall time; then they are killed.
END_WITHIN_NS: Final = 5 * SECOND


class RunningMember:
    """A member and its process, a child of this one."""

    def __init__(self, remote: Remote, pid: int) -> None:
        self.remote = remote
        self.pid = pid
        self._reaped = False

    def reap(self, within_ns: int) -> str:
        """Wait for the end of the process, kill it when that takes too long; how it ended, in words."""
        if self._reaped:
            return self.remote.failure
        self._reaped = True
        pidfd = os.pidfd_open(self.pid)
        try:
            poll = select.poll()
            poll.register(pidfd, select.POLLIN)
            if not poll.poll(within_ns // MILLISECOND):
                os.kill(self.pid, signal.SIGKILL)
        finally:
            os.close(pidfd)
        return how_it_ended(os.waitpid(self.pid, 0)[1])


def end_members(members: Sequence[RunningMember], scheduler: RealScheduler) -> None:
    """Tell members to end, hear them out, and see that they have ended."""
    for member in members:
        member.remote.end()
    deadline = time.monotonic_ns() + END_WITHIN_NS
    while any(not member.remote.failure for member in members):
        left = deadline - time.monotonic_ns()
        if left <= 0:
            break
        scheduler.run_once(min(left, 100 * MILLISECOND))
    for member in members:
        member.remote.close(member.reap(max(0, deadline - time.monotonic_ns())))

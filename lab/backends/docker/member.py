"""Members of a lab that live in a container, or beside one."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable
from typing import Final

from lab.backends.docker.containers import Container
from lab.backends.docker.job import Job
from lab.backends.docker.reach import connect, give, status
from lab.backends.real.member import RunningMember
from lab.fabric.namespaces import Namespace
from nodes.agent.remote import Remote

#: A line ends a little before the container does.
_ENDS_WITHIN_MS: Final = 300

#: Runs in a new process, which imports from where this one does.
_BESIDE: Final = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from lab.backends.docker.beside import main
main(*map(int, sys.argv[2:]))
"""


class AgentMember(RunningMember):
    """The process of a node in its container; `how(container)` tells how a container ended."""

    def __init__(self, remote: Remote, container: Container, how: Callable[[Container], str]) -> None:
        super().__init__(remote, container.pid)
        self._container = container
        self._how = how

    def reap(self, within_ns: int) -> str:
        """How it ended, in words: with the container, or by itself."""
        if self._reaped:
            return self.remote.failure
        self._reaped = True
        if self._container.has_ended(_ENDS_WITHIN_MS):
            return self._how(self._container)
        return f"its process in container {self._container.name} ended: docker logs {self._container.name}"


class BesideMember(RunningMember):
    """The process beside a container that has the kernel's stack: our child."""

    def __init__(self, remote: Remote, pid: int, container: Container, how: Callable[[Container], str]) -> None:
        super().__init__(remote, pid)
        self._container = container
        self._how = how

    def reap(self, within_ns: int) -> str:
        """How it ended, in words: because the container did, or by itself."""
        if self._reaped:
            return self.remote.failure
        words = super().reap(within_ns)
        return self._how(self._container) if self._container.has_ended() else words


def agent_answers(namespace: Namespace, container: Container) -> bool:
    """Whether a container's agent is up."""
    with namespace.entered():
        return status(container.agent) is not None


def connect_to_agent(namespace: Namespace, container: Container, job: Job) -> socket.socket | None:
    """The line to a container's agent, which was given a job; None when it does not listen yet."""
    try:
        with namespace.entered():
            return connect(job, container.agent)
    except (ConnectionRefusedError, FileNotFoundError):
        return None


def start_beside(job: Job, container: Container) -> tuple[int, socket.socket]:
    """A new process that does a job beside a container: its number, and the line to it. Not by fork: this process may
    have threads now."""
    ours, theirs = socket.socketpair()
    theirs.set_inheritable(True)
    try:
        argv = [sys.executable, "-c", _BESIDE, json.dumps(sys.path)]
        numbers = [theirs.fileno(), container.pid, os.getpid()]
        pid = os.posix_spawn(sys.executable, [*argv, *map(str, numbers)], os.environ)
    finally:
        theirs.close()
    give(ours, job)
    return pid, ours

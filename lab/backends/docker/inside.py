"""`Inside`: programs of a node run inside its container, as those of `docker exec` do: in its namespaces and control
groups, as its user, with its environment and no more capabilities than it has.

Its seccomp filter is the one thing that does not come with them: nobody but the container's first process can tell it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from lab.fabric import libc
from nodes.base.errors import FailedPrecondition

_CLONE_NEWCGROUP: Final = 0x0200_0000
_CLONE_NEWUTS: Final = 0x0400_0000
_CLONE_NEWIPC: Final = 0x0800_0000
#: What a program enters; the mounts last, for with them this machine's /proc is gone.
_KINDS: Final = {"cgroup": _CLONE_NEWCGROUP, "uts": _CLONE_NEWUTS, "ipc": _CLONE_NEWIPC, "mnt": libc.CLONE_NEWNS}
_PR_CAPBSET_DROP: Final = 24
_PR_SET_NO_NEW_PRIVS: Final = 38
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Inside:
    """Made for the container whose first process is `pid`, by a process that is in its network namespace already; what
    that process forks from now on is in the container's process namespace.

    Raises FailedPrecondition when the container has ended.
    """

    def __init__(self, pid: int) -> None:
        self._open: list[int] = []
        proc = Path(f"/proc/{pid}")
        try:
            self._process = self._keep(os.pidfd_open(pid))
            pairs = (one.partition("=") for one in (proc / "environ").read_text("utf-8", "surrogateescape").split("\0"))
            own = {name: value for name, _, value in pairs if name}
            self.environment: Mapping[str, str] = {"PATH": _PATH, "HOME": "/root", **own}
            status = dict(line.split(":\t", 1) for line in (proc / "status").read_text().splitlines() if ":\t" in line)
            self._user, self._group = int(status["Uid"].split()[1]), int(status["Gid"].split()[1])
            self._groups = [int(one) for one in status["Groups"].split()]
            self._no_new_privileges = status["NoNewPrivs"] == "1"
            bounding = int(status["CapBnd"], 16)
            last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
            self._dropped = [one for one in range(last + 1) if not bounding >> one & 1]
            self._root = self._keep(os.open(proc / "root", os.O_PATH | os.O_CLOEXEC))
            self._namespaces = {
                kind: self._keep(os.open(proc / "ns" / kind, os.O_RDONLY | os.O_CLOEXEC)) for kind in _KINDS
            }
            self._control_groups = [self._keep(one) for one in _control_groups(proc)]
            processes = self._keep(os.open(proc / "ns/pid", os.O_RDONLY | os.O_CLOEXEC))
            self.check()
            libc.setns(processes, libc.CLONE_NEWPID)
        except (OSError, ProcessLookupError):
            self.close()
            raise FailedPrecondition("the container has ended, so nothing can be run in it") from None
        except BaseException:
            self.close()
            raise

    def _keep(self, descriptor: int) -> int:
        self._open.append(descriptor)
        return descriptor

    def has_directory(self, path: str) -> bool:
        """Whether programs find a directory there."""
        try:
            os.close(libc.open_in_root(self._root, path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
        except OSError:
            return False
        return True

    def check(self) -> None:
        """Raises FailedPrecondition when the container has ended."""
        poll = select.poll()
        poll.register(self._process, select.POLLIN)
        if poll.poll(0):
            raise FailedPrecondition("the container has ended, so nothing can be run in it")

    def enter(self) -> None:
        """Have the calling process, a fork of the one that made this, be inside. Raises OSError."""
        for group in self._control_groups:
            os.write(group, b"0")  # the writer
        for kind, descriptor in self._namespaces.items():
            libc.setns(descriptor, _KINDS[kind])
        prctl = ctypes.CDLL(None).prctl
        for capability in self._dropped:
            prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
        if self._no_new_privileges:
            prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        os.setgroups(self._groups)
        os.setresgid(self._group, self._group, self._group)
        os.setresuid(self._user, self._user, self._user)

    def close(self) -> None:
        """Let go of it; programs that left their command's process group go on. Idempotent."""
        while self._open:
            os.close(self._open.pop())


def _control_groups(proc: Path) -> list[int]:
    """The control groups of a process, open for others to join; those that are out of sight are left out."""
    mounts: dict[str, str] = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        kind, _, options = right.split(" ", 2)
        if kind == "cgroup2":
            mounts[""] = left.split()[4]
        elif kind == "cgroup":
            mounts.update(dict.fromkeys(options.split(","), left.split()[4]))
    found = []
    for line in (proc / "cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        mount = mounts.get(controllers.partition(",")[0])
        if mount is not None:
            with contextlib.suppress(OSError):
                found.append(os.open(f"{mount}{path}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC))
    return found

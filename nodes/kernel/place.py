"""`NodePlace`: the process and mount namespaces in which a node's programs run; they all end with the node.

Its pid 1 is a small process that this one forks: it reaps what has lost its parent, and dies with us, whatever kills
us; with it the kernel kills every program of the node. What this process forks meanwhile is in the namespace, too.
Programs see a /proc and a /sys of their own, and an /etc/hosts that knows the nodes of the lab.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from nodes.base.errors import FailedPrecondition, Unsupported

_CLONE_NEWNS: Final = 0x0002_0000
_CLONE_NEWPID: Final = 0x2000_0000
_MS_NOSUID_NODEV_NOEXEC: Final = 2 | 4 | 8
_MS_BIND: Final = 4096
_MS_REC_SLAVE: Final = 16384 | (1 << 19)
_MNT_DETACH: Final = 2
_PR_SET_PDEATHSIG: Final = 1
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class NodePlace:
    """Made by a process without threads. `hosts` are names and addresses in text.

    Raises Unsupported where the kernel does not let us make such namespaces.
    """

    environment: Final[Mapping[str, str]] = {"PATH": _PATH, "HOME": "/root", "LANG": "C.UTF-8"}

    def __init__(self, hosts: Mapping[str, str]) -> None:
        read, write = os.pipe2(os.O_CLOEXEC)
        try:
            _unshare(_CLONE_NEWPID)
            self._init = os.fork()
            if not self._init:
                _be_init(read, write, hosts)
            os.close(write)
            write = -1
            said = os.read(read, 1000)
            if said != b"ready":
                os.waitpid(self._init, 0)
                raise Unsupported(f"programs cannot be run on this node: {said.decode() or 'their pid 1 has ended'}")
            self._mounts = os.open(f"/proc/{self._init}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        finally:
            os.close(read)
            if write >= 0:
                os.close(write)

    def has_directory(self, path: str) -> bool:
        """Whether programs find a directory there: the machine's."""
        return Path(path).is_dir()

    def enter(self) -> None:
        """Have the calling process, a fork of the one that made this, see what programs see. Raises OSError."""
        _libc("setns", self._mounts, _CLONE_NEWNS)

    def check(self) -> None:
        """Raises FailedPrecondition when pid 1 is gone: nothing can be run any more."""
        if os.waitid(os.P_PID, self._init, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            raise FailedPrecondition("pid 1 of this node was killed: its programs are gone, and no more can be run")

    def close(self) -> None:
        """Kill every program, and wait until they are gone."""
        os.kill(self._init, signal.SIGKILL)
        os.waitpid(self._init, 0)
        os.close(self._mounts)


def _be_init(read: int, write: int, hosts: Mapping[str, str]) -> None:
    """Be pid 1. Never returns."""
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != 0:
            os._exit(1)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps for whoever ignores it
        os.setsid()
        _unshare(_CLONE_NEWNS)
        _arrange(hosts)
        os.write(write, b"ready")
    except BaseException as error:
        os.write(write, str(error).encode())
        os._exit(1)
    os.closerange(0, os.sysconf("SC_OPEN_MAX"))
    while True:
        signal.pause()


def _arrange(hosts: Mapping[str, str]) -> None:
    """What programs see. Where the kernel does not allow a mount (masked parts of /proc in a container), the machine's
    stays."""
    _libc("mount", b"none", b"/", None, _MS_REC_SLAVE, None)
    with contextlib.suppress(OSError):
        _libc("mount", b"proc", b"/proc", b"proc", _MS_NOSUID_NODEV_NOEXEC, None)
    with contextlib.suppress(OSError):
        _libc("mount", b"sysfs", b"/sys", b"sysfs", _MS_NOSUID_NODEV_NOEXEC, None)
    with contextlib.suppress(OSError):
        _libc("mount", b"tmpfs", b"/mnt", b"tmpfs", _MS_NOSUID_NODEV_NOEXEC, b"size=1m,mode=755")
        try:
            lines = ["127.0.0.1 localhost", *(f"{address} {name}" for name, address in hosts.items())]
            Path("/mnt/hosts").write_text("\n".join(lines) + "\n")
            _libc("mount", b"/mnt/hosts", b"/etc/hosts", None, _MS_BIND, None)
        finally:
            _libc("umount2", b"/mnt", _MNT_DETACH)


def _unshare(flag: int) -> None:
    try:
        _libc("unshare", flag)
    except OSError as error:
        raise Unsupported(
            f"programs of a node need a process namespace of their own, which is refused here ({error.strerror}); "
            "be root, or in a user namespace"
        ) from None


def _libc(call: str, *arguments: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, call)(*arguments):
        raise OSError(ctypes.get_errno(), f"{call}: {os.strerror(ctypes.get_errno())}")

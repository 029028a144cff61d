"""`Process`: a process told apart from whoever has its number later, by when it was started."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final

#: Fields of /proc/<pid>/stat after the command's name (proc_pid_stat(5)): the state, and the start in ticks after boot.
_STATE: Final = 0
_START: Final = 19
_OWNED: Final = re.compile(r"tcplab-([1-9][0-9]*)-([0-9]+)-([0-9]+)(?:-|$)")
#: Numbers of a process in all its pid namespaces, its own last (proc_pid_status(5)).
_NUMBERS: Final = re.compile(r"^NSpid:\s*(.*)$", re.MULTILINE)
#: The pid namespace that every other one is in (PROC_PID_INIT_INO of include/linux/proc_ns.h).
_FIRST: Final = str(0xEFFFFFFC)
#: States of a process that does nothing any more and whose parent has not asked how it ended.
_DEAD: Final = ("Z", "X", "x")


@dataclass(frozen=True)
class Process:
    """`start` is in clock ticks after boot, `machine` tells this boot and this pid namespace apart from others, `host`
    tells machines apart, where they say (machine-id(5)); it is "" where not."""

    pid: int
    start: int
    machine: str
    host: str = field(default="", compare=False)

    @classmethod
    def of(cls, pid: int) -> Process | None:
        """The running process that has a number now; None when none has."""
        try:
            fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        except OSError:
            return None
        if fields[_STATE] in _DEAD:
            return None
        return cls(pid, int(fields[_START]), machine(), _host())

    @classmethod
    def current(cls) -> Process:
        """This one."""
        found = cls.of(os.getpid())
        assert found is not None
        return found

    @property
    def elsewhere(self) -> bool:
        """Whether it may run where its number means nothing here: in another pid namespace, of a container say, or on
        another machine, with the same home directory say."""
        if self.machine == machine():
            return False
        this_boot = self.machine.partition(" ")[0] == machine().partition(" ")[0]
        return this_boot or (self.host != _host() and self.host != "" and _host() != "")

    @property
    def namespace(self) -> str:
        """The number of its pid namespace."""
        return _namespace(self.machine)

    @property
    def running(self) -> bool:
        """Whether it is still there."""
        return Process.of(self.pid) == self

    def open(self) -> int | None:
        """A descriptor of it (pidfd_open(2)), readable when it has ended; None when it has."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return None
        if self.running:  # so the descriptor is that of this process, not of one that took its number
            return descriptor
        os.close(descriptor)
        return None

    def kill(self) -> None:
        """End it at once; nothing happens when it has ended."""
        descriptor = self.open()
        if descriptor is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            os.close(descriptor)

    def wait(self, within_ms: int) -> bool:
        """Whether it ends within so many wall milliseconds."""
        descriptor = self.open()
        if descriptor is None:
            return True
        try:
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            return bool(poll.poll(within_ms))
        finally:
            os.close(descriptor)


def owned_name() -> str:
    """A name for what the calling process makes outside itself, such as a directory; it tells whose it is, so that it
    can be removed when the process was killed (`ended`). More may be added after a hyphen."""
    process = Process.of(os.getpid())
    if process is None:
        return "tcplab"  # a system without /proc
    return f"tcplab-{process.pid}-{process.start}-{process.namespace}"


def ended(names: Iterable[str], of_this_kernel: bool = False) -> list[str]:
    """Those of the names (`owned_name`) whose makers have ended. Where all the names are `of_this_kernel`, a maker in
    another pid namespace, as of a container, is looked for too, from the machine's first pid namespace, which shows
    every process. Nobody can tell elsewhere, or who is not shown processes of others (`hidepid` of proc(5))."""
    if Process.of(1) is None:
        return []
    found = []
    seen: set[tuple[int, int, str]] | None = None
    for name in names:
        match = _OWNED.match(name)
        if match is None:
            continue
        pid, start, namespace = int(match[1]), int(match[2]), match[3]
        if namespace == _namespace(machine()):
            gone = not Process(pid, start, machine()).running
        elif of_this_kernel and _namespace(machine()) == _FIRST:
            if seen is None:
                seen = _seen()
            gone = seen.isdisjoint({(pid, start, namespace), (pid, start, "")})
        else:
            gone = False
        if gone:
            found.append(name)
    return found


def _seen() -> set[tuple[int, int, str]]:
    """Processes that are seen: number in their own pid namespace, start, and this namespace ("": not to be told)."""
    found = set()
    for entry in Path("/proc").iterdir():
        process = Process.of(int(entry.name)) if entry.name.isdecimal() else None
        if process is None:
            continue
        namespace = ""
        with contextlib.suppress(OSError):
            numbers = _NUMBERS.search((entry / "status").read_text("utf-8", "replace"))
            with contextlib.suppress(PermissionError):
                namespace = _namespace(str((entry / "ns/pid").readlink()))
            if numbers is not None:
                found.add((int(numbers[1].split()[-1]), process.start, namespace))
    return found


@cache
def _host() -> str:
    """The machine-id(5); "" where there is none."""
    try:
        return Path("/etc/machine-id").read_text("utf-8").strip()
    except (OSError, ValueError):
        return ""


def _namespace(machine: str) -> str:
    return machine.rpartition("[")[2].rstrip("]")


@cache
def machine() -> str:
    """This boot and this pid namespace: where numbers of processes mean what they mean here."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text("utf-8").strip()
    return f"{boot} {Path('/proc/self/ns/pid').readlink()}"

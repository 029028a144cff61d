"""How full the machine and this process have been, from /proc and getrusage."""

from __future__ import annotations

import os
import resource
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nodes.base.clock import SECOND

_STAT: Final = Path("/proc/stat")


@dataclass(frozen=True)
class LoadShares:
    """Shares, in per mille, of `elapsed_ns`. `process` is of one core; `machine` (busy) and `steal` (what the host of a
    virtual machine gave to others) of all `cores`."""

    elapsed_ns: int
    cores: int
    process: int
    machine: int
    steal: int


class Load:
    """Counts from its making on."""

    def __init__(self) -> None:
        self._started_ns = time.monotonic_ns()
        self._process = _process_ns()
        self._machine = _machine_ticks()

    def since_start(self) -> LoadShares:
        """The shares so far."""
        elapsed = max(1, time.monotonic_ns() - self._started_ns)
        busy, steal, total = (now - then for now, then in zip(_machine_ticks(), self._machine, strict=True))
        total = max(1, total)
        process = (_process_ns() - self._process) * 1000 // elapsed
        return LoadShares(elapsed, os.cpu_count() or 1, process, 1000 * busy // total, 1000 * steal // total)


def _process_ns() -> int:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return round((usage.ru_utime + usage.ru_stime) * SECOND)


def _machine_ticks() -> tuple[int, int, int]:
    """Busy, stolen and all ticks of all cores: the first line of /proc/stat (proc(5))."""
    with _STAT.open() as file:
        user, nice, system, idle, iowait, irq, softirq, steal, *_ = map(int, file.readline().split()[1:])
    busy = user + nice + system + irq + softirq + steal
    return busy, steal, busy + idle + iowait

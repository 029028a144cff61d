"""The backends there are, by the word that selects one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from lab.backends.base import Lab
from lab.backends.sim import SimLab
from lab.topology.model import Topology
from nodes.base.errors import InvalidArgument, Unsupported

SIM: Final = SimLab.backend
NETNS: Final = "netns"
BACKENDS: Final = (SIM, NETNS)
#: Those whose time passes by itself.
REAL: Final = (NETNS,)

#: Called with what is being made, how many of it are, and how many there will be.
Progress = Callable[[str, int, int], None]


def check_backend(backend: str) -> None:
    """Raises InvalidArgument for a word that is no backend."""
    if backend not in BACKENDS:
        raise InvalidArgument(f"backend: no {backend[:80]!r}; there are {', '.join(BACKENDS)}", "backend")


def make_lab(
    backend: str,
    name: str,
    topology: Topology,
    seed: int,
    spool: Path,
    level: int,
    capture: bool,
    progress: Progress | None = None,
) -> Lab:
    """A running lab. Raises InvalidArgument, Unsupported, AlreadyExists, NotFound; then nothing is left behind."""
    check_backend(backend)
    if backend == SIM:
        return SimLab(name, topology, seed, spool, level, capture)
    try:
        from lab.backends.netns.lab import NetnsLab
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("pyroute2", "msgpack"):
            raise
        raise Unsupported(
            f"backend netns needs the Python package {error.name}: pip install 'tcplab[netns]'; sim needs nothing"
        ) from None
    return NetnsLab(name, topology, seed, spool, level, capture, progress)

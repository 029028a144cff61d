"""The backends there are, by the word that selects one."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Final

from lab.backends.base import Lab, Progress
from lab.backends.sim import SimLab
from lab.topology.model import Topology
from nodes.base.errors import InvalidArgument, Unsupported

SIM: Final = SimLab.backend
NETNS: Final = "netns"
MININET: Final = "mininet"
DOCKER: Final = "docker"
#: Where the class of each backend is. It is loaded when it is asked for: its packages may be missing.
_CLASSES: Final = {
    SIM: ("lab.backends.sim", "SimLab"),
    NETNS: ("lab.backends.netns.lab", "NetnsLab"),
    MININET: ("lab.backends.mininet.lab", "MininetLab"),
    DOCKER: ("lab.backends.docker.lab", "DockerLab"),
}
#: Python packages that not everybody has; the extra of the backend that wants one has them.
_OPTIONAL: Final = ("pyroute2", "msgpack", "docker")
BACKENDS: Final = tuple(_CLASSES)
#: Those whose time passes by itself.
REAL: Final = BACKENDS[1:]


def check_backend(backend: str) -> None:
    """Raises InvalidArgument for a word that is no backend."""
    if backend not in BACKENDS:
        raise InvalidArgument(f"backend: no {backend[:80]!r}; there are {', '.join(BACKENDS)}", "backend")


def lab_class(backend: str) -> type[Lab]:
    """The class of a backend's labs. Raises InvalidArgument; Unsupported when a Python package is missing."""
    check_backend(backend)
    module, name = _CLASSES[backend]
    try:
        found: type[Lab] = getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _OPTIONAL:
            raise
        raise Unsupported(
            f"backend {backend} needs the Python package {error.name}: pip install 'tcplab[{backend}]'; "
            "sim needs nothing"
        ) from None
    return found


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
    return lab_class(backend)(name, topology, seed, spool, level, capture, progress)

"""What this machine can do for a lab in network namespaces, asked of the kernel."""

from __future__ import annotations

from collections.abc import Sequence

from lab.backends.base import Capability
from lab.fabric.namespaces import Namespace
from lab.topology.model import Topology
from nodes.base.errors import TcplabError, Unsupported


def capabilities() -> Sequence[Capability]:
    """What there is, and why not."""
    try:
        Namespace().close()
    except TcplabError as error:
        return [Capability("network-namespaces", False, str(error))]
    return [Capability("network-namespaces", True)]


def require(topology: Topology) -> None:
    """Raise Unsupported, naming what this machine lacks for the topology."""
    missing = [one for one in capabilities() if not one.available]
    if missing:
        raise Unsupported("; ".join(one.reason for one in missing))

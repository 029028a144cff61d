"""A lab in network namespaces of this machine: real interfaces, real time, our stack and the kernel's side by side."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from lab.backends.base import Capability, Progress
from lab.backends.real.lab import RealLab
from lab.fabric.capabilities import capabilities, require
from lab.fabric.fabric import Fabric
from lab.fabric.rootless import no_root


class NetnsLab(RealLab):
    """Every node in a namespace of its own, which has no name and goes with the lab's processes."""

    backend = "netns"

    def _plumb(self, direct: Collection[str], progress: Progress) -> Fabric:
        require(self.topology)
        return Fabric(self.topology, direct, progress)

    @classmethod
    def missing(cls) -> str:
        return no_root()

    @classmethod
    def capabilities(cls) -> Sequence[Capability]:
        return capabilities()

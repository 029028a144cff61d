"""A lab whose hosts, links and switches are Mininet's."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence
from typing import Any, Final

from lab.backends.base import Capability, Progress
from lab.backends.mininet import library, open_vswitch
from lab.backends.mininet.fabric import MininetFabric
from lab.backends.mininet.switches import bridge_missing
from lab.backends.real.lab import RealLab
from lab.fabric.capabilities import capabilities, require
from lab.fabric.rootless import no_root
from nodes.base.clock import MILLISECOND, SECOND
from nodes.base.errors import FailedPrecondition, Unsupported

#: A spanning tree takes two forward delays, 4 s, and a tree that has to change as much again.
_SETTLED_WITHIN_NS: Final = 30 * SECOND
_LOOK_EVERY_NS: Final = 200 * MILLISECOND


class MininetLab(RealLab):
    """Its process holds the Mininet object, whose links our link engine joins; switches forward as Mininet's do."""

    backend = "mininet"
    own_switches = False

    def _plumb(self, direct: Collection[str], progress: Progress) -> MininetFabric:
        missing = _programs_missing()
        if missing:
            raise Unsupported(missing)
        require(self.topology)
        return MininetFabric(self.topology, direct, progress)

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        if any(node.stp for node in self.topology.nodes.values()):
            self._settle()

    def _settle(self) -> None:
        """Wait until there is a spanning tree: a lab is there when its frames arrive. Raises FailedPrecondition."""
        fabric = self._plumbing
        assert isinstance(fabric, MininetFabric)
        deadline = self.now() + _SETTLED_WITHIN_NS
        while not fabric.settled():
            if self.now() > deadline:
                self.close_lab()
                self.sink.path.unlink()
                raise FailedPrecondition("the switches do not agree on a spanning tree")
            self._scheduler.run_once(_LOOK_EVERY_NS)

    @classmethod
    def missing(cls) -> str:
        return no_root() or _programs_missing()

    @classmethod
    def capabilities(cls) -> Sequence[Capability]:
        bridge, ovs = bridge_missing(), open_vswitch.missing()
        datapath = "" if ovs else f"datapath: {'kernel' if open_vswitch.kernel_datapath() else 'user space'}"
        return [
            *capabilities(),
            Capability("switch-linux-bridge", not bridge, bridge),
            Capability("switch-open-vswitch", not ovs, ovs or datapath),
        ]


def _programs_missing() -> str:
    absent = [name for name in ("mnexec", "ifconfig", "bash") if shutil.which(name) is None]
    if not absent:
        return ""
    return f"Mininet needs {' and '.join(absent)}: {library.HOW_TO_GET}; backend netns needs neither"

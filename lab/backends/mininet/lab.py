"""A lab whose hosts, links and switches are Mininet's."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence

from lab.backends.base import Capability, Progress
from lab.backends.mininet import library, open_vswitch
from lab.backends.mininet.fabric import MininetFabric
from lab.backends.mininet.switches import bridge_missing
from lab.backends.real.lab import RealLab
from lab.fabric.capabilities import capabilities, require
from lab.fabric.rootless import become_root
from nodes.base.errors import Unsupported


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

    @classmethod
    def missing(cls) -> str:
        try:
            become_root()
        except Unsupported as error:
            return str(error)
        return _programs_missing()

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

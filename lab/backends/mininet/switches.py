"""What a lab's switches are on this machine."""

from __future__ import annotations

import shutil
from typing import Final

from lab.backends.mininet import open_vswitch
from lab.topology.file import AUTO, LINUX_BRIDGE, OPEN_VSWITCH
from nodes.base.errors import Unsupported

OVS_KERNEL: Final = "ovs-kernel"
OVS_USER: Final = "ovs-user"


def bridge_missing() -> str:
    """Why a switch cannot be the kernel's bridge; "" when it can."""
    if shutil.which("brctl") is None:
        return "Mininet's LinuxBridge needs brctl: apt-get install bridge-utils"
    return ""


def switch_of(asked: str) -> str:
    """What a switch is that is asked to be `asked`: LINUX_BRIDGE, or Open vSwitch with the kernel's datapath or its own
    (OVS_KERNEL, OVS_USER). Raises Unsupported."""
    bridge, ovs = bridge_missing(), open_vswitch.missing()
    if asked != OPEN_VSWITCH and not bridge:
        return LINUX_BRIDGE
    if asked != LINUX_BRIDGE and not ovs:
        return OVS_KERNEL if open_vswitch.kernel_datapath() else OVS_USER
    if asked == AUTO:
        raise Unsupported(f"a switch is one of two: {bridge}; {ovs}")
    raise Unsupported(f"{bridge or ovs}; switch: auto takes what there is")

"""What a lab's Mininet is made of: nodes whose shells die with the lab's process, and links whose interfaces exist."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from functools import partial
from os import environ, getpid
from typing import Any, Final

from lab.backends.mininet.library import Host, Link, LinuxBridge, Node, OVSBridge, Switch
from lab.backends.real.fork import die_with
from lab.topology.model import Interface
from nodes.base.errors import FailedPrecondition
from nodes.packet.address import address_text

#: Role and state of a port, as `ovs-vsctl` lists them.
_RSTP_PORT: Final = re.compile(r"rstp_port_role=(\w+).*rstp_port_state=(\w+)")


class LabNode(Node):  # type: ignore[misc]  # Mininet has no types
    """A node of the lab's Mininet. `environment` adds to that of its shell."""

    environment: Mapping[str, str] = {}

    def _popen(self, cmd: list[str], **params: Any) -> subprocess.Popen[bytes]:
        env = {**environ, **self.environment}
        return subprocess.Popen(cmd, preexec_fn=partial(die_with, getpid()), env=env, **params)


class LabHost(LabNode, Host):  # type: ignore[misc]
    """A host or router of any kind."""


class LabBridge(LabNode, LinuxBridge):  # type: ignore[misc]
    """A switch: the kernel's bridge, which says nothing by itself but, if that is asked, for its spanning tree."""

    def start(self, _: object) -> None:
        prepare = f"echo 0 >/sys/class/net/{self}/bridge/multicast_snooping"
        if self.stp:
            # What a lab waits for: the shortest that IEEE 802.1D allows.
            prepare += f" && brctl sethello {self} 1 && brctl setmaxage {self} 6 && brctl setfd {self} 2"
            prepare += f" && brctl stp {self} on"
        ports = "; ".join(f"brctl addif {self} {one}" for one in self._ports())
        said = self.cmd(f"brctl addbr {self} && {prepare} && ifconfig {self} up; {ports}").strip()
        if said:
            raise FailedPrecondition(f"switch {self}: {said}")

    def settled(self) -> bool:
        """Whether each port forwards or blocks."""
        said = self.cmd(f"cat /sys/class/net/{self}/brif/*/state").split()
        return not {"1", "2"} & {*said}  # listening, learning (linux/if_bridge.h)

    def _ports(self) -> list[str]:
        return [str(one) for one in self.intfList() if one.name != "lo"]


class LabOpenVSwitch(LabNode, OVSBridge):  # type: ignore[misc]
    """A switch: a bridge of the lab's own Open vSwitch. To be made with `environment` set."""

    @classmethod
    def setup(cls) -> None:
        """Mininet looks for the machine's here; the lab has made its own."""

    @classmethod
    def isOldOVS(cls) -> bool:
        return False

    def bridgeOpts(self) -> str:
        options: str = super().bridgeOpts()
        # The rapid protocol understands the other and is done in seconds.
        return options.replace("stp_enable=true", "rstp_enable=true")

    def settled(self) -> bool:
        """Whether each port forwards or blocks."""
        said = self.cmd("ovs-vsctl -- --columns=rstp_status list port")
        ports = _RSTP_PORT.findall(said)
        return bool(ports) and all(state == "Forwarding" or role in ("Alternate", "Backup") for role, state in ports)

    def intfOpts(self, intf: Any) -> str:
        options: str = super().intfOpts(intf)
        link = intf.link
        if self.stp and not all(isinstance(one.node, Switch) for one in (link.intf1, link.intf2)):
            # Behind it is no switch: there is nothing to wait for.
            options += f" -- set Port {intf} other_config:rstp-port-admin-edge=true"
        return options


class LabLink(Link):  # type: ignore[misc]
    """A link between interfaces that exist: `ends`, called in Mininet as `names` say."""

    def __init__(
        self, node1: Node, node2: Node, ends: tuple[Interface, Interface], names: tuple[str, str], **params: Any
    ) -> None:
        params |= {"port1": ends[0].index + node1.portBase, "port2": ends[1].index + node2.portBase}
        params |= {"addr1": ends[0].mac.hex(":") or None, "addr2": ends[1].mac.hex(":") or None}
        # They are up: saying so again would cost a command each.
        super().__init__(node1, node2, intfName1=names[0], intfName2=names[1], up=None, **params)
        for intf, end in zip((self.intf1, self.intf2), ends, strict=True):
            if end.address:
                intf.ip, intf.prefixLen = address_text(end.address), end.prefix_len

    @classmethod
    def makeIntfPair(cls, *_: object, **__: object) -> None:
        """The lab's fabric has made them."""

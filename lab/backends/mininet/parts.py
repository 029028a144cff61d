"""What a lab's Mininet is made of: nodes whose shells die with the lab's process, and links whose interfaces exist."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from functools import partial
from os import environ, getpid
from typing import Any

from lab.backends.mininet.library import Host, Link, LinuxBridge, Node, OVSBridge
from lab.backends.real.fork import die_with
from lab.topology.model import Interface
from nodes.base.errors import FailedPrecondition
from nodes.packet.address import address_text


class LabNode(Node):  # type: ignore[misc]  # Mininet has no types
    """A node of the lab's Mininet. `environment` adds to that of its shell."""

    environment: Mapping[str, str] = {}

    def _popen(self, cmd: list[str], **params: Any) -> subprocess.Popen[bytes]:
        env = {**environ, **self.environment}
        return subprocess.Popen(cmd, preexec_fn=partial(die_with, getpid()), env=env, **params)


class LabHost(LabNode, Host):  # type: ignore[misc]
    """A host or router of any kind."""


class LabBridge(LabNode, LinuxBridge):  # type: ignore[misc]
    """A switch: the kernel's bridge, which says nothing by itself."""

    def start(self, _: object) -> None:
        quiet = f"echo 0 >/sys/class/net/{self}/bridge/multicast_snooping"
        ports = "; ".join(f"brctl addif {self} {one}" for one in self.intfList() if one.name != "lo")
        said = self.cmd(f"brctl addbr {self} && {quiet} && ifconfig {self} up; {ports}").strip()
        if said:
            raise FailedPrecondition(f"switch {self}: {said}")


class LabOpenVSwitch(LabNode, OVSBridge):  # type: ignore[misc]
    """A switch: a bridge of the lab's own Open vSwitch. To be made with `environment` set."""

    @classmethod
    def setup(cls) -> None:
        """Mininet looks for the machine's here; the lab has made its own."""

    @classmethod
    def isOldOVS(cls) -> bool:
        return False


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

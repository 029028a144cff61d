"""`MininetFabric`: a topology as a running Mininet network, and the far ends of all its interfaces."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
from collections.abc import Collection
from typing import Any, Final

from lab.backends.mininet.library import Mininet
from lab.backends.mininet.open_vswitch import OpenVSwitch
from lab.backends.mininet.parts import LabBridge, LabHost, LabLink, LabOpenVSwitch
from lab.backends.mininet.root import PrivateRoot
from lab.backends.mininet.switches import OVS_KERNEL, switch_of
from lab.fabric.fabric import Fabric, Progress
from lab.fabric.namespaces import Namespace
from lab.fabric.netlink import Netlink
from lab.topology.file import LINUX_BRIDGE
from lab.topology.model import SWITCH, Interface, Node, Topology
from nodes.base.errors import FailedPrecondition, InvalidArgument, Unsupported

#: A bridge is an interface, and each of its own is called after it: `s1-eth0`. Linux' names have 15 bytes.
_LONGEST_SWITCH: Final = 10
_LONGEST_NAME: Final = 15


class MininetFabric(Fabric):
    """Nodes are hosts of `net`, a Mininet object, links are its links, and so are switches, which are in a network of
    their own (`PrivateRoot`). Mininet calls an interface `h1-eth0` that is `eth0` on node h1; in the node both names
    work."""

    net: Any

    def __init__(self, topology: Topology, direct: Collection[str], progress: Progress) -> None:
        for node in topology.nodes.values():
            if node.kind == SWITCH and len(node.name) > _LONGEST_SWITCH:
                raise InvalidArgument(
                    f"{node.name}: on backend mininet the name of a switch has {_LONGEST_SWITCH} characters at most, "
                    f"because its interfaces are called after it",
                    f"nodes.{node.name}",
                )
        self._ovs: OpenVSwitch | None = None
        super().__init__(topology, direct, progress)

    def _make_nodes(self, topology: Topology, progress: Progress) -> None:
        root = self._root = self._close.enter_context(contextlib.closing(PrivateRoot()))
        Mininet.inited = True  # or it would write the machine's sysctls (fixLimits)
        with root.entered():
            self.net = Mininet(controller=None, build=False)
            self._close.callback(self._end, root)
            switches = [node for node in topology.nodes.values() if node.kind == SWITCH]
            for number, node in enumerate(topology.nodes.values(), 1):
                self._add_node(node, number)
                progress("nodes of Mininet", number, len(topology.nodes))
            for node in topology.nodes.values():
                if node.kind != SWITCH:
                    self._make_interfaces(node)
                    self._name_interfaces(node)
            with Netlink() as netlink, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                for node in switches:
                    self._make_ports(node, netlink, probe)
            for wire in topology.links.values():
                names = (_name_in_mininet(wire.a), _name_in_mininet(wire.b))
                self.net.addLink(wire.a.node, wire.b.node, cls=LabLink, ends=(wire.a, wire.b), names=names)
            for switch in self.net.switches:
                switch.start(())

    def _add_node(self, node: Node, number: int) -> None:
        try:
            if node.kind != SWITCH:
                host = self.net.addHost(node.name, cls=LabHost)
                self.nodes[node.name] = self._close.enter_context(contextlib.closing(Namespace.of(host.pid)))
            else:
                self._add_switch(node, f"{number:x}")
        except (IndexError, SystemExit) as error:  # Mininet's words are on standard error
            raise FailedPrecondition(f"Mininet does not start node {node.name}: {error}") from None

    def _add_switch(self, node: Node, dpid: str) -> None:
        kind = switch_of(node.switch)
        if kind == LINUX_BRIDGE:
            self.net.addSwitch(node.name, cls=LabBridge, dpid=dpid, stp=node.stp)
            return
        if self._ovs is None:
            self._ovs = self._close.enter_context(contextlib.closing(OpenVSwitch()))
        datapath = "kernel" if kind == OVS_KERNEL else "user"
        own = type("LabOpenVSwitch", (LabOpenVSwitch,), {"environment": self._ovs.environment})
        self.net.addSwitch(node.name, cls=own, dpid=dpid, datapath=datapath, stp=node.stp)

    def _name_interfaces(self, node: Node) -> None:
        """Have Mininet's names of a node's interfaces work in it."""
        with self.nodes[node.name].entered(), Netlink() as netlink:
            for interface in node.interfaces:
                name = _name_in_mininet(interface)
                if name != interface.name:
                    with contextlib.suppress(Unsupported):
                        netlink.also_call(f"interface {interface}", interface.name, name)

    def _make_ports(self, node: Node, netlink: Netlink, probe: socket.socket) -> None:
        """The interfaces of a switch."""
        for interface in node.interfaces:
            mac = b"\x06" + len(self.ports).to_bytes(5, "big")
            made = dataclasses.replace(interface, name=_name_in_mininet(interface), mac=mac)
            self._make_interface(netlink, probe, made, True)
            self.ports[str(interface)] = self.ports.pop(str(made))

    def settled(self) -> bool:
        """Whether the switches that speak the spanning tree protocol know which links to block. They speak by the
        link engine."""
        with self._root.entered():
            return all(one.settled() for one in self.net.switches if one.stp)

    def _end(self, root: PrivateRoot) -> None:
        with root.entered():
            for node in self.net.values():
                node.terminate()


def _name_in_mininet(interface: Interface) -> str:
    name = f"{interface.node}-{interface.name}"
    return name if len(name) <= _LONGEST_NAME else interface.name

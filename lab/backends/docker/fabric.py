"""`DockerFabric`: the interfaces of a topology, in the network namespaces of containers."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Collection

from lab.backends.docker.containers import Containers
from lab.backends.docker.leftovers import remove_ended
from lab.fabric.fabric import Fabric, Progress
from lab.fabric.host import configure_kernel, prepare_kernel, quieten
from lab.fabric.links import set_up
from lab.fabric.namespaces import Namespace
from lab.fabric.netlink import IFF_UP, Netlink
from lab.topology.model import LINUX, SWITCH, Node, Topology


class DockerFabric(Fabric):
    """`containers` are the nodes. Docker knows nothing of their networks."""

    containers: Containers

    def __init__(
        self, client: object, lab: str, topology: Topology, direct: Collection[str], progress: Progress
    ) -> None:
        self._client = client
        self._lab = lab
        super().__init__(topology, direct, progress)

    def _make_nodes(self, topology: Topology, progress: Progress) -> None:
        remove_ended(self._client)
        self.containers = self._close.enter_context(
            contextlib.closing(Containers(self._client, self._lab, topology, progress))
        )
        self._close.callback(self._close_namespaces)
        for node in topology.nodes.values():
            if node.kind != SWITCH:
                self.nodes[node.name] = Namespace.of(self.containers.nodes[node.name].pid)
                self._make_interfaces(node)

    def unplug(self, node: Node) -> None:
        """A node's container has ended: nothing comes from its interfaces any more, nor from the kernel behind them."""
        with self.nodes[node.name].entered(), Netlink() as netlink:
            for interface in node.interfaces:
                netlink.set_link(f"interface {interface}", interface.name, change=IFF_UP)

    def rewire(self, node: Node) -> None:
        """A node's container has another network namespace: its interfaces move there, their far ends stay."""
        old = self.nodes[node.name]
        new = Namespace.of(self.containers.nodes[node.name].pid)
        try:
            with old.entered(), Netlink() as netlink:
                for interface in node.interfaces:
                    target = [("IFLA_NET_NS_FD", new.descriptor)]
                    netlink.set_link(f"interface {interface}", interface.name, target)
        except BaseException:
            new.close()
            raise
        self.nodes[node.name] = new
        old.close()
        kernel = node.kind == LINUX
        with new.entered(), Netlink() as netlink, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            prepare_kernel() if kernel else quieten()
            for interface in node.interfaces:
                self._offloads.turn_off(probe, interface.name)
                set_up(probe, interface.name)
            if kernel:
                configure_kernel(netlink, node)

    def _close_namespaces(self) -> None:
        for one in self.nodes.values():
            one.close()

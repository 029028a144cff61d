"""`Fabric`: the namespaces and interfaces of a topology, and the links that the kernel carries."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Callable, Collection
from itertools import count

from lab.fabric import bridge
from lab.fabric.host import configure_kernel, prepare_kernel, quieten
from lab.fabric.links import make_pair, set_up
from lab.fabric.namespaces import Namespace
from lab.fabric.netlink import Netlink
from lab.fabric.offloads import Offloads
from lab.topology.model import LINUX, SWITCH, Interface, Node, Topology
from nodes.base.errors import AlreadyExists, NotFound, ResourceExhausted, TcplabError, Unsupported

#: Called with what is being made, how many of it are, and how many there will be.
Progress = Callable[[str, int, int], None]


class Fabric:
    """Builds everything, or raises and leaves nothing; `close` takes all of it down.

    `engine` is the namespace of the link engine, `nodes` those of hosts and routers of every kind, `ports` the far end
    there of each interface: "h1:eth0" -> "e1". Switches live in the engine, so they have neither. The links in
    `direct` are carried by the kernel until `unsplice`.

    No namespace has a name, and nothing outside of them is touched: they go with the last process that has them open
    or is in them. Raises Unsupported, saying what the machine lacks, and what the kernel says about a name or a value.
    """

    def __init__(self, topology: Topology, direct: Collection[str], progress: Progress | None = None) -> None:
        self._topology = topology
        self._spliced: dict[str, str] = {}
        self._close = contextlib.ExitStack()
        self.nodes: dict[str, Namespace] = {}
        self.ports: dict[str, str] = {}
        self._far_ends = count(1)
        with contextlib.ExitStack() as undo:
            undo.callback(self.close)
            try:
                self.engine = self._namespace()
                with self.engine.entered():
                    quieten()
                    bridge.prepare()
                    self._netlink = self._close.enter_context(Netlink())
                    self._probe = self._close.enter_context(_probe())
                self._offloads = Offloads()
                self._make_nodes(topology, progress or _say_nothing)
                for link in topology.links:
                    if link in direct:
                        self.splice(link)
            except OSError as error:
                if error.errno == errno.EMFILE:
                    nodes = sum(node.kind != SWITCH for node in topology.nodes.values())
                    raise ResourceExhausted(
                        f"{nodes} nodes take more open files than this process may have (ulimit -n)"
                    ) from error
                raise Unsupported(f"the kernel does not let the lab be built: {error}") from error
            undo.pop_all()

    def _namespace(self) -> Namespace:
        return self._close.enter_context(contextlib.closing(Namespace()))

    def _make_nodes(self, topology: Topology, progress: Progress) -> None:
        """Have a namespace for each node, in `nodes`, with its interfaces."""
        nodes = [node for node in topology.nodes.values() if node.kind != SWITCH]
        for number, node in enumerate(nodes, 1):
            self.nodes[node.name] = self._namespace()
            self._make_interfaces(node)
            progress("namespaces", number, len(nodes))

    def _make_interfaces(self, node: Node) -> None:
        """The interfaces of a node, in its namespace; for the kernel's stack, its addresses, routes and sysctls."""
        kernel = node.kind == LINUX
        with self.nodes[node.name].entered(), Netlink() as netlink, _probe() as probe:
            prepare_kernel() if kernel else quieten()
            for interface in node.interfaces:
                self._make_interface(netlink, probe, interface, kernel)
            if kernel:
                configure_kernel(netlink, node)

    def _make_interface(self, netlink: Netlink, probe: socket.socket, interface: Interface, kernel: bool) -> None:
        """One interface, in the namespace of `netlink` and `probe`, and its far end. Both are up."""
        far = f"e{next(self._far_ends)}"
        make_pair(netlink, interface, self.engine, far, kernel)
        self.ports[str(interface)] = far
        self._offloads.turn_off(probe, interface.name)
        self._offloads.turn_off(self._probe, far)
        set_up(self._probe, far)
        set_up(probe, interface.name)

    def splice(self, link: str) -> None:
        """Have the kernel carry a link. Raises NotFound, AlreadyExists when it does, Unsupported when an end is a
        switch."""
        wire = self._topology.links.get(link)
        if wire is None:
            raise NotFound(f"there is no link {link}; there are {', '.join(self._topology.links)}")
        if link in self._spliced:
            raise AlreadyExists(f"link {link} is carried by the kernel already")
        try:
            ends = (self.ports[str(wire.a)], self.ports[str(wire.b)])
        except KeyError:
            raise Unsupported(f"link {link} ends at a switch, so the link engine carries it") from None
        name = f"b{list(self._topology.links).index(link) + 1}"
        self._spliced[link] = name
        try:
            bridge.splice(self._netlink, f"link {link}", name, ends)
        except TcplabError:
            self.unsplice(link)
            raise

    def unsplice(self, link: str) -> None:
        """Let go of a link that the kernel carries. Nothing happens when it does not."""
        name = self._spliced.pop(link, None)
        if name is not None:
            with contextlib.suppress(NotFound):
                bridge.unsplice(self._netlink, f"link {link}", name)

    def close(self) -> None:
        """Take everything down: the kernel does so once no process is in it. Idempotent."""
        self._close.close()


def _say_nothing(what: str, done: int, of: int) -> None:
    """Nobody listens."""


def _probe() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

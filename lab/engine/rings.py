"""How many frames can wait in the packet sockets of a lab."""

from __future__ import annotations

from typing import Final

from lab.topology.model import Topology
from nodes.drivers.packet_socket import RING_FRAMES

#: In all sockets together: 52 MB of kernel memory at MTU 1500, when there are not too many for that.
_ALL: Final = 32768
#: In one: room for the time in which others have the processor; 0.1 s at 40,000 a second.
_MOST: Final = 4096


def ring_frames(topology: Topology) -> int:
    """For each socket; a lab has two for each interface, the node's and the link engine's."""
    interfaces = sum(len(node.interfaces) for node in topology.nodes.values())
    return min(max(_ALL // max(1, 2 * interfaces), RING_FRAMES), _MOST)

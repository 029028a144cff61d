"""The process of the link engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from lab.engine.engine import Engine
from lab.engine.netem import Netem
from lab.engine.port import Sockets
from lab.topology.model import Topology
from nodes.agent.member import Member
from nodes.base.random import Randomness
from nodes.drivers.packet_socket import RING_FRAMES, PacketSocket, close_sockets, open_sockets

#: What waits for the engine: so many frames in all sockets together, 26 MB at MTU 1500, and in one. It is room for
#: the time in which others have the processor: 4096 frames are 0.1 s at 40,000 a second.
_ALL_RING_FRAMES: Final = 16384
_MOST_RING_FRAMES: Final = 4096


class PacketSockets(Sockets):
    """Packet sockets in the calling thread's namespace, with room for `ring_frames` in each."""

    def __init__(self, ring_frames: int) -> None:
        self._ring_frames = ring_frames

    def open(self, devices: Sequence[str]) -> Sequence[PacketSocket]:
        return open_sockets(devices, ring_frames=self._ring_frames)

    def close(self, sockets: Sequence[Any]) -> None:
        close_sockets(sockets)


def serve(
    member: Member, topology: Topology, ports: Mapping[str, str], direct: frozenset[str], randomness: Randomness
) -> None:
    """Carry the links, but for those in `direct` (which the kernel carries, by its netem if they say so), until told
    to end.

    The calling thread is in the engine's namespace; `ports` has the far end of each host's interface there.
    """
    sockets = PacketSockets(min(max(_ALL_RING_FRAMES // max(1, len(ports)), RING_FRAMES), _MOST_RING_FRAMES))
    engine = Engine(topology, ports, member.scheduler, randomness, member.sink, member.subscribe, sockets, Netem())
    try:
        engine.carry_all((link for link in topology.links if link not in direct), since_ns=0)
        for link in topology.links:
            engine.shape(link)
        engine.offer_to(member.offer)
        for one in engine.links.values():
            one.forward.emit_link_event()
            one.backward.emit_link_event()
        member.tell("ready")
        member.run()
    finally:
        engine.close()

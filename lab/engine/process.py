"""The process of the link engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lab.engine.engine import Engine
from lab.engine.netem import Netem
from lab.engine.port import Sockets
from lab.engine.rings import ring_frames
from lab.topology.model import Topology
from nodes.agent.member import Member
from nodes.base.random import Randomness
from nodes.drivers.packet_socket import PacketSocket, close_sockets, open_sockets


class PacketSockets(Sockets):
    """Packet sockets in the calling thread's namespace, with room for so many frames in each."""

    def __init__(self, frames: int) -> None:
        self._frames = frames

    def open(self, devices: Sequence[str]) -> Sequence[PacketSocket]:
        return open_sockets(devices, ring_frames=self._frames)

    def close(self, sockets: Sequence[Any]) -> None:
        close_sockets(sockets)


def serve(
    member: Member, topology: Topology, ports: Mapping[str, str], direct: frozenset[str], randomness: Randomness
) -> None:
    """Carry the links, but for those in `direct` (which the kernel carries, by its netem if they say so), until told
    to end.

    The calling thread is in the engine's namespace; `ports` has the far end of each host's interface there.
    """
    sockets = PacketSockets(ring_frames(topology))
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

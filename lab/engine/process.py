"""The process of the link engine."""

from __future__ import annotations

from collections.abc import Mapping

from lab.engine.engine import Engine
from lab.topology.model import Topology
from nodes.agent.member import Member
from nodes.base.random import Randomness
from nodes.drivers.packet_socket import PacketSocket


def serve(
    member: Member, topology: Topology, ports: Mapping[str, str], direct: frozenset[str], randomness: Randomness
) -> None:
    """Carry the links, but for those in `direct`, until told to end.

    The calling thread is in the engine's namespace; `ports` has the far end of each host's interface there.
    """
    engine = Engine(topology, ports, member.scheduler, randomness, member.sink, member.subscribe, PacketSocket)
    try:
        for link in topology.links:
            if link not in direct:
                engine.carry(link, since_ns=0)
        engine.offer_to(member.offer)
        for one in engine.links.values():
            one.forward.emit_link_event()
            one.backward.emit_link_event()
        member.tell("ready")
        member.run()
    finally:
        engine.close()

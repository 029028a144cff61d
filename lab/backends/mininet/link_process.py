"""The process of a script's links: a link engine for each, added and removed while others go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from lab.engine.engine import Engine
from lab.engine.netem import Netem
from lab.engine.process import PacketSockets
from lab.links.impairments import NO_IMPAIRMENTS
from lab.topology.model import HOST, Interface, Node, Topology, Wire
from nodes.agent.member import Member
from nodes.base.errors import NotFound
from nodes.base.random import Randomness

#: Frames that can wait at each end of a link: 1.6 MB of kernel memory.
_RING_FRAMES: Final = 1024


class Links:
    """All links there are, by name. Methods are called from the keeper's process; they raise TcplabErrors."""

    def __init__(self, member: Member, randomness: Randomness) -> None:
        self._member = member
        self._randomness = randomness
        self._sockets = PacketSockets(_RING_FRAMES)
        self._engines: dict[str, Engine] = {}
        for call in (self.add, self.update, self.pause, self.resume, self.remove):
            member.offer(f"{call.__name__}_link", call)
        member.offer("idle", self.idle)

    def add(self, link: str, ends: Sequence[Sequence[str]], devices: Sequence[str], mtu: int) -> None:
        """Carry a link between two interfaces (node, name), whose far ends here are `devices`."""
        a, b = (Interface(node, name, 0, link, b"", b"", 0, mtu) for node, name in ends)
        # What the nodes are is none of the link's business.
        nodes = {end.node: Node(end.node, HOST, "", {}, (end,), ()) for end in (a, b)}
        wire = Wire(link, a, b, mtu, NO_IMPAIRMENTS, NO_IMPAIRMENTS)
        member = self._member
        engine = Engine(
            Topology("", "", nodes, {link: wire}, {}),
            dict(zip((str(a), str(b)), devices, strict=True)),
            member.scheduler,
            self._randomness,
            member.sink,
            member.subscribe,
            self._sockets,
            Netem(),
        )
        engine.carry(link)
        self._engines[link] = engine
        one = engine.links[link]
        one.forward.emit_link_event()
        one.backward.emit_link_event()

    def update(self, link: str, changes: Mapping[str, Any], direction: str) -> None:
        """Change fields of Impairments (Python names) of one direction."""
        if link not in self._engines:
            raise NotFound(f"there is no link {link}")
        self._engines[link].update(link, changes, direction)

    def pause(self, link: str) -> dict[str, dict[str, int]]:
        """Take no frames of a link until `resume`; returns its statistics."""
        self._engines[link].uncarry(link)
        return self._engines[link].statistics(link)

    def resume(self, link: str) -> None:
        """Take those that come from now on."""
        self._engines[link].carry(link)

    def remove(self, link: str) -> None:
        """Carry it no more. Idempotent."""
        engine = self._engines.pop(link, None)
        if engine is not None:
            engine.close()

    def idle(self) -> list[bool | int]:
        """As every member says it."""
        return [not self._engines, self._member.scheduler.handled]


def serve_links(member: Member, randomness: Randomness) -> None:
    """Do it until told to end. The calling thread is in the namespace of the far ends."""
    Links(member, randomness)
    member.tell("ready")
    member.run()

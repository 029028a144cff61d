"""What an agent says of itself and its node: one line each on standard output, for `docker logs`."""

from __future__ import annotations

import contextlib
import os
from typing import Final

from lab.topology.model import Topology
from nodes.agent.member import Member
from nodes.base import causes
from nodes.base.clock import SECOND
from nodes.base.events import CONNECTION, ORIGINS, STATE
from nodes.packet.address import address_text
from nodes.tcp import states

_OUT: Final = 1
_ACTIVE: Final = ORIGINS.index("ACTIVE")


def say(text: str) -> None:
    """Print a line, at once and whole; when nobody takes it, it is lost: a node does not wait for its readers."""
    with contextlib.suppress(OSError):
        os.write(_OUT, f"{text}\n".encode())


class NodeLog:
    """Says which addresses a node has, and which of its connections open and close, with lab time in seconds. Of
    attempts from outside that come to nothing, as in a SYN flood, it says nothing."""

    def __init__(self, lab: str, node: str) -> None:
        self._lab = lab
        self._node = node
        self._names: list[str] = []
        #: Of connections that are not CLOSED: the words, and whether it was said that they opened.
        self._ends: dict[int, tuple[str, bool, bool]] = {}

    def watch(self, member: Member, topology: Topology) -> None:
        """Say what happens at a member from now on."""
        interfaces = ", ".join(
            f"{one.name} {address_text(one.address)}/{one.prefix_len}" for one in topology.nodes[self._node].interfaces
        )
        say(f"lab {self._lab}: this is node {self._node}; {interfaces or 'no interfaces'}")
        self._names = member.sink.names
        member.sink.subscribe((CONNECTION, STATE), self._on_event)

    def _on_event(
        self,
        seq: int,
        kind: int,
        time_ns: int,
        node: int,
        connection: int,
        cause: int,
        values: tuple[int, ...],
        tail: bytes,
    ) -> None:
        if kind == CONNECTION:
            origin, local, local_port, remote, remote_port = values
            arrow = "->" if origin == _ACTIVE else "<-"
            words = f"{self._names[local]}:{local_port} {arrow} {self._names[remote]}:{remote_port}"
            self._ends[connection] = words, origin == _ACTIVE, False
            return
        _, new = values
        if connection not in self._ends:
            return
        words, active, opened = self._ends[connection]
        if new == states.ESTABLISHED and not opened:
            self._ends[connection] = words, active, True
            self._say(time_ns, connection, words, "open", "")
        elif new == states.CLOSED:
            del self._ends[connection]
            if opened or active:
                self._say(time_ns, connection, words, "closed" if opened else "not opened", causes.CAUSES[cause].words)

    def _say(self, time_ns: int, connection: int, words: str, what: str, why: str) -> None:
        seconds, rest = divmod(time_ns, SECOND)
        say(f"{seconds}.{rest // 1000:06d} s  connection {connection}  {words}  {what}{f': {why}' if why else ''}")

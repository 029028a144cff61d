"""poll of a script."""

from __future__ import annotations

from lab.packetdrill.arguments import Arguments
from lab.packetdrill.descriptors import Socket
from lab.packetdrill.problem import Mismatch
from lab.packetdrill.script import Array, Struct
from nodes.tcp import states


def events_of(socket: Socket) -> frozenset[str]:
    """What poll says of a socket, as POLL... without the prefix."""
    connection = socket.connection
    if connection is None:
        ready = socket.listener is not None and len(socket.listener.accept_queue) > 0
        return frozenset(("IN",)) if ready else frozenset() if socket.listener else frozenset(("OUT", "HUP"))
    found = set()
    if connection.readable or socket.receiving_shut:
        found.add("IN")
    if connection.urgent_pending:
        found.add("PRI")
    if connection.writable:
        found.add("OUT")
    if connection.error_pending or socket.errors.notices:
        found.add("ERR")
    if connection.fin_received or socket.receiving_shut or connection.state == states.CLOSED:
        found.add("RDHUP")
        if connection.fin_queued or connection.state == states.CLOSED:
            found.add("HUP")
    return frozenset(found)


def poll(call: Arguments, sockets: dict[int, Socket]) -> int:
    """How many of the descriptors in the first argument are ready. Raises Mismatch when some are, but otherwise than
    the script has it."""
    listed = call.at(0)
    if not isinstance(listed, Array):
        raise call.refuse("its descriptors")
    ready = 0
    differences = []
    for entry in listed.items:
        if not isinstance(entry, Struct):
            raise call.refuse("its descriptors")
        number = call.number_of(entry.get("fd") or 0)
        wanted = call.names_of(entry.get("events") or 0)
        expected = call.names_of(entry.get("revents") or 0)
        socket = sockets.get(number)
        happened = (
            frozenset(("POLLNVAL",))
            if socket is None
            else frozenset(f"POLL{name}" for name in events_of(socket)) & (wanted | {"POLLERR", "POLLHUP"})
        )
        ready += bool(happened)
        if happened != expected:
            differences.append(f"fd {number}: {'|'.join(sorted(happened)) or 0}")
    if ready and differences:
        raise Mismatch(call.line, f"poll gives {', '.join(differences)}")
    return ready

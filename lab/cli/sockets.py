"""`tcplab ss LAB NODE` and `tcplab netstat LAB NODE -s`: what those programs show, of a node of a server's lab."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from nodes.base.errors import InvalidArgument
from nodes.shims import netstat, ss
from nodes.shims.line import Line, NotAtNode
from nodes.tcp.states import CLOSED, STATE_NAMES

if TYPE_CHECKING:
    from tcplab.client import Lab, Node

_TELL: Final = {"ss": ss.tell, "netstat": netstat.tell}
#: What these programs know and a controller does not tell.
_NOT_HERE: Final = ("-p", "--programs", "--processes", "-r", "--route", "--resolve", "-u", "--udp")


def at_node() -> bool:
    """Whether this process is inside a node of a lab."""
    try:
        Line()
    except NotAtNode:
        return False
    return True


def tell(name: str, words: Sequence[str]) -> int:
    """`[--server ADDRESS] LAB NODE OPTIONS...`, of `tcplab ss` or `tcplab netstat`; the exit code."""
    from lab.cli.remote import controller_at

    left = list(words)
    server = os.environ.get("TCPLAB_ADDRESS")
    if left and left[0].startswith("--server"):
        option, equals, value = left.pop(0).partition("=")
        if option != "--server" or not (equals or left):
            raise InvalidArgument(f"{option}: --server ADDRESS is meant", "server")
        server = value if equals else left.pop(0)
    if len(left) < 2 or left[0].startswith("-") or left[1].startswith("-"):
        raise InvalidArgument(f"this is no node of a lab; from outside: tcplab {name} LAB NODE [OPTIONS]", "LAB")
    lab, node, *options = left
    for option in options:
        if option in _NOT_HERE:
            raise InvalidArgument(f"{option}: only {name} on the node itself can tell that", "options")
    if "-s" not in options:
        options.insert(0, "-t")
    with controller_at(server) as controller:
        where = controller.lab(lab)
        return _TELL[name](name, options, Told(where, where.node(node), "-o" in options))


class Told:
    """What a controller tells of a node, as its agent would."""

    def __init__(self, lab: Lab, node: Node, timers: bool) -> None:
        self._timers = timers
        self._lab = lab
        self._node = node

    def call(self, call: str, /, **arguments: Any) -> Any:
        """The answer to one of the agent's questions."""
        if call == "counters":
            return self._node.counters()
        if call == "listeners":
            return [
                {
                    "local_address": one.local_address,
                    "local_port": one.local_port,
                    "backlog": one.backlog,
                    "syn_queue": one.syn_queue,
                    "accept_queue": one.accept_queue,
                    "owner": "",
                }
                for one in self._node.listeners()
            ]
        if call == "connections":
            return self._connections()
        return []  # UDP sockets: it tells of none

    def _connections(self) -> list[dict[str, Any]]:
        now = self._lab.now_ns()
        rows = []
        for connection in self._node.connections():
            message = connection.status()
            if message.state != CLOSED:
                keepalive = int(connection.option("SO_KEEPALIVE")) if self._timers else 0
                rows.append({**row(message, now), "owner": "", "closed": False, "keepalive": keepalive})
        return rows


def row(message: Any, now: int) -> dict[str, Any]:
    """A Connection of the API with the names of TcpInfo: durations in ns, instants as ages."""
    values: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if field.message_type is not None:
            value = value.seconds * 1_000_000_000 + value.nanos
        if field.name.endswith("_ns"):
            values[field.name.removesuffix("_ns")] = now - value
        else:
            values[field.name] = value
    values["state_name"] = STATE_NAMES[message.state]
    values["congestion"] = values.pop("congestion_control")
    return values

"""`ss`: the TCP sockets of nodes, as ss of Linux lists them, by the API and so of any backend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from lab.cli.shell.network import Network
from nodes.shims.ss import any_like
from tcplab.v1 import connection_pb2

#: ss's words for states.
_STATES: Final = {
    "ESTABLISHED": "ESTAB",
    "SYN_RECEIVED": "SYN-RECV",
    "CLOSED": "UNCONN",
}


def sockets(network: Network, nodes: Sequence[str]) -> None:
    """Print listeners and connections that are not CLOSED, one a line, with their node where there are several."""
    rows = [("State", "Recv-Q", "Send-Q", "Local Address:Port", "Peer Address:Port", "Node")]
    for node in nodes:
        place = network.lab.node(node)
        for listener in place.listeners():
            local = listener.local_address
            rows.append(
                (
                    "LISTEN",
                    str(listener.accept_queue),
                    str(listener.backlog),
                    _end(local, listener.local_port),
                    _end(any_like(local), 0),
                    node,
                )
            )
        for connection in place.connections():
            one = connection.status()
            if one.state == connection_pb2.TCP_STATE_CLOSED:
                continue
            state = connection_pb2.TcpState.Name(one.state).removeprefix("TCP_STATE_")
            rows.append(
                (
                    _STATES.get(state, state.replace("_", "-")),
                    str(one.rcv_queue),
                    str(one.unacked + one.notsent_bytes),
                    _end(one.local_address, one.local_port),
                    _end(one.remote_address, one.remote_port),
                    node,
                )
            )
    columns = 5 if len(nodes) == 1 else 6
    widths = [max(len(row[at]) for row in rows) for at in range(columns)]
    for row in rows:
        print(" ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip())


def _end(address: str, port: int) -> str:
    """An address ("": any of both families) and a port (0: any) as ss writes them."""
    host = f"[{address}]" if ":" in address else address or "*"
    return f"{host}:{port or '*'}"

"""The descriptors of a script's process: sockets over our stack."""

from __future__ import annotations

from dataclasses import dataclass, field

from lab.packetdrill.error_queue import ErrorQueue
from lab.packetdrill.flow import Flow
from nodes.tcp.connection import Connection
from nodes.tcp.listener import Listener


@dataclass(slots=True)
class Socket:
    """One stream socket. Before it is opened its options wait in `options`, and the port of bind in `port`."""

    flow: Flow
    nonblocking: bool = False
    listener: Listener | None = None
    connection: Connection | None = None
    port: int = 0
    options: dict[str, object] = field(default_factory=dict)
    #: SO_SNDBUF and SO_RCVBUF as Linux tells them: twice what was set.
    buffers: dict[str, int] = field(default_factory=dict)
    #: Whether connect has told that the connection is established.
    connected: bool = False
    receiving_shut: bool = False
    #: TCP_INQ: recvmsg tells what is left.
    inq: bool = False
    #: SO_ZEROCOPY: what is sent with MSG_ZEROCOPY is told of when it has arrived.
    zero_copy: bool = False
    errors: ErrorQueue = field(default_factory=ErrorQueue)
    #: Whether a write has found no room, and how often there was some again.
    full: bool = False
    rooms: int = 0

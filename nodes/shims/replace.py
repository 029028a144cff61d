"""Has the module `socket` of this process use the stack of the tcplab node it runs on."""

from __future__ import annotations

import socket

from nodes.shims.known import Known
from nodes.shims.line import Lines
from nodes.shims.names import Names
from nodes.shims.sockets import Socket


def replace(family: int = 0) -> None:
    """To be called before anything else takes classes or functions of `socket`. The agent is asked at first use. With a
    `family`, who asks for names of any is told those of this one."""
    lines = Lines()
    Socket.known = Known(lines)
    names = Names(lines, family)
    for name in names.replaced:
        setattr(socket, name, getattr(names, name))
    for name in ("socket", "SocketType"):
        setattr(socket, name, Socket)
    socket.has_ipv6 = True

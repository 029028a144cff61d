"""Options of the sockets of iperf and iperf3: no delay, congestion control, MSS, window."""

from __future__ import annotations

import socket

from nodes.shims.ask import words
from nodes.shims.flags import Options, Wrong
from nodes.shims.rates import size


def prepare(one: socket.socket, given: Options) -> None:
    """Set those that were given. Raises Wrong."""
    try:
        if given.nodelay:
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if given.congestion:
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, given.congestion.encode())
        if given.mss:
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, given.integer("mss", 0, 88, 65495))
        if given.window:
            for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                one.setsockopt(socket.SOL_SOCKET, option, size(given.window))
    except OSError as error:
        raise Wrong(words(error)) from None

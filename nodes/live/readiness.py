"""A file descriptor that is readable and writable when a socket of ours is, for select, poll and epoll."""

from __future__ import annotations

import socket
import threading
from typing import Final

#: One message of this size leaves a socket with the smallest send buffer unwritable until it is read (unix(7) calls a
#: socket writable while a quarter of its buffer at most is taken).
_PLUG: Final = bytes(2048)


class Readiness:
    """One end of a socket pair, `fileno()`, which nobody ever reads or writes: from the other end it is made readable
    by sending to it, and unwritable by leaving in its way what it has sent. At first it is neither."""

    def __init__(self) -> None:
        self._near, self._far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 0)
        self._near.setblocking(False)
        self._far.setblocking(False)
        self._lock = threading.RLock()  # a garbage collection in `set` may close it
        self._readable = False
        self._writable = True
        self.set(False, False)

    def fileno(self) -> int:
        """The descriptor; -1 once closed."""
        return self._near.fileno()

    def set(self, readable: bool, writable: bool) -> None:
        """What the descriptor is from now on. Nothing happens once it is closed."""
        with self._lock:
            if self._near.fileno() < 0:
                return
            if readable != self._readable:
                self._readable = readable
                if readable:
                    self._far.send(b"!")
                else:
                    self._near.recv(1)
            if writable != self._writable:
                self._writable = writable
                if writable:
                    self._far.recv(len(_PLUG))
                else:
                    self._near.send(_PLUG)

    def close(self) -> None:
        """Close the descriptor. Idempotent."""
        with self._lock:
            self._near.close()
            self._far.close()

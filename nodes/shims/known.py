"""What a process on a node knows of the node's sockets: which of its descriptors is which of them.

Descriptors are passed on as the kernel's are (fork, exec, SCM_RIGHTS), so a socket is found by the inode number of its
descriptor, and one that another process has made is asked of the agent.
"""

from __future__ import annotations

import _socket
import contextlib
import os
import socket
import weakref
from typing import Any, Final

from nodes.shims.addresses import ANY, Address
from nodes.shims.line import Lines, UnknownName

STREAM: Final = "stream"
DATAGRAM: Final = "datagram"
_PROTOCOLS: Final = {STREAM: int(socket.IPPROTO_TCP), DATAGRAM: int(socket.IPPROTO_UDP)}


class Shared:
    """What is known here of one socket of the node, whatever descriptors of this process are it."""

    __slots__ = (
        *("__weakref__", "ended", "family", "kind", "linger", "name", "number", "peer", "proto", "reachable", "role"),
        *("may_send", "unreported"),
    )

    def __init__(
        self, number: int, kind: str, family: int, role: str, name: Any, peer: Any, proto: int | None = None
    ) -> None:
        self.number = number
        self.kind = kind
        self.family = family
        self.role = role
        self.name: Address = self.address(name)
        self.peer: Address | None = None if peer is None else self.address(peer)
        #: As it was asked for.
        self.proto = _PROTOCOLS[kind] if proto is None else proto
        #: Whether a datagram socket was not shut down for sending.
        self.may_send = True
        #: Whether a connect that did not wait is still to be told what became of it.
        self.unreported = False
        #: The last address that datagrams can be sent to.
        self.reachable = ""
        #: SO_LINGER, seconds.
        self.linger = 0
        #: Whether the end of the connection was told.
        self.ended = False

    def address(self, said: Any) -> Address:
        """Host and port as programs have them."""
        return (said[0], said[1]) if self.family == socket.AF_INET else (said[0], said[1], 0, 0)


class Known:
    """The sockets of this process, by the inode numbers of their descriptors."""

    def __init__(self, lines: Lines) -> None:
        self.lines = lines
        self._shared: weakref.WeakValueDictionary[int, Shared] = weakref.WeakValueDictionary()
        self._owner = (0, "")

    def owner(self) -> str:
        """Who we are, for ss: name and process id."""
        if self._owner[0] != os.getpid():
            try:
                with open("/proc/self/comm") as file:
                    name = file.read().strip()
            except OSError:
                name = "python3"
            self._owner = (os.getpid(), f"{name},{os.getpid()}")
        return self._owner[1]

    def make(self, kind: str, family: int, proto: int, like: int = 0) -> tuple[int, Shared]:
        """A new socket of the node: descriptor, and what is known of it. `like`: with name and options of another."""
        flavour = socket.SOCK_STREAM if kind == STREAM else socket.SOCK_SEQPACKET
        ours, theirs = _socket.socketpair(socket.AF_UNIX, flavour)
        try:
            inode = os.fstat(ours.fileno()).st_ino
            number = self.lines.call(
                "socket", theirs.fileno(), kind=kind, family=family, inode=inode, owner=self.owner(), like=like
            )
            shared = self._shared[inode] = Shared(number, kind, family, "new", [ANY[family], 0], None, proto)
            return ours.detach(), shared
        finally:
            ours.close()
            theirs.close()

    def add(self, inode: int, shared: Shared) -> None:
        """One that the node has made for us."""
        self._shared[inode] = shared

    def find(self, descriptor: int) -> Shared | None:
        """What a descriptor is; None when it is no socket of the node."""
        try:
            inode = os.fstat(descriptor).st_ino
        except OSError:
            return None
        shared = self._shared.get(inode)
        if shared is None and _is_paired(descriptor):
            with contextlib.suppress(UnknownName, OSError):
                shared = self._shared[inode] = Shared(*self.lines.call("find", inode=inode))
        return shared


def _is_paired(descriptor: int) -> bool:
    """Whether it may be one that another process has made: a unix socket without a name."""
    try:
        one = _socket.socket(fileno=descriptor)
    except OSError:
        return False
    try:
        return one.family == socket.AF_UNIX and one.getsockname() in ("", b"")
    except OSError:
        return False
    finally:
        one.detach()

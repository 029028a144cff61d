"""TCP sockets of a network namespace as the kernel lists them, whoever has made them (sock_diag(7)), read raw: 4 us a
socket."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from nodes.base.errors import FailedPrecondition
from nodes.packet.address import unmapped

_NETLINK_SOCK_DIAG: Final = 4
_SOCK_DIAG_BY_FAMILY: Final = 20
_NLM_F_REQUEST_DUMP: Final = 0x301
_NLMSG_ERROR: Final = 2
_NLMSG_DONE: Final = 3
_INET_DIAG_INFO: Final = 2
_INET_DIAG_CONG: Final = 4
_EXTENSIONS: Final = 1 << (_INET_DIAG_INFO - 1) | 1 << (_INET_DIAG_CONG - 1)

#: struct nlmsghdr
_HEADER: Final = struct.Struct("=IHHII")
#: struct inet_diag_req_v2 without its id: family, protocol, extensions, pad, states
_REQUEST: Final = struct.Struct("=BBBBI48x")
#: struct inet_diag_msg: family, state, timer, retrans; id: sport, dport, src, dst, if, cookie; expires, rqueue, wqueue,
#: uid, inode
_MESSAGE: Final = struct.Struct("=BBBB2s2s16s16sIQIIIII")
_ATTRIBUTE: Final = struct.Struct("=HH")
_ROOM: Final = 1 << 18
ALL_STATES: Final = 0xFFF  # 1 << state, for states 1 to 11
_NEW_SYN_RECEIVED: Final = 12


class Listed(NamedTuple):
    """A socket. `info` is its struct tcp_info, b"" for those in TIME-WAIT and SYN-RECEIVED. `unread` bytes wait to be
    read (of a listener: connections to be accepted), `unacked` were given and not acknowledged (of a listener: its
    backlog). `timer` 0: none of its timers runs."""

    state: int
    local: bytes
    local_port: int
    remote: bytes
    remote_port: int
    cookie: int
    unread: int
    unacked: int
    inode: int
    timer: int
    info: bytes
    congestion: str


class SockDiag:
    """A netlink socket in the calling thread's network namespace. Raises FailedPrecondition on a kernel without it."""

    def __init__(self) -> None:
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG)
        except OSError as error:
            raise FailedPrecondition(f"this kernel lists no sockets (CONFIG_INET_DIAG): {error.strerror}") from None
        self._count = 0

    def sockets(self, states: int = ALL_STATES, with_info: bool = True) -> list[Listed]:
        """TCP sockets, of both families, in any of these states (bits 1 << number)."""
        extensions = _EXTENSIONS if with_info else 0
        families = (socket.AF_INET, socket.AF_INET6)
        return [one for family in families for one in self._dump(family, states, extensions)]

    def close(self) -> None:
        """Idempotent."""
        self._socket.close()

    def _dump(self, family: int, states: int, extensions: int) -> Iterator[Listed]:
        self._count += 1
        body = _REQUEST.pack(family, socket.IPPROTO_TCP, extensions, 0, states)
        header = _HEADER.pack(_HEADER.size + len(body), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST_DUMP, self._count, 0)
        self._socket.send(header + body)
        while True:
            data = self._socket.recv(_ROOM)
            at = 0
            while at + _HEADER.size <= len(data):
                length, kind, _, sequence, _ = _HEADER.unpack_from(data, at)
                if sequence == self._count:
                    if kind == _NLMSG_DONE:
                        return
                    if kind == _NLMSG_ERROR:
                        number = struct.unpack_from("=i", data, at + _HEADER.size)[0]
                        raise FailedPrecondition(f"this kernel does not list TCP sockets: error {-number}")
                    yield _listed(data, at + _HEADER.size, at + length)
                at += length + 3 & ~3


def _listed(data: bytes, at: int, end: int) -> Listed:
    family, state, timer, _, sport, dport, src, dst, _, cookie, _, unread, unacked, _, inode = _MESSAGE.unpack_from(
        data, at
    )
    info = b""
    congestion = ""
    at += _MESSAGE.size
    while at + _ATTRIBUTE.size <= end:
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size:
            break
        if kind == _INET_DIAG_INFO:
            info = data[at + 4 : at + length]
        elif kind == _INET_DIAG_CONG:
            congestion = data[at + 4 : at + length].rstrip(b"\0").decode()
        at += length + 3 & ~3
    return Listed(
        3 if state == _NEW_SYN_RECEIVED else state,
        src[:4] if family == socket.AF_INET else _address(src),
        int.from_bytes(sport, "big"),
        dst[:4] if family == socket.AF_INET else _address(dst),
        int.from_bytes(dport, "big"),
        cookie,
        unread,
        unacked,
        inode,
        timer,
        info,
        congestion,
    )


def _address(given: bytes) -> bytes:
    """One of a socket of IPv6, which may take IPv4 too; any is as a socket of IPv4 has it."""
    return unmapped(given) if any(given) else bytes(4)

"""`Netlink`: requests to the kernel's rtnetlink, in pyroute2's messages, over a plain blocking socket.

pyroute2's own sockets run an asyncio loop, which a thread with a loop of its own cannot have, and which costs
descriptors. A plain socket belongs to the namespace it was made in, wherever its user is.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from nodes.base.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, TcplabError, Unsupported

#: Attributes of a message: (name, value) as pyroute2 has them.
Attributes = Sequence[tuple[str, Any]]

IFF_UP: Final = 0x1
IFF_NOARP: Final = 0x80

_ERROR: Final = 2  # NLMSG_ERROR; with error 0 it is an acknowledgement
_NEW_LINK, _DELETE_LINK, _GET_LINK, _NEW_ADDRESS, _NEW_ROUTE, _NEW_LINK_PROPERTY = 16, 17, 18, 20, 24, 108
#: IFA_F_NODAD: nobody is asked whether he has the address.
_NO_DAD: Final = 2
_REQUEST, _ACK, _CREATE, _EXCLUSIVE, _APPEND = 0x1, 0x4, 0x400, 0x200, 0x800
_HEADER: Final = struct.Struct("=IHHII")
_ERROR_CODE: Final = struct.Struct("=i")
_LARGEST: Final = 65536


class Netlink:
    """A socket to rtnetlink in the calling thread's network namespace. One request at a time."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._sequence = 0

    def new_link(self, what: str, attributes: Attributes, flags: int = 0) -> None:
        """Make an interface, with these IFF_ flags. `what` is how errors call it."""
        fields = {"flags": flags, "change": flags}
        self._request(what, ifinfmsg, _NEW_LINK, _CREATE | _EXCLUSIVE, fields, attributes)

    def set_link(self, what: str, name: str, attributes: Attributes = (), flags: int = 0, change: int = 0) -> None:
        """Change an interface: attributes, and those IFF_ flags that are in `change`."""
        fields = {"flags": flags, "change": change | flags}
        self._request(what, ifinfmsg, _NEW_LINK, 0, fields, [("IFLA_IFNAME", name), *attributes])

    def also_call(self, what: str, name: str, other: str) -> None:
        """Give an interface another name, by which programs find it too. Raises Unsupported before Linux 5.5."""
        names = {"attrs": [("IFLA_ALT_IFNAME", other)]}
        fields = {"index": self.index(name)}
        attributes = [("IFLA_PROP_LIST", names)]
        self._request(what, ifinfmsg, _NEW_LINK_PROPERTY, _CREATE | _EXCLUSIVE | _APPEND, fields, attributes)

    def delete_link(self, what: str, name: str) -> None:
        """Remove an interface."""
        self._request(what, ifinfmsg, _DELETE_LINK, 0, {}, [("IFLA_IFNAME", name)])

    def index(self, name: str) -> int:
        """The number of an interface. Raises NotFound."""
        message = self._request(f"interface {name}", ifinfmsg, _GET_LINK, 0, {}, [("IFLA_IFNAME", name)])
        index: int = struct.unpack_from("=i", message, _HEADER.size + 4)[0]
        return index

    def add_address(self, what: str, index: int, address: str, prefix_len: int, broadcast: str | None = None) -> None:
        """Give an interface an address, which can be used at once."""
        six = ":" in address
        attributes = [("IFA_LOCAL", address), ("IFA_ADDRESS", address)]
        if broadcast is not None:
            attributes.append(("IFA_BROADCAST", broadcast))
        fields = {"family": socket.AF_INET6 if six else socket.AF_INET, "prefixlen": prefix_len, "index": index}
        if six:
            fields["flags"] = _NO_DAD
        self._request(what, ifaddrmsg, _NEW_ADDRESS, _CREATE | _EXCLUSIVE, fields, attributes)

    def add_route(self, what: str, index: int, network: str, prefix_len: int, via: str) -> None:
        """Send packets to a network through an interface, to a neighbour."""
        fields = {
            "family": socket.AF_INET6 if ":" in via else socket.AF_INET,
            "dst_len": prefix_len,
            "table": 254,  # RT_TABLE_MAIN
            "proto": 4,  # RTPROT_STATIC
            "scope": 0,  # RT_SCOPE_UNIVERSE
            "type": 1,  # RTN_UNICAST
        }
        attributes: list[tuple[str, Any]] = [("RTA_GATEWAY", via), ("RTA_OIF", index)]
        if prefix_len:
            attributes.append(("RTA_DST", network))
        self._request(what, rtmsg, _NEW_ROUTE, _CREATE | _EXCLUSIVE, fields, attributes)

    def _request(
        self, what: str, kind: Any, number: int, flags: int, fields: Mapping[str, int], attributes: Iterable[Any]
    ) -> bytes:
        """Ask and wait for the answer: the last message before the acknowledgement, b"" when there is none."""
        self._sequence += 1
        message = kind()
        message["header"] = {
            "type": number,
            "flags": _REQUEST | _ACK | flags,
            "sequence_number": self._sequence,
            "pid": 0,
        }
        for name, value in fields.items():
            message[name] = value
        message["attrs"] = list(attributes)
        message.encode()
        self._socket.send(message.data)
        answer = b""
        while True:
            found = self._socket.recv(_LARGEST)
            while found:
                length, number, _, sequence, _ = _HEADER.unpack_from(found)
                if sequence == self._sequence:
                    if number == _ERROR:
                        code = -_ERROR_CODE.unpack_from(found, _HEADER.size)[0]
                        if code:
                            raise _error(what, code)
                        return answer
                    answer = found[:length]
                found = found[(length + 3) & ~3 :]

    def close(self) -> None:
        """Idempotent."""
        self._socket.close()

    def __enter__(self) -> Netlink:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _error(what: str, code: int) -> TcplabError:
    words = f"{what}: {os.strerror(code)}"
    if code == errno.EEXIST:
        return AlreadyExists(f"{words}: the kernel has one there already")
    if code == errno.ENODEV:
        return NotFound(words)
    if code in (errno.EINVAL, errno.ERANGE):
        return InvalidArgument(f"{words}: the kernel does not take it")
    if code == errno.EPERM:
        return Unsupported(f"{words}: it needs root or a user namespace")
    if code == errno.EOPNOTSUPP:
        return Unsupported(f"{words}: this kernel lacks the module; `tcplab doctor` says more")
    return FailedPrecondition(words)

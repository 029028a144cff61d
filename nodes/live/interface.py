"""What the kernel knows of a network interface in the namespace of the calling thread."""

from __future__ import annotations

import errno
import fcntl
import socket
import struct
from typing import Final, NamedTuple

from nodes.base.errors import FailedPrecondition, InvalidArgument, NotFound

_SIOCGIFFLAGS: Final = 0x8913
_SIOCGIFADDR: Final = 0x8915
_SIOCGIFMTU: Final = 0x8921
_SIOCGIFHWADDR: Final = 0x8927
_IFF_UP: Final = 1
#: struct ifreq of netdevice(7): a name and 24 bytes of what the request is about.
_IFREQ: Final = struct.Struct("16s24s")


class InterfaceFacts(NamedTuple):
    """MAC address and MTU (bytes)."""

    mac: bytes
    mtu: int


def facts_for_stack(name: str) -> InterfaceFacts:
    """What a stack of ours on interface `name` must know of it.

    Raises NotFound; FailedPrecondition when it is down, or when the kernel has an IPv4 address on it and would answer
    with resets what is meant for us.
    """
    if not 0 < len(name.encode()) < 16:
        raise InvalidArgument(f"{name!r} is not the name of an interface: 1 to 15 bytes", "interface")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as query:
        try:
            flags = _ask(query, name, _SIOCGIFFLAGS)
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise
            have = ", ".join(each for _, each in socket.if_nameindex())
            raise NotFound(f"there is no interface {name} in this network namespace; there are {have}") from None
        if not struct.unpack_from("H", flags)[0] & _IFF_UP:
            raise FailedPrecondition(f"{name} is down: ip link set {name} up")
        try:
            address = socket.inet_ntoa(_ask(query, name, _SIOCGIFADDR)[4:8])
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL:
                raise
        else:
            raise FailedPrecondition(
                f"the kernel has the address {address} on {name} and would reset our connections: ip addr flush {name}"
            )
        return InterfaceFacts(
            _ask(query, name, _SIOCGIFHWADDR)[2:8], struct.unpack_from("i", _ask(query, name, _SIOCGIFMTU))[0]
        )


def _ask(query: socket.socket, name: str, request: int) -> bytes:
    answer = fcntl.ioctl(query, request, _IFREQ.pack(name.encode(), b""))
    return answer[16:]

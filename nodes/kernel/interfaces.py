"""The interfaces of the calling thread's network namespace, by ioctl (netdevice(7)) and /proc/net/dev."""

from __future__ import annotations

import fcntl
import socket
import struct
from pathlib import Path
from typing import Final

from nodes.agent.host import InterfaceInfo
from nodes.kernel.families import ipv6_addresses
from nodes.packet.ipv6 import is_link_local

_GET_ADDRESS: Final = 0x8915
_GET_NETMASK: Final = 0x891B
_GET_MTU: Final = 0x8921
_GET_MAC: Final = 0x8927
_IFREQ: Final = struct.Struct("=16s24s")
#: Columns of /proc/net/dev.
_RECEIVED: Final = (("rx_bytes", 0), ("rx_packets", 1), ("rx_errors", 2), ("rx_dropped", 3))
_SENT: Final = (("tx_bytes", 8), ("tx_packets", 9), ("tx_errors", 10), ("tx_dropped", 11))


def interfaces() -> list[InterfaceInfo]:
    """Loopback first, then in the order in which they were made."""
    counted: dict[str, list[int]] = {}
    for line in Path("/proc/thread-self/net/dev").read_text().splitlines()[2:]:
        name, _, values = line.partition(":")
        counted[name.strip()] = [int(value) for value in values.split()]
    found = []
    six = sorted(ipv6_addresses(), key=lambda one: not is_link_local(one[1]))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as query:
        for _, name in sorted(socket.if_nameindex()):
            counters = counted[name]
            mask = int.from_bytes(_ask(query, name, _GET_NETMASK)[4:8], "big")
            address = _ask(query, name, _GET_ADDRESS)[4:8]
            found.append(
                InterfaceInfo(
                    name,
                    _ask(query, name, _GET_MAC)[2:8],
                    address if any(address) else b"",
                    mask.bit_count(),
                    struct.unpack_from("=i", _ask(query, name, _GET_MTU))[0],
                    {key: counters[column] for key, column in (*_RECEIVED, *_SENT)},
                    tuple((one, length) for device, one, length in six if device == name),
                )
            )
    return found


def _ask(query: socket.socket, name: str, request: int) -> bytes:
    """The answer, zeros where there is none."""
    try:
        answer: bytes = _IFREQ.unpack(fcntl.ioctl(query, request, _IFREQ.pack(name.encode(), b"")))[1]
        return answer
    except OSError:
        return bytes(24)

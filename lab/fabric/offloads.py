"""Interfaces without offloads: frames as they would be on a wire, each within the MTU, checksums complete.

`Documentation/networking/netdev-features.rst`, ethtool's ioctl (`linux/ethtool.h`).
"""

from __future__ import annotations

import ctypes
import fcntl
import socket
import struct
from typing import Final

_SIOCETHTOOL: Final = 0x8946
_GET_FEATURES: Final = 0x3A
_SET_FEATURES: Final = 0x3B
_IFREQ: Final = struct.Struct("16sP16x")
_HEAD: Final = struct.Struct("=II")
#: Per 32 features when read: available, requested, active, never changed; when set: which are meant, on or off.
_READ: Final = struct.Struct("=IIII")
_SET: Final = struct.Struct("=II")
_BLOCKS: Final = 4


class Offloads:
    """Turns off every feature of interfaces that can be changed. `probe` is any socket of their namespace.

    All interfaces given to one object must be of one driver: what it can do is asked once.
    """

    def __init__(self) -> None:
        self._request = b""

    def turn_off(self, probe: socket.socket, interface: str) -> None:
        """Raises OSError."""
        if not self._request:
            found = _ioctl(probe, interface, _HEAD.pack(_GET_FEATURES, _BLOCKS) + bytes(_READ.size * _BLOCKS))
            blocks = min(_HEAD.unpack_from(found)[1], _BLOCKS)
            available = [_READ.unpack_from(found, _HEAD.size + number * _READ.size)[0] for number in range(blocks)]
            self._request = _HEAD.pack(_SET_FEATURES, blocks) + b"".join(_SET.pack(one, 0) for one in available)
        _ioctl(probe, interface, self._request)


def _ioctl(probe: socket.socket, interface: str, data: bytes) -> bytes:
    buffer = ctypes.create_string_buffer(data, len(data))
    fcntl.ioctl(probe, _SIOCETHTOOL, _IFREQ.pack(interface.encode(), ctypes.addressof(buffer)))
    return buffer.raw

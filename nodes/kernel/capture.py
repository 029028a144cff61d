"""`Capture`: every frame that comes to or leaves the interfaces of a network namespace, in one order, by one packet
socket (packet(7)). The loopback interface is left out."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import socket
import struct
import time
from typing import Final, NamedTuple

from nodes.base.errors import Unsupported
from nodes.drivers.wall_clock import WallClock

_SOL_PACKET: Final = 263
_PACKET_RX_RING: Final = 5
_PACKET_STATISTICS: Final = 6
_PACKET_VERSION: Final = 10
_TPACKET_V2: Final = 1
_SO_ATTACH_FILTER: Final = 26
_ETH_P_ALL: Final = 3
_ARPHRD_LOOPBACK: Final = 772
_OUTGOING: Final = 4
_LOOPBACK_FILTER: Final = (
    (0x28, 0, 0, 0xFFFFF01C),  # ldh the hardware type of the interface (SKF_AD_OFF + SKF_AD_HATYPE)
    (0x15, 0, 1, _ARPHRD_LOOPBACK),  # jeq
    (0x06, 0, 0, 0),  # ret: not this one
    (0x06, 0, 0, 0x40000),  # ret: all of it
)
#: struct tpacket2_hdr, and of the sockaddr_ll behind it: interface index, type of the interface, type of the packet.
_HEADER: Final = struct.Struct("=IIIHHIIHH4x4xiHB")
_REQUEST: Final = struct.Struct("=IIII")
_STATISTICS: Final = struct.Struct("@II")
_BLOCK: Final = 1 << 16
_BEFORE_FRAME: Final = 96
_SECOND: Final = 1_000_000_000


class Captured(NamedTuple):
    """A frame, from its Ethernet header on, `length` bytes in all of which the first are here."""

    time_ns: int
    interface: int
    sent: bool
    length: int
    frame: bytes


class Capture:
    """Frames of the calling thread's network namespace. `keep_bytes` of each are kept; `slots` can wait.

    Stamps are lab time, never back and never in the future. Raises Unsupported without CAP_NET_RAW.
    """

    def __init__(self, epoch_ns: int, keep_bytes: int, slots: int = 4096) -> None:
        self._epoch_ns = epoch_ns
        self._clock = WallClock(epoch_ns)
        self._dropped = 0
        self._last = 0
        slot = -(-(_BEFORE_FRAME + keep_bytes) // 16) * 16
        per_block = _BLOCK // slot
        blocks = -(-slots // per_block)
        try:
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
        except PermissionError:
            raise Unsupported("following the kernel's connections on the wire needs CAP_NET_RAW") from None
        try:
            program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *one) for one in _LOOPBACK_FILTER))
            filters = struct.pack("@HP", len(_LOOPBACK_FILTER), ctypes.addressof(program))
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, filters)
            self._socket.setsockopt(_SOL_PACKET, _PACKET_VERSION, _TPACKET_V2)
            request = _REQUEST.pack(_BLOCK, blocks, slot, blocks * per_block)
            self._socket.setsockopt(_SOL_PACKET, _PACKET_RX_RING, request)
            self._memory = mmap.mmap(self._socket.fileno(), blocks * _BLOCK)
            _bind_to_all(self._socket)
        except OSError as error:
            self._socket.close()
            raise Unsupported(f"this kernel gives no ring for captured frames: {error.strerror}") from None
        self._words = memoryview(self._memory).cast("I")
        self._places = tuple(number * _BLOCK + index * slot for number in range(blocks) for index in range(per_block))
        self._next = 0

    def fileno(self) -> int:
        """Readable when there are frames."""
        return self._socket.fileno()

    def take(self, budget: int) -> list[Captured]:
        """Up to `budget` frames, in the order in which the kernel handled them."""
        words = self._words
        memory = self._memory
        places = self._places
        index = self._next
        shift = 0
        now = last = self._last
        frames: list[Captured] = []
        while budget:
            place = places[index]
            if not words[place >> 2] & 1:
                break
            if not frames:
                shift = self._clock.shift()
                now = time.monotonic_ns() - self._epoch_ns
            _, length, kept, at, _, seconds, nanoseconds, _, _, interface, _, kind = _HEADER.unpack_from(memory, place)
            frame = memory[place + at : place + at + kept]
            words[place >> 2] = 0
            index += 1
            if index == len(places):
                index = 0
            budget -= 1
            stamp = seconds * _SECOND + nanoseconds + shift
            if stamp > now:
                now = max(now, time.monotonic_ns() - self._epoch_ns)
                stamp = min(stamp, now)
            last = max(last, stamp)
            frames.append(Captured(last, interface, kind == _OUTGOING, length, frame))
        self._next = index
        self._last = last
        if not frames:
            try:
                self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)  # an interface that went down leaves one
            except OSError as error:
                if error.errno != errno.ENETDOWN:
                    raise
        return frames

    def dropped(self) -> int:
        """Frames lost since it was opened because nobody took them in time."""
        _, dropped = _STATISTICS.unpack(self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, _STATISTICS.size))
        self._dropped += dropped
        return self._dropped

    def close(self) -> None:
        """Idempotent."""
        self._words.release()
        self._memory.close()
        self._socket.close()


def _bind_to_all(one: socket.socket) -> None:
    """bind(2) to no interface in particular, which Python's `bind` cannot say."""
    address = struct.pack("=HHiHBB8s", socket.AF_PACKET, socket.htons(_ETH_P_ALL), 0, 0, 0, 0, b"")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.bind(one.fileno(), address, len(address)):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

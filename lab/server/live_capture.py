"""What passes an interface of a real-time lab from now on, as a pcapng file that grows."""

from __future__ import annotations

import asyncio
import contextlib
import io
import socket
import struct
from collections.abc import AsyncIterator, Callable
from typing import Final

from lab.trace.pcapng import INBOUND, OUTBOUND, PcapngWriter
from nodes.base.errors import Unsupported
from nodes.drivers.wall_clock import WallClock

_ETH_P_ALL: Final = 3
_PACKET_OUTGOING: Final = 4
_SOL_PACKET: Final = 263
_PACKET_STATISTICS: Final = 6
_SO_TIMESTAMPNS: Final = 35
#: struct timespec, and struct tpacket_stats.
_TIMESPEC: Final = struct.Struct("@qq")
_STATISTICS: Final = struct.Struct("@II")
_MAX_FRAME: Final = 1 << 17
#: What may wait for whoever reads slowly: about 5000 full frames.
_BUFFER: Final = 16 << 20
#: Frames taken at a time, before others have their turn.
_BUDGET: Final = 256
#: The end of the lab is noticed within this, wall seconds.
_LOOK_EVERY: Final = 0.5


class Wire:
    """Both directions of an interface of the calling thread's network namespace, from now on.

    `name` is what Wireshark shows; time stamps are the kernel's, as lab time. Raises Unsupported.
    """

    def __init__(self, interface: str, name: str, epoch_ns: int) -> None:
        self._file = io.BytesIO()
        self._writer = PcapngWriter(self._file, name)
        self._clock = WallClock(epoch_ns)
        try:
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
        except PermissionError:
            raise Unsupported(f"a capture of {name} needs CAP_NET_RAW in the node's network namespace") from None
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
            with contextlib.suppress(OSError):  # beyond net.core.rmem_max, where we may
                self._socket.setsockopt(socket.SOL_SOCKET, 33, _BUFFER)  # SO_RCVBUFFORCE
            self._socket.bind((interface, _ETH_P_ALL))
        except BaseException:
            self._socket.close()
            raise

    async def pieces(self, has_ended: Callable[[], bool]) -> AsyncIterator[bytes]:
        """The file piece by piece. A slow reader loses frames and slows nobody; the next frame's comment says so."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                more = self._read()
                if data := self._take():
                    yield data
                if has_ended():
                    return
                if more:
                    await asyncio.sleep(0)
                    continue
                readable = asyncio.Event()
                loop.add_reader(self._socket, readable.set)
                try:
                    async with asyncio.timeout(_LOOK_EVERY):
                        await readable.wait()
                except TimeoutError:
                    pass
                finally:
                    loop.remove_reader(self._socket)
        finally:
            self._socket.close()

    def _take(self) -> bytes:
        data = self._file.getvalue()
        self._file.seek(0)
        self._file.truncate()
        return data

    def _read(self) -> bool:
        """Take what has come; whether there may be more."""
        _, lost = _STATISTICS.unpack(self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, _STATISTICS.size))
        comment = f"{lost} frames before this one were not captured: nobody took them in time" if lost else ""
        shift = self._clock.shift()
        for _ in range(_BUDGET):
            try:
                frame, ancillary, _, address = self._socket.recvmsg(_MAX_FRAME, socket.CMSG_SPACE(_TIMESPEC.size))
            except BlockingIOError:
                return False
            except OSError:  # the interface went down
                return False
            seconds, nanoseconds = _TIMESPEC.unpack(ancillary[0][2])
            direction = OUTBOUND if address[2] == _PACKET_OUTGOING else INBOUND
            self._writer.packet(max(0, seconds * 1_000_000_000 + nanoseconds + shift), frame, direction, comment)
            comment = ""
        return True

"""Receiving from a packet socket one frame at a time: what there is where the kernel gives no ring."""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
from typing import Final

from nodes.drivers.arrived import Arrived, Tally, put_back_vlan_tag

_SOL_PACKET: Final = 263
_PACKET_AUXDATA: Final = 8
_SO_RCVBUFFORCE: Final = 33
#: SO_TIMESTAMPNS, and the type of the control message it causes.
_TIMESTAMP: Final = 35
#: struct timespec, and struct tpacket_auxdata: status, len, snaplen, mac, net, VLAN tag, its protocol.
_TIMESPEC: Final = struct.Struct("@ll")
_AUXDATA: Final = struct.Struct("=IIIHHHH")
_CHECKSUM_NOT_READY: Final = 1 << 3
_VLAN_VALID: Final = 1 << 4
_VLAN_TPID_VALID: Final = 1 << 6
_SECOND: Final = 1_000_000_000
#: No frame is there, or the interface has gone down since the last look.
_NOTHING: Final = (errno.EAGAIN, errno.ENETDOWN)
#: What the kernel charges for a frame beside its bytes.
_OVERHEAD: Final = 1024


class Messages:
    """Room for about `slots` frames, as far as the kernel allows; `size` is what it gave."""

    def __init__(self, descriptor: socket.socket, slots: int, mtu: int, tally: Tally) -> None:
        self._socket = descriptor
        self._tally = tally
        self._limit = mtu + 18
        wanted = slots * (mtu + _OVERHEAD)
        # Forcing needs CAP_NET_ADMIN in the first user namespace; asking is limited by net.core.rmem_max.
        descriptor.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, wanted)
        with contextlib.suppress(PermissionError):
            descriptor.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, wanted)
        self.size = descriptor.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        descriptor.setsockopt(socket.SOL_SOCKET, _TIMESTAMP, 1)
        descriptor.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
        self._room = socket.CMSG_SPACE(_TIMESPEC.size) + socket.CMSG_SPACE(_AUXDATA.size)

    def receive(self, budget: int) -> list[Arrived]:
        """Take up to `budget` frames, in order."""
        frames: list[Arrived] = []
        for _ in range(budget):
            try:
                frame, control, flags, _address = self._socket.recvmsg(self._limit, self._room)
            except OSError as error:
                if error.errno not in _NOTHING:
                    raise
                break
            stamp = 0
            status = tag = protocol = 0
            for level, kind, data in control:
                if level == socket.SOL_SOCKET and kind == _TIMESTAMP:
                    seconds, nanoseconds = _TIMESPEC.unpack(data)
                    stamp = seconds * _SECOND + nanoseconds
                elif level == _SOL_PACKET and kind == _PACKET_AUXDATA:
                    status, _, _, _, _, tag, protocol = _AUXDATA.unpack(data)
            if flags & socket.MSG_TRUNC:
                self._tally.too_long += 1
                continue
            if status & _CHECKSUM_NOT_READY:
                self._tally.checksum_missing += 1
            if status & _VLAN_VALID:
                frame = put_back_vlan_tag(frame, tag, protocol if status & _VLAN_TPID_VALID else 0)
            frames.append((stamp, frame))
        return frames

    def close(self) -> None:
        """Nothing to let go of: the socket has it all."""

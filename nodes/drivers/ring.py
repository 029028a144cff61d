"""The receive ring of a packet socket (TPACKET_V2): frames in memory shared with the kernel.

Source: Linux, Documentation/networking/packet_mmap.rst and include/uapi/linux/if_packet.h.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import socket
import struct
from typing import Final

from nodes.drivers.arrived import Arrived, Tally, put_back_vlan_tag

_PACKET_RX_RING: Final = 5
_PACKET_VERSION: Final = 10
_TPACKET_V2: Final = 1
_SOL_PACKET: Final = 263

#: struct tpacket2_hdr: status, len, snaplen, mac, net, sec, nsec, VLAN tag, its protocol.
_HEADER: Final = struct.Struct("=IIIHHIIHH")
#: struct tpacket_req: block_size, block_nr, frame_size, frame_nr.
_REQUEST: Final = struct.Struct("=IIII")
#: Where the Ethernet header of a frame begins in its slot: both headers of the kernel, aligned, with room before the
#: network header.
_BEFORE_FRAME: Final = 66
_VLAN_TAG_LEN: Final = 4
_ETHERNET_LEN: Final = 14
_ALIGNMENT: Final = 16
_BLOCK: Final = 1 << 16

_TO_KERNEL: Final = 0
_TO_USER: Final = 1
_CHECKSUM_NOT_READY: Final = 1 << 3
_VLAN_VALID: Final = 1 << 4
_VLAN_TPID_VALID: Final = 1 << 6
_UNUSUAL: Final = _CHECKSUM_NOT_READY | _VLAN_VALID
_SECOND: Final = 1_000_000_000


class Ring:
    """At least `slots` frames of an interface with this MTU. `size`: bytes of kernel memory it takes.

    Raises OSError when the kernel does not give it (too little memory, no such option).
    """

    def __init__(self, descriptor: socket.socket, slots: int, mtu: int, tally: Tally) -> None:
        if slots < 1:
            raise OSError(errno.EINVAL, "no slots")
        slot = -(-(_BEFORE_FRAME + _ETHERNET_LEN + _VLAN_TAG_LEN + mtu) // _ALIGNMENT) * _ALIGNMENT
        block = max(_BLOCK, mmap.PAGESIZE)
        while block < slot:
            block *= 2
        per_block = block // slot
        blocks = -(-slots // per_block)
        self.slots = blocks * per_block
        self.size = blocks * block
        descriptor.setsockopt(_SOL_PACKET, _PACKET_VERSION, _TPACKET_V2)
        _set_ring(descriptor, _REQUEST.pack(block, blocks, slot, self.slots))
        try:
            self._memory = mmap.mmap(descriptor.fileno(), self.size)
        except OSError:
            _set_ring(descriptor, bytes(_REQUEST.size))
            raise
        self._words = memoryview(self._memory).cast("I")
        #: Where each slot is; frames do not cross blocks.
        self._places = tuple(number * block + index * slot for number in range(blocks) for index in range(per_block))
        self._next = 0
        self._tally = tally

    def receive(self, budget: int) -> list[Arrived]:
        """Take up to `budget` frames, in order."""
        words = self._words
        memory = self._memory
        places = self._places
        slots = self.slots
        unpack = _HEADER.unpack_from
        index = self._next
        frames: list[Arrived] = []
        while budget:
            place = places[index]
            # The status comes first: until it says so, the rest of the slot is the kernel's.
            if not words[place >> 2] & _TO_USER:
                break
            status, length, kept, at, _, seconds, nanoseconds, tag, protocol = unpack(memory, place)
            at += place
            frame = memory[at : at + kept]
            words[place >> 2] = _TO_KERNEL
            index += 1
            if index == slots:
                index = 0
            budget -= 1
            if kept < length:
                self._tally.too_long += 1
                continue
            if status & _UNUSUAL:
                if status & _CHECKSUM_NOT_READY:
                    self._tally.checksum_missing += 1
                if status & _VLAN_VALID:
                    frame = put_back_vlan_tag(frame, tag, protocol if status & _VLAN_TPID_VALID else 0)
            frames.append((seconds * _SECOND + nanoseconds, frame))
        self._next = index
        return frames

    def close(self) -> None:
        """Let go of the memory. Idempotent."""
        self._words.release()
        self._memory.close()


def _set_ring(descriptor: socket.socket, request: bytes) -> None:
    """setsockopt(2) that lets other threads run: the kernel waits here until no CPU uses the old ring, some 10 ms."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setsockopt(descriptor.fileno(), _SOL_PACKET, _PACKET_RX_RING, request, len(request)):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

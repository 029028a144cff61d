"""Frames as a packet socket hands them over, and what it counts."""

from __future__ import annotations

from typing import Final

#: When the kernel saw the frame, ns of CLOCK_REALTIME, and the frame from its Ethernet header on.
Arrived = tuple[int, bytes]

_VLAN: Final = 0x8100
_ADDRESSES_LEN: Final = 12


class Tally:
    """Frames that were not as they should be."""

    __slots__ = ("checksum_missing", "too_long")

    def __init__(self) -> None:
        #: Received with a TCP or UDP checksum that the sender left to its interface: its offloads are on.
        self.checksum_missing = 0
        #: Longer than the MTU the socket was opened for, and therefore cut off: dropped.
        self.too_long = 0


def put_back_vlan_tag(frame: bytes, tag: int, protocol: int) -> bytes:
    """The frame as it was on the wire: Linux takes the outermost VLAN tag out of it (`protocol` 0: IEEE 802.1Q)."""
    header = (protocol or _VLAN).to_bytes(2, "big") + tag.to_bytes(2, "big")
    return frame[:_ADDRESSES_LEN] + header + frame[_ADDRESSES_LEN:]

"""A frame as rules and attacks look at it: where its headers are, without building objects."""

from __future__ import annotations

ETHERNET = 14


class FrameView:
    """Offsets of the headers in `data`; -1 where there is none. Anything malformed simply has no such header."""

    __slots__ = ("arp", "data", "icmp", "ip", "payload", "payload_end", "tcp", "udp")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.arp = self.icmp = self.ip = self.tcp = self.udp = -1
        self.payload = self.payload_end = 0
        if len(data) < ETHERNET + 20:
            return
        if data[12] != 8:
            return
        if data[13] == 6:
            self.arp = ETHERNET
        if data[13] != 0 or data[14] >> 4 != 4:
            return
        end = ETHERNET + (data[16] << 8 | data[17])
        upper = ETHERNET + (data[14] & 15) * 4
        if upper < ETHERNET + 20 or upper > end or end > len(data):
            return
        self.ip = ETHERNET
        if (data[20] & 0x1F) or data[21]:  # not the first fragment: no upper header here
            return
        protocol = data[23]
        if protocol == 6 and upper + 20 <= end:
            payload = upper + (data[upper + 12] >> 4) * 4
            if upper + 20 <= payload <= end:
                self.tcp = upper
                self.payload = payload
                self.payload_end = end
        elif protocol == 17 and upper + 8 <= end:
            self.udp = upper
        elif protocol == 1 and upper + 4 <= end:
            self.icmp = upper

    def u16(self, offset: int) -> int:
        """The 16-bit number at `offset`."""
        return self.data[offset] << 8 | self.data[offset + 1]

    def u32(self, offset: int) -> int:
        """The 32-bit number at `offset`."""
        return int.from_bytes(self.data[offset : offset + 4], "big")

    @property
    def flow(self) -> bytes:
        """Source and destination address and ports of a TCP frame: a key for its direction of the connection."""
        return self.data[26:34] + self.data[self.tcp : self.tcp + 4]

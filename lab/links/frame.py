"""A frame as rules and attacks look at it: where its headers are, without building objects."""

from __future__ import annotations

from nodes.packet.ipv6 import FRAGMENT, upper_layer
from nodes.packet.malformed import MalformedPacket

ETHERNET = 14
_IPV6 = ETHERNET + 40


class FrameView:
    """Offsets of the headers in `data`; -1 where there is none. Anything malformed simply has no such header.

    `ip` is IPv4's, `ip6` IPv6's; `icmp` and `icmp6` likewise."""

    __slots__ = ("arp", "data", "icmp", "icmp6", "ip", "ip6", "payload", "payload_end", "tcp", "udp")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.arp = self.icmp = self.icmp6 = self.ip = self.ip6 = self.tcp = self.udp = -1
        self.payload = self.payload_end = 0
        if len(data) < ETHERNET + 20:
            return
        if data[12] != 8:
            if data[12] == 0x86 and data[13] == 0xDD and len(data) >= _IPV6:
                self._look_at_ipv6(data)
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
        self._look_above(data, data[23], upper, end)

    def _look_at_ipv6(self, data: bytes) -> None:
        end = _IPV6 + (data[18] << 8 | data[19])
        if data[14] >> 4 != 6 or end > len(data):
            return
        self.ip6 = ETHERNET
        protocol, upper = data[20], _IPV6
        if protocol not in (6, 17, 58):
            try:
                found = upper_layer(protocol, data[_IPV6:end])
            except MalformedPacket:
                return
            protocol, upper = found.protocol, _IPV6 + found.at
            if protocol == FRAGMENT and upper + 8 <= end:
                if (data[upper + 2] << 8 | data[upper + 3]) & 0xFFF8:
                    return  # not the first fragment
                protocol, upper = data[upper], upper + 8
        self._look_above(data, protocol, upper, end)

    def _look_above(self, data: bytes, protocol: int, upper: int, end: int) -> None:
        if protocol == 6 and upper + 20 <= end:
            payload = upper + (data[upper + 12] >> 4) * 4
            if upper + 20 <= payload <= end:
                self.tcp = upper
                self.payload = payload
                self.payload_end = end
        elif protocol == 17 and upper + 8 <= end:
            self.udp = upper
        elif protocol == 1 and upper + 4 <= end and self.ip > 0:
            self.icmp = upper
        elif protocol == 58 and upper + 4 <= end and self.ip6 > 0:
            self.icmp6 = upper

    def u16(self, offset: int) -> int:
        """The 16-bit number at `offset`."""
        return self.data[offset] << 8 | self.data[offset + 1]

    def u32(self, offset: int) -> int:
        """The 32-bit number at `offset`."""
        return int.from_bytes(self.data[offset : offset + 4], "big")

    @property
    def src(self) -> bytes:
        """Source address of an IP packet."""
        return self.data[22:38] if self.ip6 > 0 else self.data[26:30]

    @property
    def dst(self) -> bytes:
        """Destination address of an IP packet."""
        return self.data[38:54] if self.ip6 > 0 else self.data[30:34]

    @property
    def flow(self) -> bytes:
        """Source and destination address and ports of a TCP frame: a key for its direction of the connection."""
        return self.src + self.dst + self.data[self.tcp : self.tcp + 4]

"""A network interface of a host: its addresses and what passed through it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mypy_extensions import i64

from nodes.packet.ipv6 import ALL_NODES, link_local, solicited_node

if TYPE_CHECKING:
    from nodes.ip.path import Path

#: `index` of the loopback interface; the others count from 0.
LOOPBACK_INDEX: Final = -1


COUNTERS: Final = (
    "rx_bytes",
    "rx_dropped",
    "rx_errors",
    "rx_packets",
    "tx_bytes",
    "tx_dropped",
    "tx_errors",
    "tx_packets",
)


class InterfaceCounters:
    """Frames and bytes (whole frames) since the start. Errors: malformed; dropped: discarded with good reason."""

    __slots__ = COUNTERS

    def __init__(self) -> None:
        self.rx_errors = 0
        self.rx_dropped = 0
        self.tx_errors = 0
        self.tx_dropped = 0
        # Last, and so, compiled, in memory beside what an Interface needs for every frame.
        self.rx_packets = 0
        self.rx_bytes = 0
        self.tx_packets = 0
        self.tx_bytes = 0

    def as_dict(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in COUNTERS}


class Interface(InterfaceCounters):
    """One interface. `address` is b"" when it has no IPv4 address; `label` ("h1:eth0") names it in the trace, where it
    is `trace_name`. The number of a frame on it is `tx_packets` or `rx_packets` after counting it."""

    __slots__ = (
        "address",
        "broadcast",
        "dst",
        "dst_number",
        "flow",
        "groups",
        "index",
        "ipv6",
        "label",
        "mac",
        "mac_number",
        "mtu",
        "name",
        "prefix_len",
        "src",
        "src_number",
        "trace_name",
    )

    def __init__(
        self, index: int, name: str, label: str, trace_name: int, mac: bytes, address: bytes, prefix_len: int, mtu: int
    ) -> None:
        super().__init__()
        # What every frame needs is side by side, in the order of memory.
        self.index = index
        self.mac_number: i64 = int.from_bytes(mac, "big")
        #: What becomes of IPv4 packets with the source and destination that the last one had: the next one most often
        #: has the same. None: not known.
        self.flow: Path | None = None
        self.src_number: i64 = 0
        self.dst_number: i64 = 0
        self.src = self.dst = b""
        self.trace_name = trace_name
        self.name = name
        self.label = label
        self.mac = mac
        self.address = address
        self.prefix_len = prefix_len
        self.mtu = mtu
        #: The directed broadcast address of its subnet, b"" where there is none (RFC 3021).
        self.broadcast = b""
        if len(address) == 4 and prefix_len < 31:
            host = (1 << 32 - prefix_len) - 1
            self.broadcast = (int.from_bytes(address, "big") | host).to_bytes(4, "big")
        #: Its IPv6 addresses with their prefix lengths, the link-local one first; and the groups it is in.
        self.ipv6: list[tuple[bytes, int]] = []
        self.groups: frozenset[bytes] = frozenset()

    def add_ipv6(self, address: bytes, prefix_len: int) -> None:
        """Add an IPv6 address; the first one brings the link-local one with it (RFC 4291 section 2.1)."""
        if not self.ipv6:
            self.ipv6.append((link_local(self.mac), 64))
        self.ipv6.append((address, prefix_len))
        self.groups = frozenset((ALL_NODES, *(solicited_node(each) for each, _ in self.ipv6)))

    def ipv6_source(self, dst: bytes) -> bytes:
        """The address of this interface that a packet to `dst`, or to a router on its way, comes from: one of the same
        scope (RFC 6724 section 5, rule 2). b"" when it has no IPv6 address."""
        if not self.ipv6:
            return b""
        local = (dst[0] == 0xFE and dst[1] & 0xC0 == 0x80) or (dst[0] == 0xFF and dst[1] & 15 == 2)
        return self.ipv6[0 if local else 1][0]

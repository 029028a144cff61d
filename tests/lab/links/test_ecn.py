"""Packets that find the queue long are marked instead of dropped (RFC 3168)."""

from __future__ import annotations

import pytest

from lab.links.ecn import mark
from nodes.packet.ethernet import TYPE_ARP, TYPE_IPV4, TYPE_IPV6
from nodes.packet.ipv4 import Ipv4Packet, decode_ipv4, encode_ipv4
from nodes.packet.ipv6 import Ipv6Packet, decode_ipv6, encode_ipv6

MACS = bytes(range(12))


@pytest.mark.parametrize("dscp", [0, 0xB8])
@pytest.mark.parametrize(("field", "after"), [(1, 3), (2, 3), (3, 3)])
@pytest.mark.parametrize("identification", [0, 1, 0x7FFF, 0xFFFF])
def test_ipv4(dscp: int, field: int, after: int, identification: int) -> None:
    packet = Ipv4Packet(bytes(4), bytes(4), 6, b"payload", identification=identification, tos=dscp | field)
    marked = mark(MACS + TYPE_IPV4 + encode_ipv4(packet))
    assert marked[:14] == MACS + TYPE_IPV4
    assert decode_ipv4(marked[14:]).tos == dscp | after  # which looks at the checksum
    assert marked[34:] == b"payload"


@pytest.mark.parametrize("field", [1, 2, 3])
def test_ipv6(field: int) -> None:
    packet = Ipv6Packet(bytes(16), bytes(16), 6, b"payload", traffic_class=0xA8 | field, flow_label=0x12345)
    marked = decode_ipv6(mark(MACS + TYPE_IPV6 + encode_ipv6(packet))[14:])
    assert (marked.traffic_class, marked.flow_label, marked.payload) == (0xAB, 0x12345, b"payload")


def test_who_cannot_be_marked_is_not() -> None:
    """RFC 3168 section 5: not-ECT packets are to be dropped, not marked."""
    ipv4 = encode_ipv4(Ipv4Packet(bytes(4), bytes(4), 6, b"payload", tos=0xB8))
    ipv6 = encode_ipv6(Ipv6Packet(bytes(16), bytes(16), 6, b"payload", traffic_class=0xB8))
    for frame in (MACS + TYPE_IPV4 + ipv4, MACS + TYPE_IPV6 + ipv6, MACS + TYPE_ARP + bytes(28), MACS, b""):
        assert mark(frame) == b""

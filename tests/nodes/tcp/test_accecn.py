"""AccECN (RFC 9768) with both ends ours."""

from __future__ import annotations

import pytest

from nodes.base import causes
from nodes.base.clock import MILLISECOND, SECOND
from nodes.packet.tcp import ACK, CE, FIN, SYN, Segment

from .accecn_scenes import flags, give, sender, sends
from .harness import Host, Wire


@pytest.mark.rfc("9768", "3.1.5-12")
@pytest.mark.parametrize("profile", ["linux", "rfc"])
@pytest.mark.parametrize("control", ["cubic", "reno", "dctcp", "bbr"])
def test_both_ends_count_the_same(profile: str, control: str) -> None:
    """Every eleventh data packet is marked and every ninth ACK lost; at the end both know the same, to the packet."""
    marked = 0
    seen = {"data": 0, "acks": 0}

    def fate(n: int, segment: Segment) -> list[int]:
        nonlocal marked
        if segment.payload:
            seen["data"] += 1
            if seen["data"] % 11 == 0 and segment.ecn:
                marked += 1
                segment.ecn = CE
        elif not segment.flags & (SYN | FIN):
            seen["acks"] += 1
            if seen["acks"] % 9 == 0:
                return []
        return [5 * MILLISECOND]

    wire = Wire(profile, fate=fate, tcp_ecn=3, tcp_congestion_control=control)
    c, s = wire.connect()
    size = 600_000
    left = size
    while s.bytes_received < size:
        if left and c.send_room > 0:
            left -= c.send(wire.now, b"x" * min(left, 50_000))
        if s.buffered:
            s.receive(wire.now, size)
        assert wire.step(60 * SECOND)
    wire.run(wire.now + SECOND)
    ours, theirs = c.status(wire.now), s.status(wire.now)
    assert marked > 20
    assert theirs.received_ce == marked
    assert ours.delivered_ce_segs == marked
    assert ours.delivered_ce_bytes == theirs.received_ce_bytes
    assert ours.delivered_e0_bytes == theirs.received_e0_bytes == size - theirs.received_ce_bytes
    assert ours.accecn_fail_mode == theirs.accecn_fail_mode == 0


def test_the_trace_has_marks_and_decisions() -> None:
    host = Host(tcp_ecn=3)
    c, peer = sender(host)
    first = sends(host, c)
    give(host, peer.segment(ACK | flags(6), 1, 1 + len(first.payload)))
    told = [(e["cause"], e["delivered_ce"], e["sends_ect"], e["sends_option"]) for e in host.sink.of("ecn")]
    assert told == [(causes.ECN_ACCURATE, 0, 1, 1), (causes.ECN_ECHO, 1, 1, 1)]

"""TCP_INFO where Linux's says something that is easily overlooked; tests/netns holds the rest beside the kernel."""

from __future__ import annotations

from nodes.base.clock import MILLISECOND, SECOND
from nodes.packet.tcp import ACK
from nodes.sockets.options import info_bytes
from nodes.tcp.connection import Connection
from tests.nodes.tcp.harness import Host, Wire, client


def u32(c: Connection, now: int, offset: int) -> int:
    """A field of struct tcp_info."""
    return int.from_bytes(info_bytes(now, c)[offset : offset + 4], "little")


def test_the_handshake_is_a_round_trip() -> None:
    """tcpi_min_rtt, at both ends, before any data."""
    wire = Wire(delay=20 * MILLISECOND)
    c, s = wire.connect()
    for one in (c, s):
        told = one.status(wire.now)
        assert told.min_rtt == told.rtt == 40 * MILLISECOND
        assert u32(one, wire.now, 148) == 40_000


def test_what_was_never_measured() -> None:
    """tcpi_snd_ssthresh (TCP_INFINITE_SSTHRESH), tcpi_min_rtt (all ones), tcpi_delivery_rate_app_limited."""
    host = Host()
    c = host.tcp.open(0, bytes((10, 0, 0, 2)), 80)
    assert u32(c, 0, 76) == 0x7FFF_FFFF
    assert u32(c, 0, 148) == 0xFFFF_FFFF
    assert c.status(0).delivery_rate_app_limited


def test_last_data_sent_before_there_was_any() -> None:
    """Linux counts from when the connection was established (tcp_finish_connect)."""
    host = Host()
    host.now = 3 * SECOND
    c, _ = client(host)
    host.after(SECOND)
    assert c.status(host.now).last_data_sent == 3 * SECOND
    assert u32(c, host.now, 44) == 1000


def test_backoff_of_window_probes() -> None:
    """icsk_backoff counts the probes of a closed window too."""
    host = Host()
    c, peer = client(host, window=1000)
    c.send(0, bytes(2000))
    peer.send(ACK, 1, 1001, window=0)
    host.after(SECOND)
    told = c.status(host.now)
    assert told.probes == told.backoff == 2

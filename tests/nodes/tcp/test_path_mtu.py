"""The path's MTU in the life of a connection (RFC 1191, RFC 8201)."""

from __future__ import annotations

import pytest

from nodes.base.clock import MILLISECOND, NEVER, SECOND
from nodes.packet.tcp import ACK
from nodes.tcp.connection import Connection
from tests.nodes.tcp.harness import HTTP, PEER, Host, Peer, client


def told(host: Host, c: Connection, mtu: int) -> None:
    """A router says that what is in flight does not fit (ICMP 3/4)."""
    host.tcp.on_icmp_error(host.now, host.local, PEER, c.local_port, HTTP, c.snd_una & 0xFFFF_FFFF, 3, 4, mtu)


def sizes(host: Host) -> list[int]:
    """The payloads of what was sent."""
    return [len(segment.payload) for segment in host.take() if segment.payload]


def acknowledged(host: Host, c: Connection, peer: Peer) -> None:
    """All that was sent has arrived."""
    peer.send(ACK, 1, c.snd_nxt - c.iss)
    host.take()


@pytest.mark.parametrize("mtu", [1000, 600])
def test_a_wider_path_is_found_when_the_entry_expires(mtu: int) -> None:
    """RFC 8201 section 4: an increase is looked for after `mtu_expires`, by sending larger packets."""
    host = Host(mtu_expires=100)
    c, peer = client(host)
    c.send(host.now, bytes(1460))
    assert sizes(host) == [1460]
    host.now += 10 * MILLISECOND
    told(host, c, mtu)
    assert (c.status(host.now).pmtu, c.status(host.now).snd_mss) == (mtu, mtu - 40)
    assert max(sizes(host)) == mtu - 40
    acknowledged(host, c, peer)
    host.after(100 * SECOND - MILLISECOND)
    c.send(host.now, bytes(1460))
    assert max(sizes(host)) == mtu - 40
    acknowledged(host, c, peer)
    host.after(MILLISECOND)
    c.send(host.now, bytes(1460))
    assert sizes(host) == [1460]
    # The path is no wider: it says so again, and what was lost goes again.
    told(host, c, mtu)
    assert max(sizes(host)) == mtu - 40


def test_a_smaller_mtu_is_believed_anew_and_a_larger_one_is_not() -> None:
    host = Host(mtu_expires=100)
    c, peer = client(host)
    c.send(host.now, bytes(1460))
    told(host, c, 1000)
    acknowledged(host, c, peer)
    host.after(60 * SECOND)
    told(host, c, 1200)
    assert c.status(host.now).pmtu == 1000
    told(host, c, 800)
    assert c.status(host.now).pmtu == 800
    host.after(60 * SECOND)
    c.send(host.now, bytes(1460))
    assert max(sizes(host)) == 760


def test_a_connection_that_begins_with_what_another_learned_forgets_it_when_the_host_does() -> None:
    host = Host()
    host.network.mtu = 900
    host.network.until = 30 * SECOND
    c, _ = client(host)
    assert c.status(host.now).snd_mss == 860
    host.network.mtu, host.network.until = 1500, NEVER
    host.after(30 * SECOND)
    c.send(host.now, bytes(1460))
    assert sizes(host) == [1460]

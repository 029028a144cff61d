"""A connection in each state, with a hand-played peer, for tables over states."""

from __future__ import annotations

from collections.abc import Callable

from nodes.packet.tcp import ACK, FIN, SYN
from nodes.tcp import states
from nodes.tcp.connection import Connection

from .harness import HTTP, PEER, Host, Peer, client

#: Host, connection, peer; next sequence number of the peer and of us, relative to the ISNs.
Scene = tuple[Host, Connection, Peer, int, int]


def syn_sent(host: Host, **options: object) -> Scene:
    host.parameters.set("tcp_timestamps", 0)
    c = host.tcp.open(host.now, PEER, HTTP, options=options)
    peer = Peer(host, HTTP, c.local_port)
    peer.irs = host.take()[0].seq
    return host, c, peer, 0, 1


def syn_received(host: Host, **options: object) -> Scene:
    """By a passive OPEN."""
    host.tcp.listen(host.now, b"", HTTP, 16, options)
    peer = Peer(host, 5000, HTTP)
    peer.send(SYN, 0, mss=1460)
    (c,) = host.tcp.connections.values()
    peer.irs = c.iss
    return host, c, peer, 1, 1


def syn_received_early(host: Host, **options: object) -> Scene:
    """By Fast Open, with 4 bytes of data that the user may read."""
    host.parameters.set("tcp_fastopen", 0x202)
    listener = host.tcp.listen(host.now, b"", HTTP, 16, {"TCP_FASTOPEN": 16, **options})
    peer = Peer(host, 5000, HTTP)
    peer.send(SYN, 0, payload=b"data", mss=1460)
    c = listener.accept(host.now)
    assert c is not None
    peer.irs = c.iss
    return host, c, peer, 5, 1


def syn_received_active(host: Host, **options: object) -> Scene:
    """By a simultaneous open."""
    _, c, peer, _, _ = syn_sent(host, **options)
    assert peer.send(SYN, 0, mss=1460) == ["S. 0:0(0) ack 1"]
    return host, c, peer, 1, 1


def established(host: Host, **options: object) -> Scene:
    c, peer = client(host, options=options)
    return host, c, peer, 1, 1


def fin_wait_1(host: Host, **options: object) -> Scene:
    _, c, peer, _, _ = established(host, **options)
    c.shutdown(host.now)
    assert peer.got() == ["F. 1:1(0) ack 1"]
    return host, c, peer, 1, 2


def fin_wait_2(host: Host, **options: object) -> Scene:
    _, c, peer, _, _ = fin_wait_1(host, **options)
    assert peer.send(ACK, 1, 2) == []
    return host, c, peer, 1, 2


def close_wait(host: Host, **options: object) -> Scene:
    _, c, peer, _, _ = established(host, **options)
    assert peer.send(FIN | ACK, 1, 1) == [". 1:1(0) ack 2"]
    return host, c, peer, 2, 1


def closing(host: Host, **options: object) -> Scene:
    _, c, peer, _, _ = fin_wait_1(host, **options)
    assert peer.send(FIN | ACK, 1, 1) == [". 2:2(0) ack 2"]
    return host, c, peer, 2, 2


def last_ack(host: Host, **options: object) -> Scene:
    _, c, peer, _, _ = close_wait(host, **options)
    c.shutdown(host.now)
    assert peer.got() == ["F. 1:1(0) ack 2"]
    return host, c, peer, 2, 2


def time_wait(host: Host, **options: object) -> Scene:
    _, c, peer, _, _ = fin_wait_2(host, **options)
    assert peer.send(FIN | ACK, 1, 2) == [". 2:2(0) ack 2"]
    return host, c, peer, 2, 2


#: Every state in which a connection can be, and how to get there.
SCENES: dict[int, Callable[..., Scene]] = {
    states.SYN_SENT: syn_sent,
    states.SYN_RECEIVED: syn_received,
    states.ESTABLISHED: established,
    states.FIN_WAIT_1: fin_wait_1,
    states.FIN_WAIT_2: fin_wait_2,
    states.CLOSE_WAIT: close_wait,
    states.CLOSING: closing,
    states.LAST_ACK: last_ack,
    states.TIME_WAIT: time_wait,
}
#: Those in which both ends have agreed on sequence numbers.
SYNCHRONIZED = tuple(state for state in SCENES if state not in (states.SYN_SENT, states.SYN_RECEIVED))

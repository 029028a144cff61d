"""Who may have a local port: as bind(2), listen(2) and connect(2) answer on Linux (socket(7), SO_REUSEADDR)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from nodes.base.errors import InvalidArgument, SocketError
from nodes.packet.tcp import ACK, FIN, SYN
from nodes.tcp import states
from nodes.tcp.connection import Connection
from tests.nodes.tcp.harness import HERE, HTTP, PEER, Host, Peer, client, server

REUSE: dict[str, object] = {"SO_REUSEADDR": 1}
SHARED: dict[str, object] = {"SO_REUSEPORT": 1}
ANY4 = bytes(4)
ANY6 = bytes(16)
PEER6 = bytes.fromhex("fd00") + bytes(13) + b"\2"


def served(host: Host, reuse: bool) -> tuple[Connection, Peer]:
    """A connection whose listener is closed."""
    listener = host.tcp.listen(0, b"", HTTP, 4, {"SO_REUSEADDR": int(reuse)})
    c, peer = server(host, listener=listener)
    listener.close(0)
    return c, peer


def time_wait(c: Connection, peer: Peer) -> None:
    c.close(0)
    peer.send(ACK, 1, 2)
    peer.send(FIN | ACK, 1, 2)
    assert c.state == states.TIME_WAIT


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize(("old", "new"), [(False, False), (False, True), (True, False), (True, True)])
def test_a_server_that_is_started_again(waits: bool, old: bool, new: bool) -> None:
    """With connections of the old one, in ESTABLISHED or TIME-WAIT, both need SO_REUSEADDR."""
    host = Host()
    c, peer = served(host, old)
    if waits:
        time_wait(c, peer)
    calls: list[Callable[[], object]] = [
        lambda: host.tcp.bind(b"", HTTP, new),
        lambda: host.tcp.listen(0, b"", HTTP, 4, {"SO_REUSEADDR": int(new)}),
    ]
    for call in calls:
        if old and new:
            call()
        else:
            with pytest.raises(SocketError, match="EADDRINUSE"):
                call()


def test_when_time_wait_is_over_the_port_is_free() -> None:
    host = Host()
    c, peer = served(host, False)
    time_wait(c, peer)
    host.after(60_000_000_000)
    host.tcp.listen(host.now, b"", HTTP, 4)


@pytest.mark.parametrize("reuse", [False, True])
def test_nobody_binds_where_somebody_listens(reuse: bool) -> None:
    host = Host()
    host.tcp.listen(0, b"", HTTP, 4, REUSE)
    for address in (b"", HERE, ANY4):
        with pytest.raises(SocketError, match="EADDRINUSE"):
            host.tcp.bind(address, HTTP, reuse)
    with pytest.raises(SocketError, match="EADDRINUSE: connection already exists"):
        host.tcp.open(0, PEER, 5000, local_port=HTTP, options=REUSE)


def test_of_two_bound_with_so_reuseaddr_the_first_may_listen() -> None:
    host = Host()
    one, other = host.tcp.bind(b"", HTTP, True), host.tcp.bind(HERE, HTTP, True)
    with pytest.raises(SocketError, match="EADDRINUSE"):
        host.tcp.bind(b"", HTTP, False)
    listener = host.tcp.listen(0, b"", HTTP, 4, REUSE, one)
    with pytest.raises(SocketError, match="EADDRINUSE"):
        host.tcp.listen(0, HERE, HTTP, 4, REUSE, other)
    listener.close(0)
    host.tcp.ports.release(one)
    host.tcp.listen(0, HERE, HTTP, 4, REUSE, other)


def test_listeners_that_share_a_port() -> None:
    """SO_REUSEPORT: who has a connection is a hash of its 4-tuple, the same in every run; all must be of one owner."""

    def spread(host: Host) -> list[int]:
        bindings = [host.tcp.bind(b"", HTTP, False, True, 1000) for _ in range(3)]
        listeners = [host.tcp.listen(0, b"", HTTP, 64, SHARED, binding) for binding in bindings]
        for owner, reuseport in ((1001, True), (1000, False)):
            with pytest.raises(SocketError, match="EADDRINUSE"):
                host.tcp.bind(HERE, HTTP, True, reuseport, owner)
        peers = [Peer(host, 5000 + number, HTTP) for number in range(60)]
        for peer in peers:
            host.tcp.on_segment(0, PEER, HERE, peer.segment(SYN, 0, mss=1460), 0, 0)
            (answer,) = host.take()
            assert (answer.flags, answer.dst_port) == (SYN | ACK, peer.port)
            peer.irs = answer.seq
        waiting = [len(listener.syn_queue) for listener in listeners]
        for peer in peers:
            peer.send(ACK, 1, 1)
        assert [len(listener.accept_queue) for listener in listeners] == waiting
        listeners[0].close(0)
        host.tcp.ports.release(bindings[0])
        host.take()
        assert Peer(host, 6000, HTTP).send(SYN, 0, mss=1460)[0].startswith("S.")
        for listener, binding in zip(listeners[1:], bindings[1:], strict=True):
            listener.close(0)
            host.tcp.ports.release(binding)
        host.take()
        assert Peer(host, 6001, HTTP).send(SYN, 0, mss=1460)[0].startswith("R.")
        return waiting

    waiting = spread(Host())
    assert sum(waiting) == 60
    assert min(waiting) > 5
    assert spread(Host()) == waiting


def test_what_is_bound_is_let_go() -> None:
    host = Host()
    binding = host.tcp.bind(b"", 0, False)
    assert 32768 <= binding.port <= 60999
    with pytest.raises(SocketError, match="EADDRINUSE"):
        host.tcp.listen(0, b"", binding.port, 1)
    c = host.tcp.open(0, PEER, HTTP, local_port=binding.port, binding=binding)
    assert c.local_port == binding.port
    c.abort(0)
    host.tcp.ports.release(binding)
    host.tcp.listen(0, b"", binding.port, 1)


def test_two_connections_from_one_port() -> None:
    """Both have SO_REUSEADDR: to different peers; the same addresses and ports are EADDRNOTAVAIL (connect(2))."""
    host = Host()
    host.tcp.open(0, PEER, HTTP, local_port=4000, options=REUSE)
    with pytest.raises(SocketError, match="EADDRINUSE"):
        host.tcp.open(0, PEER, HTTP + 1, local_port=4000)
    host.tcp.open(0, PEER, HTTP + 1, local_port=4000, options=REUSE)
    with pytest.raises(SocketError, match="EADDRNOTAVAIL: connection already exists"):
        host.tcp.open(0, PEER, HTTP, local_port=4000, options=REUSE)


def test_ports_that_are_bound_are_not_chosen() -> None:
    host = Host(ip_local_port_range="5000 5002")
    host.tcp.bind(HERE, 5000, True)
    host.tcp.listen(0, ANY4, 5001, 1)
    assert host.tcp.open(0, PEER, HTTP).local_port == 5002
    assert host.tcp.open(0, PEER, HTTP + 1).local_port == 5002
    with pytest.raises(SocketError, match="EADDRINUSE: every local port is taken"):
        host.tcp.bind(b"", 0, True)


def test_any_address_of_one_family() -> None:
    """0.0.0.0 and :: with IPV6_V6ONLY are not in each other's way; any of both families is in the way of both."""
    host = Host()
    four = host.tcp.listen(0, ANY4, HTTP, 1)
    host.tcp.listen(0, ANY6, HTTP, 1)
    with pytest.raises(SocketError, match="EADDRINUSE"):
        host.tcp.listen(0, b"", HTTP, 1)
    four.close(0)
    host.tcp.on_segment(0, PEER, HERE, Peer(host, 5000, HTTP).segment(SYN, 0, mss=1460), 0, 0)
    assert [segment.flags & SYN for segment in host.take()] == [0]  # a reset
    six = Host(local=PEER6)
    six.tcp.listen(0, ANY6, HTTP, 1)
    six.tcp.on_segment(0, PEER6, PEER6, Peer(six, 5000, HTTP).segment(SYN, 0, mss=1440), 0, 0)
    assert [segment.flags & SYN for segment in six.take()] == [SYN]


def test_what_is_no_address_or_port() -> None:
    host = Host()
    with pytest.raises(SocketError, match="EADDRNOTAVAIL"):
        host.tcp.bind(PEER, HTTP, True)
    with pytest.raises(InvalidArgument, match="local_port: 65536 is not allowed"):
        host.tcp.bind(b"", 65536, True)


def test_getsockopt_of_what_was_set() -> None:
    """socket(7): of buffers twice what was set; tcp(7): TCP_MAXSEG after the handshake changes nothing and is the MSS
    in use."""
    host = Host()
    c, _peer = client(host, mss=1000)
    c.set_option(0, "SO_RCVBUF", 20_000)
    assert c.get_option("SO_SNDBUF") == 4 << 20  # not set: as it is
    c.set_option(0, "SO_SNDBUF", 30_000)
    assert (c.get_option("SO_RCVBUF"), c.get_option("SO_SNDBUF")) == (40_000, 60_000)
    for value in (0, 88, 500):
        c.set_option(0, "TCP_MAXSEG", value)
        assert c.get_option("TCP_MAXSEG") == 1000
    with pytest.raises(InvalidArgument, match="TCP_MAXSEG: 87 is not allowed; 0 and 88 to 65495 are"):
        c.set_option(0, "TCP_MAXSEG", 87)
    c.send(0, bytes(2000))
    assert [len(segment.payload) for segment in host.take()] == [1000, 1000]
    listener = host.tcp.listen(0, b"", HTTP, 1)
    assert listener.get_option("TCP_MAXSEG") == 536
    listener.set_option(0, "TCP_MAXSEG", 700)
    assert listener.get_option("TCP_MAXSEG") == 700

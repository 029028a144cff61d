"""Urgent data (RFC 9293 section 3.8.5, RFC 6093), as BSD and Linux have it."""

from __future__ import annotations

import pytest

from nodes.base.errors import SocketError
from nodes.packet.tcp import ACK, FIN, PSH, URG, Segment

from .harness import HTTP, PEER, Host, Wire, client, server


def give(host: Host, segment: Segment) -> list[Segment]:
    host.tcp.on_segment(host.now, PEER, host.local, segment, 0, 0)
    return host.take()


@pytest.mark.rfc("9293", "MUST-30", "MUST-62", "MUST-31")
@pytest.mark.parametrize("size", [1, 2, 100, 4000])
def test_the_pointer_points_behind_the_urgent_data(size: int) -> None:
    """Of any length: what is sent says so from the first byte to the last, and no longer."""
    host = Host()
    c, peer = client(host)
    c.send(host.now, b"before")
    assert [segment.flags & URG for segment in host.take()] == [0]
    c.send(host.now, b"x" * size, urgently=True)
    marked = host.take()
    c.send(host.now, b"after")
    assert sum(len(segment.payload) for segment in marked) == size  # no Nagle for it
    for segment in marked:
        assert segment.flags & URG
        assert (segment.seq + segment.urgent - peer.irs - 1) % 2**32 == 6 + size
    assert [segment.flags & URG for segment in host.take()] == [0]


def test_a_pointer_reaches_no_further_than_16_bits() -> None:
    """What is further away is told as 65535, as Linux does: there is urgent data, and more of it."""
    host = Host(tcp_initial_cwnd=200)
    c, peer = client(host, scale=4)
    give(host, peer.segment(ACK, 1, 1))
    c.send(host.now, b"y" * 100_000, urgently=True)
    sent = host.take()
    assert sum(len(segment.payload) for segment in sent) == 100_000
    ends = [(segment.seq - peer.irs - 1) % 2**32 + segment.urgent for segment in sent]
    assert all(end == 100_000 or segment.urgent == 0xFFFF for end, segment in zip(ends, sent, strict=True))
    assert ends[-1] == 100_000


def test_once_acknowledged_it_is_not_told_again() -> None:
    host = Host()
    c, peer = client(host)
    c.send(host.now, b"abc", urgently=True)
    (first,) = host.take()
    assert (first.flags & URG, first.urgent) == (URG, 3)
    host.after(5_000_000_000)
    again = host.take()
    assert again
    assert {(segment.flags & URG, segment.urgent) for segment in again} == {(URG, 3)}  # with what is sent again too
    give(host, peer.segment(ACK, 1, 4))
    c.send(host.now, b"def")
    (later,) = host.take()
    assert (later.flags & URG, later.urgent) == (0, 0)


@pytest.mark.rfc("9293", "MUST-32", "MUST-33")
def test_the_byte_is_received_apart_and_reading_stops_at_its_place() -> None:
    host = Host()
    c, peer = server(host)
    told = []
    c.on_ready = lambda: told.append(c.urgent_pending)
    give(host, peer.segment(ACK | URG | PSH, 1, 1, b"abcdefgh", urgent=4))
    assert told == [True]
    assert (c.urgent_pending, c.at_mark, c.unread) == (True, False, 3)
    assert c.receive(host.now, 100) == b"abc"
    assert (c.at_mark, c.unread) == (True, 4)
    assert c.peek(host.now, 100) == b"efgh"
    assert [c.receive_urgent(host.now, peek=peek) for peek in (True, False)] == [b"d", b"d"]
    assert (c.urgent_pending, c.at_mark) == (False, True)
    with pytest.raises(SocketError, match="EINVAL"):
        c.receive_urgent(host.now)
    assert c.receive(host.now, 2) == b"ef"
    assert (c.at_mark, c.unread) == (False, 2)
    assert c.receive(host.now, 100) == b"gh"


def test_a_byte_that_nobody_receives_is_not_in_the_stream() -> None:
    host = Host()
    c, peer = server(host)
    give(host, peer.segment(ACK | URG, 1, 1, b"abXcd", urgent=3))
    assert [c.receive(host.now, 100) for _ in range(3)] == [b"ab", b"cd", b""]


@pytest.mark.parametrize(("inline", "stream"), [(0, [b"ab", b"cd"]), (1, [b"ab", b"Xcd"])])
def test_in_line_it_stays_in_the_stream(inline: int, stream: list[bytes]) -> None:
    """RFC 6093 section 3.1 wants applications to set SO_OOBINLINE; the mark is there either way."""
    host = Host()
    c, peer = server(host)
    c.set_option(host.now, "SO_OOBINLINE", inline)
    give(host, peer.segment(ACK | URG, 1, 1, b"abXcd", urgent=3))
    assert [c.receive(host.now, 100) for _ in range(2)] == stream
    if inline:
        with pytest.raises(SocketError, match="EINVAL"):
            c.receive_urgent(host.now)


@pytest.mark.parametrize(("stdurg", "byte"), [(0, b"c"), (1, b"d")])
def test_which_byte_the_pointer_means(stdurg: int, byte: bytes) -> None:
    """tcp_stdurg of ip-sysctl: RFC 793 and 1122 read it otherwise; RFC 6093 section 4 is for what everybody does."""
    host = Host(tcp_stdurg=stdurg)
    c, peer = server(host)
    give(host, peer.segment(ACK | URG, 1, 1, b"abcde", urgent=3))
    assert c.receive_urgent(host.now) == byte


@pytest.mark.rfc("9293", "MUST-66")
def test_the_pointer_comes_before_its_byte_and_into_a_closed_window() -> None:
    host = Host(tcp_rmem=4096)
    c, peer = server(host)
    at = 1
    while c.rcv_wnd:
        size = min(c.rcv_wnd, 1000)
        give(host, peer.segment(ACK, at, 1, b"x" * size))
        at += size
    give(host, peer.segment(ACK | URG, at, 1, b"", urgent=1))
    with pytest.raises(SocketError, match="EAGAIN"):
        c.receive_urgent(host.now)
    assert not c.urgent_pending
    assert len(c.receive(host.now, 100_000)) == at - 1
    assert c.at_mark
    host.take()
    give(host, peer.segment(ACK | URG, at, 1, b"!more", urgent=1))
    assert c.receive_urgent(host.now) == b"!"
    assert c.receive(host.now, 100) == b"more"


def test_out_of_order_it_is_there_at_once_and_its_place_later() -> None:
    host = Host()
    c, peer = server(host)
    give(host, peer.segment(ACK | URG, 4, 1, b"Xdef", urgent=1))
    assert c.receive_urgent(host.now) == b"X"
    give(host, peer.segment(ACK, 1, 1, b"abc"))
    assert [c.receive(host.now, 100) for _ in range(2)] == [b"abc", b"def"]


def test_a_later_mark_takes_the_place_of_one() -> None:
    """The byte of the one before is in the stream then, but for one at which the user is: that is lost to him."""
    host = Host()
    c, peer = server(host)
    give(host, peer.segment(ACK | URG, 1, 1, b"aXb", urgent=2))
    give(host, peer.segment(ACK | URG, 4, 1, b"cYd", urgent=2))
    assert c.receive_urgent(host.now) == b"Y"
    assert [c.receive(host.now, 100) for _ in range(2)] == [b"aXbc", b"d"]
    give(host, peer.segment(ACK | URG, 7, 1, b"Xe", urgent=1))
    assert c.at_mark
    give(host, peer.segment(ACK | URG, 9, 1, b"Yf", urgent=1))
    assert [c.receive(host.now, 100) for _ in range(2)] == [b"e", b"f"]


def test_an_old_pointer_means_nothing() -> None:
    host = Host()
    c, peer = server(host)
    give(host, peer.segment(ACK, 1, 1, b"abc"))
    give(host, peer.segment(ACK | URG, 1, 1, b"abcd", urgent=2))
    assert not c.urgent_pending
    assert c.receive(host.now, 100) == b"abcd"


def test_a_lonely_urgent_byte_does_not_make_readable() -> None:
    """As on Linux: POLLPRI, not POLLIN; and at the end of file nothing is left."""
    host = Host()
    c, peer = server(host)
    give(host, peer.segment(ACK | URG, 1, 1, b"X", urgent=1))
    assert (c.urgent_pending, c.readable) == (True, False)
    assert c.receive(host.now, 100) == b""
    give(host, peer.segment(ACK | FIN, 2, 1))
    assert c.receive(host.now, 100) == b""
    assert c.eof


def test_after_the_fin_none_can_come() -> None:
    host = Host()
    c, peer = server(host)
    give(host, peer.segment(ACK | URG, 1, 1, b"", urgent=5))
    give(host, peer.segment(ACK | FIN, 1, 1))
    assert c.receive_urgent(host.now) == b""
    give(host, peer.segment(ACK | URG, 2, 1, b"", urgent=5))
    c.close(host.now)
    with pytest.raises(SocketError, match="EBADF"):
        c.receive_urgent(host.now)


def test_both_ends_over_a_lossy_wire() -> None:
    """Every third segment is lost once; each mark comes at its place in the stream."""
    lost: set[int] = set()

    def fate(n: int, segment: Segment) -> list[int]:
        key = segment.seq
        if segment.payload and n % 3 == 0 and key not in lost:
            lost.add(key)
            return []
        return [5_000_000]

    wire = Wire(fate=fate)
    c, s = wire.connect()
    s.set_option(wire.now, "SO_OOBINLINE", 1)
    got = b""
    for n in range(20):
        c.send(wire.now, b"%03d" % n)
        c.send(wire.now, b"!", urgently=True)
        size = 4 * (n + 1)
        while len(got) + s.buffered < size:
            assert wire.step(wire.now + 10**11)
        got += s.receive(wire.now, 3)
        assert s.at_mark
        got += s.receive(wire.now, 100)
    assert lost
    assert got == b"".join(b"%03d!" % n for n in range(20))


def test_the_trace_tells_of_it() -> None:
    host = Host()
    c, peer = server(host)
    give(host, peer.segment(ACK | URG, 1, 1, b"abX", urgent=3))
    c.send(host.now, b"yz", urgently=True)
    told = [(e["direction"], e["seq"]) for e in host.sink.of("urgent")]
    assert told == [(2, (peer.iss + 3) % 2**32), (1, (peer.irs + 2) % 2**32)]
    assert peer.local_port == HTTP

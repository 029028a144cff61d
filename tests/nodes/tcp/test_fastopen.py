"""TCP Fast Open (RFC 7413), client and server, as Linux does it."""

from __future__ import annotations

from typing import Any

import pytest

from nodes.base.clock import MILLISECOND, SECOND
from nodes.base.errors import InvalidArgument, SocketError
from nodes.packet.tcp import ACK, FIN, RST, SYN, FastOpenOption, Segment
from nodes.packet.tcp_codec import decode_tcp, encode_options, encode_tcp
from nodes.tcp import states
from nodes.tcp.connection import Connection

from .harness import HERE, HTTP, PEER, Host, Peer, Wire, letters

COOKIE = FastOpenOption(bytes.fromhex("abcd1234"), False)
ASK = FastOpenOption(b"", False)
CONNECT: dict[str, object] = {"TCP_FASTOPEN_CONNECT": 1}
#: Without a key of its own, what Linux gives PEER here.
KEY = "a1a1a1a1-b2b2b2b2-c3c3c3c3-d4d4d4d4"


# The option.


@pytest.mark.parametrize(
    ("option", "encoded"),
    [
        (ASK, "22020101"),
        (FastOpenOption(b"", True), "fe04f989"),
        (COOKIE, "2206abcd12340101"),
        (FastOpenOption(bytes.fromhex("112233445566"), False), "2208112233445566"),
        (FastOpenOption(bytes.fromhex("3021b9d889017eeb"), True), "fe0cf9893021b9d889017eeb"),
    ],
)
def test_option_on_the_wire(option: FastOpenOption, encoded: str) -> None:
    """RFC 7413 section 4.1.1 and its appendix; NOPs after it, as in Linux."""
    segment = Segment(1, 2, 3, 0, SYN, 0, b"")
    segment.fast_open = option
    assert encode_options(segment).hex() == encoded
    assert decode_tcp(encode_tcp(segment, HERE, PEER)).fast_open == option


@pytest.mark.parametrize("size", [1, 2, 3, 5, 15, 17, 18])
def test_cookies_of_other_lengths_are_no_cookies(size: int) -> None:
    segment = Segment(1, 2, 3, 0, SYN, 0, b"")
    segment.fast_open = FastOpenOption(bytes(size), False)
    assert decode_tcp(encode_tcp(segment, HERE, PEER)).fast_open is None


def test_only_a_syn_has_the_option() -> None:
    segment = Segment(1, 2, 3, 0, ACK, 0, b"")
    segment.fast_open = COOKIE
    assert decode_tcp(encode_tcp(segment, HERE, PEER)).fast_open is None


# The client.


def ask(host: Host, answer: FastOpenOption | None = COOKIE, mss: int = 1460) -> Segment:
    """The first connection to a server, which answers the request with `answer`; returns the SYN."""
    host.parameters.set("tcp_timestamps", 0)
    c = host.tcp.open(host.now, PEER, HTTP, options=CONNECT)
    (syn,) = host.take()
    peer = Peer(host, HTTP, c.local_port)
    peer.irs = syn.seq
    assert peer.send(SYN | ACK, 0, 1, mss=mss, fast_open=answer) == [". 1:1(0) ack 1"]
    c.abort(host.now)
    host.take()
    return syn


def reopen(host: Host, data: bytes, **options: object) -> tuple[Connection, Peer, Segment, int]:
    """A connection that sends its SYN with the first SEND."""
    c = host.tcp.open(host.now, PEER, HTTP, options={**CONNECT, **options})
    assert (host.take(), c.state, c.writable) == ([], states.SYN_SENT, True)
    taken = c.send(host.now, data)
    (syn,) = host.take()
    peer = Peer(host, HTTP, c.local_port)
    peer.irs = syn.seq
    assert letters(syn) == "S"
    return c, peer, syn, taken


def test_a_cookie_is_asked_for_then_used() -> None:
    host = Host()
    syn = ask(host)
    assert (syn.fast_open, syn.payload) == (ASK, b"")
    c, peer, syn, taken = reopen(host, b"request")
    assert (syn.fast_open, syn.payload, taken) == (COOKIE, b"request", 7)
    assert peer.send(SYN | ACK, 0, 8, mss=1460) == [". 8:8(0) ack 1"]
    info = c.status(host.now)
    assert (c.state, info.unacked, info.bytes_acked) == (states.ESTABLISHED, 0, 7)
    assert "syn_data" in info.options
    assert (host.counters.TcpExtTCPFastOpenActive, host.counters.TcpExtTCPFastOpenActiveFail) == (1, 0)


@pytest.mark.parametrize(
    ("mss", "maxseg", "carried"), [(1460, 0, 1420), (940, 0, 900), (1340, 1040, 1000), (10_000, 0, 1420)]
)
def test_the_syn_carries_less_than_the_mss(mss: int, maxseg: int, carried: int) -> None:
    """What the server announced before, our own MSS and the path, less the 40 bytes of options there can be."""
    host = Host()
    ask(host, mss=mss)
    options: dict[str, object] = {"TCP_MAXSEG": maxseg} if maxseg else {}
    _, _, syn, taken = reopen(host, bytes(2000), **options)
    assert (len(syn.payload), taken) == (carried, carried)


@pytest.mark.parametrize(
    ("acked", "again"), [(0, ["P. 1:101(100) ack 1"]), (60, ["P. 61:101(40) ack 1"]), (100, [". 101:101(0) ack 1"])]
)
def test_what_is_not_acknowledged_goes_again_at_once(acked: int, again: list[str]) -> None:
    """RFC 7413 section 4.2.2: the server may take all, a part or nothing of the data."""
    host = Host()
    ask(host)
    c, peer, _, _ = reopen(host, bytes(100))
    assert peer.send(SYN | ACK, 0, 1 + acked, mss=1460) == again
    assert ("syn_data" in c.status(0).options) == (acked == 100)
    assert host.counters.TcpExtTCPFastOpenActiveFail == (acked < 100)
    assert c.status(0).fastopen_client_fail == ("" if acked == 100 else "data_not_acked")
    assert peer.send(ACK, 1, 101) == []
    assert c.status(0).unacked == 0


def test_what_goes_again_fits_the_servers_mss() -> None:
    host = Host()
    ask(host)
    _, peer, _, _ = reopen(host, bytes(1420))
    assert peer.send(SYN | ACK, 0, 101, mss=1000) == [". 101:1101(1000) ack 1", "P. 1101:1421(320) ack 1"]


def test_a_syn_sent_again_is_plain() -> None:
    """RFC 7413 section 4.1.3.1: neither cookie nor data, which some middlebox may not have let through."""
    host = Host()
    ask(host)
    c, peer, _, _ = reopen(host, b"request")
    host.after(SECOND)
    (syn,) = host.take()
    assert (letters(syn), syn.fast_open, syn.payload) == ("S", None, b"")
    assert peer.send(SYN | ACK, 0, 1, mss=1460) == ["P. 1:8(7) ack 1"]
    assert c.state == states.ESTABLISHED


def test_data_in_the_syn_ack() -> None:
    host = Host()
    ask(host)
    c, peer, _, _ = reopen(host, b"request")
    assert peer.send(SYN | ACK | FIN, 0, 8, b"response", mss=1460) == [". 8:8(0) ack 10"]
    assert (c.state, c.receive(0, 100), c.eof) == (states.CLOSE_WAIT, b"response", True)


def test_refused() -> None:
    host = Host()
    ask(host)
    c, peer, _, _ = reopen(host, b"request")
    assert peer.send(RST | ACK, 0, 1) == []
    with pytest.raises(SocketError, match="ECONNREFUSED"):
        c.send(0, b"more")


def test_a_server_without_it_is_asked_in_both_ways_and_then_as_before() -> None:
    """Linux: the option's own number, the experimental one, then its own for ever."""
    host = Host()
    kinds = [syn.fast_open for syn in (ask(host, None), ask(host, None), ask(host, None), ask(host, None))]
    assert kinds == [ASK, FastOpenOption(b"", True), ASK, ASK]
    experimental = Host()
    ask(experimental, None)
    ask(experimental, FastOpenOption(b"cake", True))
    assert reopen(experimental, b"x")[2].fast_open == FastOpenOption(b"cake", True)


def test_without_cookies() -> None:
    """tcp_fastopen 4, TCP_FASTOPEN_NO_COOKIE: the very first SYN carries data, and no option."""
    for bits, options in ((5, {}), (1, {"TCP_FASTOPEN_NO_COOKIE": 1})):
        host = Host(tcp_timestamps=0, tcp_fastopen=bits)
        _, peer, syn, taken = reopen(host, bytes(1500), **options)
        assert (syn.fast_open, taken) == (None, 1420)
        assert peer.send(SYN | ACK, 0, 1421, mss=1460) == [". 1421:1421(0) ack 1"]


def test_closed_before_anything_was_sent() -> None:
    host = Host()
    ask(host)
    c = host.tcp.open(0, PEER, HTTP, options=CONNECT)
    c.close(0)
    assert (host.take(), c.state) == ([], states.CLOSED)


def test_the_peers_syn_comes_while_ours_waits_for_data() -> None:
    """A simultaneous open (RFC 9293 section 3.5), without Fast Open: our SYN-ACK is the first that we send."""
    host = Host()
    ask(host)
    c = host.tcp.open(host.now, PEER, HTTP, options=CONNECT)
    assert host.take() == []
    peer = Peer(host, HTTP, c.local_port)
    peer.irs = c.iss
    host.tcp.on_segment(host.now, PEER, HERE, peer.segment(SYN, 0, mss=1460), 0, 0)
    (answer,) = host.take()
    assert (letters(answer), answer.seq, answer.fast_open, answer.payload) == ("S.", c.iss, None, b"")
    assert c.send(host.now, b"data") == 4
    assert peer.send(ACK, 1, 1) == ["P. 1:5(4) ack 1"]
    assert c.state == states.ESTABLISHED


def test_switched_off() -> None:
    host = Host(tcp_fastopen=2)
    with pytest.raises(SocketError, match="EOPNOTSUPP"):
        host.tcp.open(0, PEER, HTTP, options=CONNECT)


def test_a_black_hole_switches_it_off_for_a_while() -> None:
    """RFC 7413 section 4.1.3.1; tcp_fastopen_blackhole_timeout_sec, doubled each time."""
    host = Host(tcp_fastopen_blackhole_timeout_sec=100)
    ask(host)
    for times, pause in ((1, 100), (2, 200)):
        c, _, syn, _ = reopen(host, b"request")
        assert syn.fast_open == COOKIE
        host.after(2 * SECOND)
        swallowed = host.now
        assert host.counters.TcpExtTCPFastOpenBlackhole == times
        c.abort(host.now)
        host.run_until(swallowed + (pause - 10) * SECOND)
        host.take()
        plain = host.tcp.open(host.now, PEER, HTTP, options=CONNECT)
        assert [s.fast_open for s in host.take()] == [None]
        plain.abort(host.now)
        host.after(11 * SECOND)


# The server.


def knock(host: Host, payload: bytes = b"", option: FastOpenOption | None = None, port: int = 5000) -> Peer:
    """A peer's SYN; what is answered is in host.network."""
    peer = Peer(host, port, HTTP)
    syn = peer.segment(SYN, 0, 0, payload, mss=1460, fast_open=option)
    host.tcp.on_segment(host.now, PEER, HERE, syn, 0, 0)
    peer.irs = host.network.sent[-1][3].seq
    return peer


def serving(limit: int = 5, **knobs: Any) -> tuple[Host, FastOpenOption]:
    """A server and its cookie for PEER."""
    host = Host(**{"tcp_fastopen": 2, **knobs})
    host.tcp.listen(0, b"", HTTP, 8, {"TCP_FASTOPEN": limit})
    peer = knock(host, option=ASK, port=4999)
    (answer,) = host.take()
    peer.send(RST, 1)
    assert answer.fast_open is not None
    return host, answer.fast_open


def accept(host: Host) -> Connection:
    c = host.tcp.listeners[(b"", HTTP)].accept(host.now)
    assert c is not None
    return c


def test_the_cookie_is_linuxs() -> None:
    """10.0.0.2 at 10.0.0.1 under that key: SipHash-2-4 of both addresses."""
    host, cookie = serving(tcp_fastopen_key=KEY)
    assert len(cookie.cookie) == 8
    other, again = serving(tcp_fastopen_key=KEY)
    assert (cookie, host.counters.TcpExtTCPFastOpenCookieReqd) == (again, 1)
    assert serving()[1] != cookie
    other.parameters.set("tcp_fastopen_key", KEY.replace("a", "b"))
    knock(other, option=ASK, port=4998)
    assert other.take()[0].fast_open not in (None, cookie)
    with pytest.raises(InvalidArgument, match="tcp_fastopen_key: 'x' is not allowed"):
        other.parameters.set("tcp_fastopen_key", "x")


def test_data_and_answer_before_the_handshake_is_done() -> None:
    """RFC 7413 figure 1."""
    host, cookie = serving()
    peer = knock(host, b"request", cookie)
    assert peer.got() == ["S. 0:0(0) ack 8"]
    c = accept(host)
    assert (c.state, c.receive(0, 100), c.writable) == (states.SYN_RECEIVED, b"request", True)
    assert "syn_data" in c.status(0).options
    c.send(0, b"response")
    assert peer.got() == ["P. 1:9(8) ack 8"]
    peer.send(ACK, 8, 9, b"more")
    assert (c.state, c.receive(0, 100)) == (states.ESTABLISHED, b"more")
    assert host.sink.path(c.number) == ["LISTEN", "SYN-RECEIVED", "ESTABLISHED"]
    assert (host.counters.TcpExtTCPFastOpenPassive, host.tcp.listeners[(b"", HTTP)].fast_open.pending) == (1, 0)


def test_a_valid_cookie_without_data() -> None:
    host, cookie = serving()
    peer = knock(host, b"", cookie)
    c = accept(host)
    c.send(0, b"hello")
    assert peer.got() == ["S. 0:0(0) ack 1", "P. 1:6(5) ack 1"]
    assert "syn_data" not in c.status(0).options


@pytest.mark.parametrize(
    ("bits", "limit", "option", "taken"),
    [
        (2, 5, None, False),  # no cookie
        (1, 5, "valid", False),  # off
        (2, 0, "valid", False),  # no TCP_FASTOPEN
        (0x402, 0, "valid", True),  # every listener
        (0x202, 5, None, True),  # cookies are not asked for
        (0x202, 5, "other", True),
        (2, 5, "other", False),
    ],
)
def test_whose_data_is_taken(bits: int, limit: int, option: str | None, taken: bool) -> None:
    _, cookie = serving(tcp_fastopen_key=KEY)
    host = Host(tcp_fastopen=bits, tcp_fastopen_key=KEY)
    host.tcp.listen(0, b"", HTTP, 8, {"TCP_FASTOPEN": limit})
    sent = {"valid": cookie, "other": COOKIE, None: None}[option]
    knock(host, b"request", sent)
    (answer,) = host.take()
    peer_acked = (answer.ack - 9000) & 0xFFFFFFFF
    assert peer_acked == (8 if taken else 1)
    # Who came with a wrong cookie is given the right one.
    assert answer.fast_open == (cookie if option == "other" and not taken else None)
    assert host.counters.TcpExtTCPFastOpenPassiveFail == (option == "other" and not taken)


def test_the_answer_is_of_the_kind_that_was_asked() -> None:
    host, cookie = serving()
    knock(host, option=FastOpenOption(b"", True), port=4000)
    assert host.take()[0].fast_open == FastOpenOption(cookie.cookie, True)


def test_only_so_many_are_pending() -> None:
    """TCP_FASTOPEN: beyond it the handshake comes first. One that a RST has ended counts for a minute (5.1)."""
    host, cookie = serving(limit=1)
    first = knock(host, b"data", cookie, 5000)
    host.take()
    knock(host, b"data", cookie, 5001)
    assert (host.take()[0].ack - 9000, host.counters.TcpExtTCPFastOpenListenOverflow) == (1, 1)
    first.send(RST, 5)
    for wait, acked in ((0, 1), (59 * SECOND, 1), (2 * SECOND, 5)):
        host.after(wait)
        host.take()
        knock(host, b"data", cookie, 5002 + wait // SECOND)
        assert host.take()[0].ack - 9000 == acked


def test_reset_before_accept() -> None:
    """The connection is accepted all the same, with its data and its error."""
    host, cookie = serving()
    peer = knock(host, b"request", cookie)
    assert peer.got() == ["S. 0:0(0) ack 8"]
    peer.send(RST, 8)
    c = accept(host)
    assert c.receive(0, 100) == b"request"
    with pytest.raises(SocketError, match="ECONNRESET"):
        c.receive(0, 100)


def test_closed_with_unread_data() -> None:
    host, cookie = serving()
    peer = knock(host, b"request", cookie)
    accept(host).close(0)
    assert peer.got() == ["S. 0:0(0) ack 8", "R. 1:1(0) ack 8"]


def test_listener_closed() -> None:
    host, cookie = serving()
    peer = knock(host, b"request", cookie)
    host.tcp.listeners[(b"", HTTP)].close(0)
    assert peer.got() == ["S. 0:0(0) ack 8", "R. 1:1(0) ack 8"]


def test_closed_before_the_handshake_is_done() -> None:
    host, cookie = serving()
    peer = knock(host, b"request", cookie)
    c = accept(host)
    c.receive(0, 100)
    c.send(0, b"bye")
    c.close(0)
    assert peer.got() == ["S. 0:0(0) ack 8", "P. 1:4(3) ack 8", "F. 4:4(0) ack 8"]
    assert peer.send(ACK, 8, 5) == []
    assert c.state == states.FIN_WAIT_2


def test_the_syn_ack_is_sent_again_not_the_data() -> None:
    """RFC 7413 section 4.2.2: the handshake's retransmission goes on as without data; then the data is due."""
    host, cookie = serving(tcp_synack_retries=2)
    peer = knock(host, b"request", cookie)
    c = accept(host)
    c.send(0, b"response")
    host.take()
    host.after(1500 * MILLISECOND)
    assert peer.got() == ["S. 0:0(0) ack 8"]
    assert knock(host, b"request", cookie).got() == ["S. 0:0(0) ack 8"]
    assert peer.send(ACK, 8, 1) == []
    assert c.state == states.ESTABLISHED
    host.after(3 * SECOND)
    assert peer.got()[0] == "P. 1:9(8) ack 8"


def test_never_answered_it_is_given_up() -> None:
    host, cookie = serving(tcp_synack_retries=2)
    knock(host, b"request", cookie)
    c = accept(host)
    host.after(20 * SECOND)
    assert (c.state, c.error, host.tcp.listeners[(b"", HTTP)].fast_open.pending) == (states.CLOSED, "ETIMEDOUT", 0)


# Both.


def test_a_round_trip_is_saved() -> None:
    """Two exchanges over 5 ms each way: the first takes two round trips, the second one."""
    wire = Wire(tcp_fastopen=3)
    listener = wire.b.tcp.listen(0, b"", HTTP, 8, {"TCP_FASTOPEN": 8})
    took = []
    for _ in range(2):
        began = wire.now
        c = wire.a.tcp.open(wire.now, PEER, HTTP, options=CONNECT)
        assert c.send(wire.now, b"request") == 7
        wire.run(until=lambda: bool(listener.accept_queue and listener.accept_queue[0].buffered))
        s = listener.accept(wire.now)
        assert s is not None
        assert s.receive(wire.now, 100) == b"request"
        s.send(wire.now, b"response" * 1000)
        wire.run(until=lambda c=c: c.buffered > 0)  # type: ignore[misc]
        took.append((wire.now - began) // MILLISECOND)
        wire.run(wire.now + SECOND)
        assert c.receive(wire.now, 1 << 20) == b"response" * 1000
        c.close(wire.now)
        s.close(wire.now)
        wire.run(wire.now + SECOND)
    assert took == [20, 10]

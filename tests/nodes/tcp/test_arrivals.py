"""SEGMENT ARRIVES (RFC 9293 section 3.10.7): each check, in each state, by what goes back over the wire."""

from __future__ import annotations

import pytest

from nodes.base import causes
from nodes.base.clock import MILLISECOND, SECOND
from nodes.packet.tcp import ACK, FIN, RST, SYN, Segment
from nodes.tcp import states
from nodes.tcp.seq import MASK

from . import scenes
from .harness import HERE, HTTP, PEER, Host, Peer, client
from .scenes import SCENES, SYNCHRONIZED

NAMES = states.STATE_NAMES


def stray(
    host: Host, flags: int, seq: int = 100, ack: int = 0, payload: bytes = b"", port: int = 9
) -> list[tuple[int, int, int]]:
    """A segment for no connection; returns (flags, seq, ack) of what comes back."""
    host.tcp.on_segment(0, PEER, HERE, Segment(7, port, seq, ack, flags, 1000, payload), 0, 0)
    return [(s.flags, s.seq, s.ack) for s in host.take()]


@pytest.mark.parametrize(
    ("flags", "payload", "answer"),
    [
        (SYN, b"", [(RST | ACK, 0, 101)]),
        (SYN, b"abc", [(RST | ACK, 0, 104)]),
        (FIN, b"", [(RST | ACK, 0, 101)]),
        (0, b"abc", [(RST | ACK, 0, 103)]),
        (ACK, b"", [(RST, 5555, 0)]),
        (SYN | ACK, b"", [(RST, 5555, 0)]),
        (RST, b"", []),
        (RST | ACK, b"", []),
    ],
)
def test_closed(flags: int, payload: bytes, answer: list[tuple[int, int, int]]) -> None:
    """3.10.7.1: a RST that the other end will find acceptable; nothing for a RST."""
    host = Host()
    assert stray(host, flags, ack=5555, payload=payload) == answer
    assert host.counters.TcpOutRsts == len(answer)


def test_listen() -> None:
    """3.10.7.2: RST is ignored, then ACK is reset, then SYN is answered, and anything else is dropped."""
    host = Host()
    host.tcp.listen(0, b"", HTTP, 5)
    assert stray(host, RST, port=HTTP) == []
    assert stray(host, RST | SYN, port=HTTP) == []
    assert stray(host, ACK, ack=77, port=HTTP) == [(RST, 77, 0)]
    assert stray(host, SYN | ACK, ack=77, port=HTTP) == [(RST, 77, 0)]
    assert stray(host, 0, payload=b"x", port=HTTP) == []
    assert stray(host, FIN, port=HTTP) == []
    assert not host.tcp.connections
    ((flags, _, ack),) = stray(host, SYN, port=HTTP)
    assert (flags, ack) == (SYN | ACK, 101)


@pytest.mark.parametrize("extra", [0x40, 0x80, 0xC0])
def test_syn_with_ecn_bits_is_a_syn(extra: int) -> None:
    """RFC 3168 section 6.1.1: a host that does not speak ECN answers an ECN-setup SYN plainly."""
    host = Host(tcp_ecn=0)
    host.tcp.listen(0, b"", HTTP, 5)
    ((flags, _, _),) = stray(host, SYN | extra, port=HTTP)
    assert flags == SYN | ACK


def test_syn_sent_checks_the_ack_first() -> None:
    """3.10.7.3, first: ACK =< ISS or > SND.NXT is reset, with RST it is dropped."""
    _host, c, peer, _, _ = scenes.syn_sent(Host())
    assert peer.send(SYN | ACK, 0, 0) == ["R 0:0(0)"]
    assert peer.send(SYN | ACK, 0, 2) == ["R 2:2(0)"]
    assert peer.send(ACK, 0, 2) == ["R 2:2(0)"]
    assert peer.send(RST | ACK, 0, 2) == []
    assert c.state == states.SYN_SENT


@pytest.mark.rfc("5961", "3.2-6")
def test_syn_sent_then_the_rst() -> None:
    """3.10.7.3, second: a RST without our SYN's ACK is dropped, with it the connection is refused."""
    host, c, peer, _, _ = scenes.syn_sent(Host())
    assert peer.send(RST, 0) == []
    assert c.state == states.SYN_SENT
    assert peer.send(RST | ACK, 0, 1) == []
    assert (c.state, c.error) == (states.CLOSED, "ECONNREFUSED")
    assert host.counters.TcpAttemptFails == 1
    accepted = [e["accepted"] for e in host.sink.of("reset")]
    assert accepted == [0, 1]


def test_syn_sent_without_syn_drops() -> None:
    """3.10.7.3, fifth."""
    _host, c, peer, _, _ = scenes.syn_sent(Host())
    assert peer.send(ACK, 0, 1, b"data") == []
    assert peer.send(FIN, 0) == []
    assert c.state == states.SYN_SENT


def test_syn_ack_with_data() -> None:
    """3.10.7.3, fourth: "If there are other controls or text in the segment, then continue processing"."""
    _host, c, peer, _, _ = scenes.syn_sent(Host())
    assert peer.send(SYN | ACK | FIN, 0, 1, b"hello") == [". 1:1(0) ack 7"]
    assert (c.state, c.receive(0, 10)) == (states.CLOSE_WAIT, b"hello")


@pytest.mark.rfc("9293", "MUST-10")
@pytest.mark.parametrize(("profile", "more"), [("rfc", []), ("linux", [". 1:1(0) ack 1"])])
def test_simultaneous_open(profile: str, more: list[str]) -> None:
    """Section 3.5, figure 8: SYNs cross; each answers SYN-ACK, which establishes the other end. Linux acknowledges it
    besides, as a segment whose SYN has come twice."""
    _host, c, peer, _, _ = scenes.syn_received_active(Host(profile))
    assert c.state == states.SYN_RECEIVED
    assert peer.send(SYN | ACK, 0, 1, window=1000) == more
    assert (c.state, c.snd_wnd) == (states.ESTABLISHED, 1000)
    # Where the SYN-ACK was lost, any ACK does.
    _host, c, peer, _, _ = scenes.syn_received_active(Host())
    assert peer.send(SYN | ACK, 1, 1) == [". 1:1(0) ack 1"]
    assert c.state == states.SYN_RECEIVED
    assert peer.send(ACK, 1, 1) == []
    assert c.state == states.ESTABLISHED


@pytest.mark.parametrize("state", SYNCHRONIZED, ids=NAMES.__getitem__)
class TestSynchronized:
    """3.10.7.4 in every synchronized state, with a window of 65535."""

    def test_first_out_of_window_is_answered_with_an_ack(self, state: int) -> None:
        """First: an unacceptable segment is answered with <SEQ=SND.NXT><ACK=RCV.NXT><CTL=ACK>."""
        _host, c, peer, nxt, una = SCENES[state](Host())
        assert peer.send(ACK, nxt + 70_000, una, b"x") == [f". {una}:{una}(0) ack {nxt}"]
        assert peer.send(ACK, nxt - 10, una, b"x") == [f". {una}:{una}(0) ack {nxt}"]
        assert c.state == state

    @pytest.mark.rfc("5961", "3.2-1", "3.2-2")
    def test_first_out_of_window_rst_is_dropped(self, state: int) -> None:
        host, c, peer, nxt, _una = SCENES[state](Host())
        assert peer.send(RST, nxt - 1) == []
        assert peer.send(RST, nxt + 70_000) == []
        assert c.state == state
        assert host.counters.TcpOutRsts == 0

    @pytest.mark.rfc("5961", "3.2-3")
    def test_second_rst_exact(self, state: int) -> None:
        """RFC 5961 section 3.2: RST at RCV.NXT resets."""
        _host, c, peer, nxt, _una = SCENES[state](Host())
        assert peer.send(RST, nxt) == []
        assert c.state == states.CLOSED
        refused = {
            states.ESTABLISHED: "ECONNRESET",
            states.FIN_WAIT_1: "ECONNRESET",
            states.FIN_WAIT_2: "ECONNRESET",
            states.CLOSE_WAIT: "EPIPE",
        }
        assert c.error == refused.get(state, "")

    @pytest.mark.rfc("5961", "1.1", "3.2-4", "3.2-5")
    def test_second_rst_in_window_is_challenged(self, state: int) -> None:
        """RFC 5961 section 3.2: RST elsewhere in the window gets a challenge ACK."""
        host, c, peer, nxt, una = SCENES[state](Host(tcp_invalid_ratelimit=0))
        assert peer.send(RST, nxt + 1) == [f". {una}:{una}(0) ack {nxt}"]
        assert peer.send(RST | ACK, nxt + 60_000, una) == [f". {una}:{una}(0) ack {nxt}"]
        assert c.state == state
        assert host.counters.TcpExtTCPChallengeACK == 2

    @pytest.mark.rfc("5961", "1.1", "4.2-1", "4.2-3")
    def test_fourth_syn_is_challenged(self, state: int) -> None:
        """RFC 5961 section 4.2: a SYN in the window gets a challenge ACK, whatever else it carries."""
        host, c, peer, nxt, una = SCENES[state](Host(tcp_invalid_ratelimit=0))
        assert peer.send(SYN, nxt) == [f". {una}:{una}(0) ack {nxt}"]
        assert peer.send(SYN | ACK, nxt + 5, una) == [f". {una}:{una}(0) ack {nxt}"]
        assert c.state == state
        assert host.counters.TcpExtTCPSYNChallenge == 2

    def test_fifth_without_ack_is_dropped(self, state: int) -> None:
        _host, c, peer, nxt, _una = SCENES[state](Host())
        assert peer.send(0, nxt, payload=b"x") == []
        assert peer.send(FIN, nxt) == []
        assert (c.state, c.buffered) == (state, 0)

    @pytest.mark.rfc("5961", "5.2-1", "5.2-2")
    def test_fifth_ack_of_the_future_is_challenged(self, state: int) -> None:
        """RFC 5961 section 5.2: SEG.ACK > SND.NXT."""
        _host, c, peer, nxt, una = SCENES[state](Host())
        assert peer.send(ACK, nxt, una + 1, b"x") == [f". {una}:{una}(0) ack {nxt}"]
        assert (c.state, c.buffered) == (state, 0)

    @pytest.mark.rfc("5961", "5.2-1", "5.2-2")
    def test_fifth_ack_too_old_is_challenged(self, state: int) -> None:
        """RFC 5961 section 5.2: SEG.ACK < SND.UNA - MAX.SND.WND."""
        _host, c, peer, nxt, una = SCENES[state](Host())
        assert peer.send(ACK, nxt, una - 65_536 - 2, b"x") == [f". {una}:{una}(0) ack {nxt}"]
        assert (c.state, c.buffered) == (state, 0)


@pytest.mark.parametrize("state", SYNCHRONIZED, ids=NAMES.__getitem__)
def test_seventh_text(state: int) -> None:
    """Seventh: text is taken in ESTABLISHED, FIN-WAIT-1 and FIN-WAIT-2, and ignored after the peer's FIN."""
    host, c, peer, nxt, una = SCENES[state](Host())
    ack = 1 if state == states.FIN_WAIT_1 else una
    peer.send(ACK, nxt, ack, b"abc")
    takes = state in (states.ESTABLISHED, states.FIN_WAIT_1, states.FIN_WAIT_2)
    assert c.buffered == (3 if takes else 0)
    assert c.receive(host.now, 10) == (b"abc" if takes else b"")


def test_text_is_trimmed_to_the_window() -> None:
    """Seventh: "segments are trimmed": old bytes in front and bytes beyond the window are not taken twice or at all."""
    host = Host("rfc", tcp_rmem=1000, tcp_timestamps=0)
    c, peer = client(host)
    peer.send(ACK, 1, 1, b"a" * 600)
    assert peer.send(ACK, 401, 1, b"b" * 300) == []
    assert peer.send(ACK, 701, 1, b"c" * 900) == [". 1:1(0) ack 1001"]
    assert c.receive(0, 5000) == b"a" * 600 + b"b" * 100 + b"c" * 300


@pytest.mark.rfc("9293", "SHLD-31", "MUST-59")
@pytest.mark.rfc("5681", "3.2-1", "3.2-2", "4.2-5", "4.2-6")
def test_reassembly_and_immediate_acks() -> None:
    """RFC 5681 section 4.2: an immediate duplicate ACK for data out of order, an immediate ACK when the gap fills."""
    host = Host()
    c, peer = client(host)
    assert peer.send(ACK, 6, 1, b"fghij") == [". 1:1(0) ack 1"]
    assert peer.send(ACK, 16, 1, b"pqrst") == [". 1:1(0) ack 1"]
    assert peer.send(ACK, 4, 1, b"defgh") == [". 1:1(0) ack 1"]
    assert peer.send(ACK, 1, 1, b"abcde") == [". 1:1(0) ack 11"]
    assert peer.send(ACK | FIN, 21, 1) == [". 1:1(0) ack 11"]
    assert c.state == states.ESTABLISHED
    assert peer.send(ACK, 11, 1, b"klmno") == [". 1:1(0) ack 22"]
    assert (c.state, c.receive(0, 100)) == (states.CLOSE_WAIT, b"abcdefghijklmnopqrst")
    assert c.eof


@pytest.mark.rfc("9293", "MUST-11")
def test_syn_received_checks() -> None:
    """3.10.7.4 in SYN-RECEIVED: a bad ACK is reset, RST and SYN return a passive OPEN to LISTEN."""
    host, c, peer, _, _ = scenes.syn_received(Host())
    assert peer.send(ACK, 1, 2) == ["R 2:2(0)"]
    assert peer.send(ACK, 1, 0) == ["R 0:0(0)"]
    assert c.state == states.SYN_RECEIVED
    assert peer.send(RST, 1) == []
    assert c.state == states.CLOSED
    assert host.tcp.listeners[(b"", HTTP)].syn_queue == {}
    host, c, peer, _, _ = scenes.syn_received(Host())
    assert peer.send(SYN, 5) == []
    assert c.state == states.CLOSED
    host, c, peer, _, _ = scenes.syn_received_active(Host())
    assert peer.send(RST, 1) == []
    assert (c.state, c.error) == (states.CLOSED, "ECONNREFUSED")


@pytest.mark.parametrize(("profile", "answer"), [("linux", "S. 0:0(0) ack 1"), ("rfc", ". 1:1(0) ack 1")])
def test_repeated_syn_in_syn_received(profile: str, answer: str) -> None:
    """The RFC answers the old SYN with an ACK (first step); Linux sends its SYN-ACK again."""
    _host, c, peer, _, _ = scenes.syn_received(Host(profile))
    assert peer.send(SYN, 0, mss=1460) == [answer]
    assert c.state == states.SYN_RECEIVED


def test_syn_ack_sent_again_for_a_repeated_syn_restarts_its_timer() -> None:
    """Linux (tcp_check_req): the SYN-ACK that answers a repeated SYN is not followed by another at the old deadline."""
    host, _c, peer, _, _ = scenes.syn_received(Host())
    host.run_until(900 * MILLISECOND)
    assert peer.send(SYN, 0, mss=1460) == ["S. 0:0(0) ack 1"]
    host.run_until(1800 * MILLISECOND)
    assert peer.got() == []
    host.run_until(1900 * MILLISECOND)
    assert peer.got() == ["S. 0:0(0) ack 1"]


@pytest.mark.parametrize("profile", ["linux", "rfc"])
@pytest.mark.parametrize(
    ("length", "offset", "good"),
    [
        (0, 0, True),
        (0, -1, False),
        (0, 999, True),
        (0, 1001, False),
        (1, -1, False),
        (1, 0, True),
        (1, 999, True),
        (1, 1000, False),
        (5, -5, False),
        (5, -4, True),
        (5, 999, True),
        (5, 1000, False),
        (2000, -500, False),
    ],
)
def test_window_edges(profile: str, length: int, offset: int, good: bool) -> None:
    """3.10.7.4, first: the four cases of the acceptability test, with a window of 1000. What the ACK acknowledges
    tells whether the segment was processed."""
    host = Host(profile, tcp_rmem=1000, tcp_window_scaling=0)
    c, peer = client(host)
    c.send(0, b"x")
    peer.got()
    peer.send(ACK, 1 + offset, 2, b"a" * length)
    assert (c.bytes_acked == 1) is good


@pytest.mark.parametrize(("profile", "good"), [("linux", True), ("rfc", False)])
def test_ack_at_the_right_edge(profile: str, good: bool) -> None:
    """A dataless segment at RCV.NXT+RCV.WND: outside for the RFC, taken by Linux."""
    host = Host(profile, tcp_rmem=1000, tcp_window_scaling=0)
    c, peer = client(host)
    c.send(0, b"x")
    peer.send(ACK, 1001, 2)
    assert (c.bytes_acked == 1) is good


@pytest.mark.rfc("9293", "MUST-66")
def test_zero_window_still_takes_acks_and_resets() -> None:
    """3.10.7.4, first: with RCV.WND = 0 "special allowance should be made to accept valid ACKs, URGs, and RSTs"."""
    host = Host(tcp_rmem=1000)
    c, peer = client(host)
    peer.send(ACK, 1, 1, b"a" * 1000)
    host.after(SECOND)
    peer.got()
    c.send(host.now, b"x")
    peer.got()
    assert peer.send(ACK, 1001, 2, b"more") == [". 2:2(0) ack 1001"]
    assert (c.bytes_acked, c.buffered) == (1, 1000)
    peer.send(RST, 1001)
    assert c.state == states.CLOSED


def test_old_segments_do_not_set_the_window() -> None:
    """3.10.7.4, fifth: SND.WL1 and SND.WL2 keep an old segment from changing SND.WND."""
    host = Host()
    c, peer = client(host)
    peer.send(ACK, 1, 1, b"abc", window=5000)
    peer.send(ACK, 1, 1, b"abcd", window=9000)
    assert c.status(0).snd_wnd == 9000
    peer.send(ACK, 5, 1, window=7000)
    assert c.status(0).snd_wnd == 7000
    peer.send(ACK, 4, 1, b"dE", window=100)
    assert c.status(0).snd_wnd == 7000


@pytest.mark.rfc("5961", "7-1", "7-2", "7-3")
def test_challenge_ack_limit() -> None:
    """RFC 5961 section 7: no more challenge ACKs than the limit in an interval, and more in the next."""
    host = Host(
        "rfc",
        tcp_timestamps=0,
        tcp_challenge_ack_limit=3,
        tcp_challenge_ack_interval_ms=2000,
        tcp_invalid_ratelimit=0,
    )
    _c, peer = client(host)
    answers = [len(peer.send(RST, 2)) for _ in range(6)]
    assert answers == [1, 1, 1, 0, 0, 0]
    assert host.counters.TcpExtTCPChallengeACK == 3
    assert [e["suppressed"] for e in host.sink.of("challenge_ack")] == [0, 0, 0, 1, 1, 1]
    host.after(1999 * MILLISECOND)
    assert peer.send(RST, 2) == []
    host.after(MILLISECOND)
    assert len(peer.send(RST, 2)) == 1


def test_challenge_acks_of_a_connection_are_limited() -> None:
    """Linux's ip-sysctl.rst, tcp_invalid_ratelimit: one in 500 ms, whatever it answers; other connections are not
    concerned."""
    host = Host()
    _c, peer = client(host)
    other = host.tcp.open(0, PEER, HTTP + 1)
    theirs = Peer(host, HTTP + 1, other.local_port)
    host.take()
    theirs.irs = other.iss
    theirs.send(SYN | ACK, 0, 1, mss=1460)
    assert [len(peer.send(RST, 2)), len(peer.send(SYN, 1)), len(peer.send(ACK, -100, 1))] == [1, 0, 0]
    assert len(theirs.send(RST, 2)) == 1
    counters = host.counters
    assert (counters.TcpExtTCPChallengeACK, counters.TcpExtTCPACKSkippedChallenge) == (2, 1)
    assert counters.TcpExtTCPACKSkippedSeq == 1
    assert [e["suppressed"] for e in host.sink.of("challenge_ack")] == [0, 1, 0]
    host.after(499 * MILLISECOND)
    assert peer.send(SYN, 1) == []
    host.after(MILLISECOND)
    assert len(peer.send(SYN, 1)) == 1


def test_out_of_window_acks_do_not_bounce_for_ever() -> None:
    """Two ends that disagree would answer each other's ACKs without end; dataless ones are answered twice a second."""
    host = Host()
    _c, peer = client(host)
    answers = [len(peer.send(ACK, -100, 1)) for _ in range(5)]
    assert answers == [1, 0, 0, 0, 0]
    host.after(600 * MILLISECOND)
    assert len(peer.send(ACK, -100, 1)) == 1


@pytest.mark.rfc("7323", "5.3-1", "5.2-6")
def test_paws() -> None:
    """RFC 7323 section 5.3: a segment with an old timestamp is answered and dropped, but a RST never is."""
    host = Host()
    c, peer = client(host, tsval=1000)
    peer.tsval = 999
    assert peer.send(ACK, 1, 1, b"old") == [". 1:1(0) ack 1"]
    assert (c.buffered, host.counters.TcpExtPAWSEstab) == (0, 1)
    peer.tsval = 1001
    peer.send(ACK, 1, 1, b"new")
    assert c.receive(0, 10) == b"new"
    peer.tsval = 1
    peer.send(RST, 4)
    assert c.state == states.CLOSED


@pytest.mark.rfc("7323", "5.3-1")
def test_paws_forgets_after_24_days() -> None:
    """RFC 7323 section 5.5: TS.Recent of a connection idle for more than 24 days is not trusted."""
    host = Host()
    c, peer = client(host, tsval=1000)
    host.now += 25 * 86_400 * SECOND
    peer.tsval = 1000 - 5
    peer.send(ACK, 1, 1, b"later")
    assert c.receive(host.now, 10) == b"later"


@pytest.mark.rfc("7323", "3.2-2", "4.3-2", "4.3-3")
def test_ts_recent_follows_last_ack_sent() -> None:
    """RFC 7323 section 4.3: what is echoed is the timestamp of the segment that advanced the left edge, not of one
    that came out of order; ISNs near 2**32 do not matter."""
    host = Host()
    c, peer = client(host, tsval=MASK - 1)
    peer.tsval = 5
    peer.send(ACK, 4, 1, b"def")
    c.send(host.now, b"x")
    assert host.take()[-1].tsecr == MASK - 1
    peer.tsval = 7
    peer.send(ACK, 1, 2, b"abc")
    c.send(host.now, b"y")
    assert host.take()[-1].tsecr == 7


@pytest.mark.rfc("7323", "3.2-7", "3.2-8")
def test_missing_timestamps() -> None:
    """RFC 7323 section 3.2: dropped by the rfc profile, taken by Linux."""
    for profile, taken in (("linux", 3), ("rfc", 0)):
        host = Host(profile)
        c, peer = client(host, tsval=1000)
        peer.tsval = None
        peer.send(ACK, 1, 1, b"abc")
        assert (c.buffered, c.state) == (taken, states.ESTABLISHED)


@pytest.mark.parametrize("iss", [MASK, MASK - 2, 0, 1 << 31])
def test_sequence_numbers_wrap(iss: int) -> None:
    """Section 3.4: all arithmetic is modulo 2**32."""
    _host, c, peer, _, _ = scenes.syn_sent(Host())
    peer.iss = iss
    assert peer.send(SYN | ACK, 0, 1, mss=1460) == [". 1:1(0) ack 1"]
    peer.send(ACK, 3, 1, b"cd")
    assert peer.send(ACK, 1, 1, b"ab") == [". 1:1(0) ack 5"]
    assert c.receive(0, 10) == b"abcd"


def test_discards_say_why() -> None:
    host, _c, peer, nxt, una = scenes.established(Host())
    peer.send(0, nxt, payload=b"x")
    peer.send(ACK, nxt - 1, una, b"x")
    peer.send(ACK, nxt + 70_000, una, b"x")
    assert [e["cause"] for e in host.sink.of("discard")] == [
        causes.NO_ACK,
        causes.DUPLICATE_DATA,
        causes.OUT_OF_WINDOW,
    ]


def test_a_fin_that_was_none() -> None:
    """Somebody forges a FIN in the window; the stream goes on beyond it. The peer's own FIN still ends it."""
    host = Host()
    c, peer = client(host)
    peer.send(FIN | ACK, 11, 1)
    peer.send(FIN | ACK, 1001, 1)
    peer.send(ACK, 1, 1, b"d" * 20)
    assert c.state == states.ESTABLISHED
    assert peer.send(FIN | ACK, 21, 1) == [". 1:1(0) ack 22"]
    assert (c.state, c.receive(host.now, 100), c.eof) == (states.CLOSE_WAIT, b"d" * 20, True)


def test_another_port_is_another_connection() -> None:
    """A segment from another port is another connection's."""
    host, c, peer, nxt, una = scenes.established(Host())
    other = Peer(host, HTTP + 1, c.local_port)
    other.irs = peer.irs
    assert other.send(ACK, nxt, una, b"x") == [f"R {una}:{una}(0)"]
    assert c.buffered == 0

"""RFC 6298 timers, fast retransmit and recovery (RFC 5681, 6582, 3042), congestion windows."""

from __future__ import annotations

import pytest

from nodes.base import causes
from nodes.base.clock import MILLISECOND, NEVER, SECOND
from nodes.packet.tcp import ACK, SYN
from nodes.tcp import states
from nodes.tcp.congestion.base import Ack, CongestionControl
from nodes.tcp.connection import Connection

from . import scenes
from .harness import HTTP, PEER, Host, Peer, Wire, client

MSS = 1460


def times(host: Host) -> list[int]:
    """When the segments since last asked were sent, ms."""
    sent = [entry[0] // MILLISECOND for entry in host.network.sent]
    host.network.sent.clear()
    return sent


def flood(host: Host, segments: int, window: int = 65535, **knobs: int) -> tuple[Connection, Peer]:
    """A connection that has `segments` full segments to send and has sent what the window lets go."""
    c, peer = client(host, window=window)
    c.send(host.now, b"d" * (segments * MSS))
    return c, peer


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        ("linux", [1, 2, 3, 4, 5, 7, 11, 19, 35, 67]),
        ("rfc", [1, 3, 7, 15, 31, 63, 127]),
    ],
)
@pytest.mark.rfc("9293", "MUST-22", "MUST-23")
@pytest.mark.rfc("6298", "2.1")
def test_syn_is_retried(profile: str, expected: list[int]) -> None:
    """RFC 6298 section 5.5: each SYN timeout doubles the RTO; Linux first waits four times the same. Then ETIMEDOUT."""
    host, c, _, _, _ = scenes.syn_sent(Host(profile))
    host.after(180 * SECOND if profile == "rfc" else 130 * SECOND)
    assert c.state == states.SYN_SENT
    host.after(170 * SECOND)
    assert times(host) == [t * 1000 for t in expected]
    assert (c.state, c.error) == (states.CLOSED, "ETIMEDOUT")
    assert host.tcp.next_deadline() == NEVER


def test_syn_ack_is_retried_and_forgotten() -> None:
    """tcp_synack_retries: 1, 3, 7, 15, 31 s, then the embryonic connection is gone."""
    host, c, _, _, _ = scenes.syn_received(Host())
    host.after(300 * SECOND)
    assert times(host) == [1000, 3000, 7000, 15000, 31000]
    assert c.state == states.CLOSED
    assert not host.tcp.connections
    assert host.tcp.listeners[(b"", HTTP)].syn_queue == {}


@pytest.mark.rfc("9293", "MUST-19", "MUST-20")
@pytest.mark.rfc("6298", "5-1", "5.1", "5.4", "5.5", "5.6")
def test_rto_backs_off_and_gives_up() -> None:
    """RFC 6298 section 5.5 and 5.7: doubled each time up to tcp_rto_max; RFC 9293 3.8.3: given up at R2. Linux counts
    R2 in time, 15 times the lowest RTO here, from the first retransmission (6.18: 4 of them, the end after 6.4 s)."""
    for profile, resent, end in (("linux", [200, 600, 1400, 3000], 6200), ("rfc", [200, 600, 1400], 3000)):
        host = Host(profile, tcp_retries2=3, tcp_rto_min_ms=200)
        c, peer = client(host)
        c.send(0, b"x")
        peer.got()
        host.after(100 * SECOND)
        assert times(host) == resent
        assert (c.state, c.error) == (states.CLOSED, "ETIMEDOUT")
        assert host.sink.of("state")[-1]["time"] == pytest.approx(end * MILLISECOND, abs=100)
        assert [e["count"] for e in host.sink.of("retransmit")] == list(range(1, len(resent) + 1))
        assert host.counters.TcpExtTCPTimeouts == len(resent)


@pytest.mark.rfc("6298", "2.2", "2.3-1", "2.3-2", "2.3-3", "2.3-4")
def test_estimator() -> None:
    """RFC 6298 section 2, by hand: 100 ms, then 300 ms. RTTVAR = 3/4 50 + 1/4 |100 - 300|, SRTT = 7/8 100 + 1/8 300."""
    host = Host("rfc", tcp_rto_min_ms=1, tcp_timestamps=0)
    c = host.tcp.open(0, PEER, HTTP)
    peer = Peer(host, HTTP, c.local_port)
    peer.irs = c.iss
    host.after(100 * MILLISECOND)
    peer.send(SYN | ACK, 0, 1, mss=MSS)
    c.send(host.now, b"x")
    host.now += 300 * MILLISECOND
    peer.send(ACK, 1, 2)
    first, second = (
        [e[name] / MILLISECOND for name in ("sample_ns", "srtt_ns", "rttvar_ns", "rto_ns")] for e in host.sink.of("rtt")
    )
    assert first == [100, 100, 50, 300]
    assert second == [300, 125, 87.5, 475]


@pytest.mark.rfc("6298", "4")
def test_rto_on_a_path_that_does_not_vary() -> None:
    """RFC 6298 section 4: what the clock cannot tell apart counts, or each ACK would come with the time-out."""
    host = Host("rfc", tcp_rto_min_ms=1)
    c, peer = client(host)
    for n in range(100):
        c.send(host.now, b"x")
        host.now += 1500 * MILLISECOND
        peer.send(ACK, 1, 2 + n)
    last = host.sink.of("rtt")[-1]
    assert 4 * last["rttvar_ns"] < MILLISECOND
    assert last["rto_ns"] == last["srtt_ns"] + MILLISECOND


@pytest.mark.rfc("9293", "MUST-18")
@pytest.mark.rfc("6298", "3-1")
def test_karn() -> None:
    """RFC 6298 section 3: no sample of a segment sent twice, and the backed-off RTO stays until there is one."""
    host = Host(tcp_timestamps=0)
    c, peer = client(host)
    c.send(0, b"x")
    host.after(250 * MILLISECOND)
    samples = len(host.sink.of("rtt"))
    peer.send(ACK, 1, 2)
    assert len(host.sink.of("rtt")) == samples
    assert c.status(host.now).rto == pytest.approx(400 * MILLISECOND, abs=10)
    c.send(host.now, b"y")
    host.after(10 * MILLISECOND)
    peer.send(ACK, 1, 3)
    assert len(host.sink.of("rtt")) == samples + 1
    assert c.status(host.now).rto < 230 * MILLISECOND


@pytest.mark.rfc("6298", "3-1")
def test_timestamps_give_a_sample_of_a_segment_sent_twice() -> None:
    """RFC 7323 section 4: the echo says which of the two was acknowledged, so the back-off ends."""
    host = Host()
    c, peer = client(host, tsval=5000)
    c.send(0, b"x")
    host.after(250 * MILLISECOND)
    peer.tsecr = host.take()[-1].tsval
    host.now += 30 * MILLISECOND
    peer.send(ACK, 1, 2)
    sample = host.sink.of("rtt")[-1]["sample_ns"]
    assert sample == pytest.approx(80 * MILLISECOND, abs=MILLISECOND)
    assert c.status(host.now).backoff == 0


@pytest.mark.parametrize(("profile", "segments"), [("linux", 10), ("rfc", 3)])
@pytest.mark.rfc("5681", "2", "3.1-2", "3.1-3")
def test_initial_window(profile: str, segments: int) -> None:
    """RFC 6928 section 2 (linux), RFC 5681 section 3.1 (rfc): what goes before the first ACK."""
    host = Host(profile, tcp_wmem=65536)
    _, peer = flood(host, 30)
    assert len(peer.got()) == segments


@pytest.mark.rfc("5681", "3.1-4")
def test_initial_window_after_lost_syns() -> None:
    """RFC 5681 section 3.1: one segment, when the SYN was lost (Linux: more than once)."""
    host = Host()
    c = host.tcp.open(0, PEER, HTTP)
    peer = Peer(host, HTTP, c.local_port)
    peer.irs = c.iss
    host.after(2500 * MILLISECOND)
    host.take()
    peer.send(SYN | ACK, 0, 1, mss=MSS)
    c.send(host.now, b"d" * 20 * MSS)
    assert len(peer.got()) == 1


@pytest.mark.rfc("9293", "MUST-19")
@pytest.mark.rfc("5681", "3", "3.1-1", "3.1-8", "3.1-9", "3.1-10", "3.1-11")
def test_slow_start_and_avoidance() -> None:
    """RFC 5681 section 3.1: one segment more per ACK below ssthresh, one per window above it."""
    host = Host("rfc", tcp_wmem=1 << 20)
    c, peer = client(host, scale=4, window=65535)
    c.send(0, b"d" * 200 * MSS)
    sent = len(peer.got())
    assert sent == 3
    acked = 1
    for _ in range(3):
        acked += MSS
        assert len(peer.send(ACK, 1, acked)) == 2
    c.congestion.ssthresh = c.congestion.cwnd  # from here on: congestion avoidance
    window = c.congestion.cwnd // MSS
    grown = 0
    for _ in range(window):
        acked += MSS
        grown += len(peer.send(ACK, 1, acked)) - 1
    assert grown == 1


@pytest.mark.rfc("5681", "3.1-7", "3.2-3", "3.2-4", "3.2-7", "3.2-8", "3.2-9", "4.3-1", "4.3-2", "4.3-4")
def test_fast_retransmit_and_newreno() -> None:
    """RFC 5681 section 3.2 and RFC 6582 section 3.2: the third duplicate ACK resends; a partial ACK resends the next
    hole; the full ACK ends recovery with cwnd at ssthresh. RFC 3042: the first two duplicates each let one go."""
    host = Host(tcp_wmem=1 << 20, tcp_congestion_control="newreno")
    c, peer = client(host, window=65535)
    c.send(0, b"d" * 20 * MSS)
    assert len(peer.got()) == 10
    dup = (ACK, 1, 1)
    first = 10 * MSS + 1
    assert peer.send(*dup) == [f". {first}:{first + MSS}({MSS}) ack 1"]
    assert peer.send(*dup) == [f". {first + MSS}:{first + 2 * MSS}({MSS}) ack 1"]
    assert peer.send(*dup) == [f". 1:{1 + MSS}({MSS}) ack 1"]
    status = c.status(0)
    # Half of the ten: what limited transmit has sent does not count.
    assert (status.ca_state, status.snd_ssthresh) == ("Recovery", 5 * MSS)
    for _ in range(6):
        peer.send(*dup)
    # Partial: segment 4 was lost too.
    third = 3 * MSS + 1
    assert peer.send(ACK, 1, third)[0] == f". {third}:{third + MSS}({MSS}) ack 1"
    assert c.status(0).ca_state == "Recovery"
    peer.send(ACK, 1, c.status(0).snd_nxt - peer.irs)
    status = c.status(0)
    assert (status.ca_state, status.unacked > 0, status.snd_cwnd <= 5 * MSS) == ("Open", True, True)
    assert [e["entered"] for e in host.sink.of("recovery")] == [1, 0]
    assert [e["cause"] for e in host.sink.of("retransmit")] == [causes.RETRANSMIT_FAST, causes.RETRANSMIT_PARTIAL_ACK]
    assert host.counters.TcpExtTCPFastRetrans == 2
    assert host.counters.TcpExtTCPTimeouts == 0


@pytest.mark.rfc("5681", "3.2-12")
def test_reno_leaves_recovery_at_the_first_new_ack() -> None:
    """RFC 5681 section 3.2, step 6."""
    host = Host(tcp_congestion_control="reno")
    c, peer = client(host)
    c.send(0, bytes(20 * MSS))
    peer.got()
    for _ in range(3):
        peer.send(ACK, 1, 1)
    peer.send(ACK, 1, 1 + 3 * MSS)
    assert [e["entered"] for e in host.sink.of("recovery")] == [1, 0]
    assert len(host.sink.of("retransmit")) == 1
    status = c.status(0)
    assert status.snd_cwnd == status.snd_ssthresh == 5 * MSS


@pytest.mark.parametrize("spoil", [{"payload": b"x"}, {"window": 60_000}])
def test_not_every_repeated_ack_is_a_duplicate(spoil: dict[str, object]) -> None:
    """RFC 5681 section 2: with data, or with another window, it is not."""
    host = Host()
    _, peer = flood(host, 20)
    peer.got()
    for n in range(5):
        given = dict(spoil)
        if "window" in given:
            given["window"] = 60_000 - n
        peer.send(ACK, 1 + (n if "payload" in given else 0), 1, **given)  # type: ignore[arg-type]
    assert not host.sink.of("retransmit")


@pytest.mark.rfc("5681", "3.1-7", "3.1-13", "3.1-14")
@pytest.mark.rfc("6298", "5.4")
def test_timeout_collapses_the_window_and_resends_all_in_order() -> None:
    """RFC 5681 section 3.1: ssthresh = flight / 2, loss window of one segment; RFC 6298 5.4: the earliest first; then
    slow start over what was lost. Duplicate ACKs of that data do not start fast retransmit (RFC 6582 section 4.1)."""
    host = Host(tcp_wmem=1 << 20, tcp_congestion_control="newreno")
    c, peer = client(host, window=65535)
    c.send(0, b"d" * 10 * MSS)
    assert len(peer.got()) == 10
    host.after(210 * MILLISECOND)
    assert peer.got() == [f". 1:{1 + MSS}({MSS}) ack 1"]
    status = c.status(host.now)
    assert (status.snd_cwnd, status.snd_ssthresh, status.ca_state) == (MSS, 5 * MSS, "Loss")
    for _ in range(4):
        assert peer.send(ACK, 1, 1) == []
    assert [line.split(":")[0] for line in peer.send(ACK, 1, 1 + MSS)] == [f". {1 + MSS}", f". {1 + 2 * MSS}"]
    peer.send(ACK, 1, 1 + 10 * MSS)
    assert c.status(host.now).ca_state == "Open"
    assert [(e["entered"], e["algorithm"]) for e in host.sink.of("recovery")] == [(1, 2), (0, 2)]


@pytest.mark.rfc("5681", "3.1-13")
def test_second_timeout_keeps_ssthresh() -> None:
    """RFC 5681 section 3.1: when the segment was already sent again by timeout, ssthresh is held."""
    host = Host(tcp_congestion_control="newreno")
    c, _peer = flood(host, 10)
    host.after(SECOND)
    assert c.status(host.now).snd_ssthresh == 5 * MSS


@pytest.mark.rfc("6298", "5.2", "5.3")
def test_timer_restarts_with_each_ack() -> None:
    """RFC 6298 section 5.3: an ACK of new data restarts the timer; 5.2: when all is acknowledged it stops."""
    host = Host()
    _c, peer = flood(host, 2)
    host.after(150 * MILLISECOND)
    peer.got()
    peer.send(ACK, 1, 1 + MSS)
    host.after(150 * MILLISECOND)
    assert peer.got() == []
    peer.send(ACK, 1, 1 + 2 * MSS)
    host.after(10 * SECOND)
    assert peer.got() == []
    assert host.tcp.next_deadline() == NEVER


@pytest.mark.rfc("5681", "4.1")
def test_idle_restart() -> None:
    """RFC 5681 section 4.1: after an idle RTO the window is at most the restart window."""
    host = Host(tcp_wmem=1 << 20)
    c, peer = client(host, window=65535, scale=4)
    c.send(0, b"d" * 30 * MSS)
    peer.got()
    acked = 1
    for _ in range(30):
        acked += MSS
        peer.send(ACK, 1, acked)
    assert c.status(0).snd_cwnd > 20 * MSS
    host.after(10 * SECOND)
    c.send(host.now, b"d" * 30 * MSS)
    assert len(peer.got()) == 10


def test_window_that_was_not_used_does_not_grow() -> None:
    """RFC 7661: an application that sends little does not earn a large window."""
    host = Host()
    c, peer = client(host)
    for n in range(50):
        c.send(0, b"x")
        peer.send(ACK, 1, 2 + n)
    assert c.status(0).snd_cwnd == 10 * MSS


class Fixed(CongestionControl):
    """What a student may write: always four segments."""

    name = "fixed"

    def __init__(self, mss: int, initial_window: int, abc_limit: int) -> None:
        super().__init__(mss, 4 * mss, abc_limit)

    def on_ack(self, ack: Ack) -> None:
        self.cwnd = 4 * self.mss


def test_congestion_control_of_ones_own() -> None:
    host = Host()
    host.parameters.controls["fixed"] = Fixed
    host.parameters.set("tcp_congestion_control", "fixed")
    _c, peer = flood(host, 20)
    assert len(peer.got()) == 4
    assert len(peer.send(ACK, 1, 1 + 4 * MSS)) == 4


@pytest.mark.rfc("7323", "5.7")
@pytest.mark.rfc("5681", "3.1-5")
def test_smaller_mtu_resends_in_smaller_segments() -> None:
    """RFC 1191 section 6.3, RFC 5927 section 7: "fragmentation needed" about data in flight lowers the MSS at once;
    about data not in flight it is ignored."""
    host = Host()
    c, peer = flood(host, 2)
    peer.got()
    quote = (host.local, PEER, peer.local_port, HTTP)
    host.tcp.on_icmp_error(0, *quote, (peer.irs + 500_000) & 0xFFFFFFFF, 3, 4, 600)
    assert peer.got() == []
    host.tcp.on_icmp_error(0, *quote, (peer.irs + 1) & 0xFFFFFFFF, 3, 4, 600)
    assert peer.got()[0] == ". 1:561(560) ack 1"
    assert c.status(0).snd_cwnd == 10 * 560
    seen = 561
    while seen < 1 + 2 * MSS:
        for line in peer.send(ACK, 1, seen):
            start, end = (int(n) for n in line.split()[1].split("(")[0].split(":"))
            assert (start <= seen + 560 * 40, end - start <= 560) == (True, True)
        seen = min(seen + 560, 1 + 2 * MSS)
    peer.send(ACK, 1, 1 + 2 * MSS)
    assert c.status(0).unacked == 0


@pytest.mark.parametrize(
    ("scene", "code", "state", "error"),
    [
        ("syn_sent", 3, states.CLOSED, "ECONNREFUSED"),
        ("syn_sent", 1, states.CLOSED, "EHOSTUNREACH"),
        ("syn_received", 3, states.CLOSED, "ECONNREFUSED"),
        ("syn_received", 1, states.CLOSED, "EHOSTUNREACH"),
        ("established", 3, states.ESTABLISHED, ""),
    ],
)
@pytest.mark.rfc("9293", "MUST-54", "SHLD-26")
def test_icmp_unreachable(scene: str, code: int, state: int, error: str) -> None:
    """RFC 5927 section 5.2: hard errors abort only what is not yet established."""
    host, c, _peer, _, _ = getattr(scenes, scene)(Host())
    host.tcp.on_icmp_error(0, host.local, PEER, c.local_port, c.remote_port, c.snd_una & 0xFFFFFFFF, 3, code, 0)
    assert (c.state, c.error) == (state, error)


@pytest.mark.rfc("9293", "MUST-56")
@pytest.mark.parametrize("scene", ["syn_sent", "syn_received", "established"])
@pytest.mark.parametrize(("kind", "code"), [(3, 0), (3, 1), (3, 5), (11, 0), (11, 1), (12, 0)])
def test_soft_errors_end_nothing(scene: str, kind: int, code: int) -> None:
    """RFC 9293 section 3.9.2.2. The profile linux obeys them while a connection opens, as Linux does (RFC 5461)."""
    host, c, _peer, _, _ = getattr(scenes, scene)(Host("rfc"))
    before = c.state
    host.tcp.on_icmp_error(0, host.local, PEER, c.local_port, c.remote_port, c.snd_una & 0xFFFFFFFF, kind, code, 0)
    assert (c.state, c.error) == (before, "")


@pytest.mark.rfc("9293", "SHLD-25", "MUST-47")
def test_soft_error_is_the_reason_of_the_timeout() -> None:
    """RFC 1122 section 4.2.3.9: soft errors are told when the connection fails for want of an answer."""
    host, c, _peer, _, _ = scenes.established(Host())
    c.send(0, b"x")
    host.tcp.on_icmp_error(0, host.local, PEER, c.local_port, c.remote_port, c.snd_una & 0xFFFFFFFF, 3, 1, 0)
    host.after(3600 * SECOND)
    assert c.error == "EHOSTUNREACH"


def test_cost_of_an_ack_does_not_grow_with_the_window() -> None:
    """A bulk transfer with a large window keeps memory by what is in flight, not by what was sent."""
    wire = Wire(level=0, tcp_rmem=1 << 20)
    c, s = wire.connect()
    got = [0]

    def read() -> None:
        got[0] += len(s.receive(wire.now, 1 << 20)) if s.buffered else 0

    def write() -> None:
        while c.writable and c.send(wire.now, bytes(65536)):
            pass

    s.on_ready, c.on_ready = read, write
    write()
    wire.run(until=lambda: got[0] > 3_000_000)
    assert len(c.board) * 1448 <= (1 << 20) + 1448
    assert not wire.a.counters.TcpRetransSegs


def test_a_lowest_rto_above_the_highest() -> None:
    """Knobs may contradict each other: the connection is still given up some time."""
    host = Host(tcp_rto_min_ms=120_000, tcp_rto_max_ms=1000, tcp_retries2=3)
    c, _ = client(host)
    c.send(0, b"x")
    host.after(3600 * SECOND)
    assert (c.state, c.error) == (states.CLOSED, "ETIMEDOUT")

"""The path's MTU found without routers' help (RFC 4821; Linux: tcp_mtu_probing)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from nodes.base.causes import CAUSES
from nodes.base.clock import MILLISECOND, SECOND
from nodes.packet.tcp import ACK, Segment
from nodes.packet.tcp_codec import encode_tcp
from nodes.tcp import sender
from nodes.tcp.connection import Connection
from tests.nodes.tcp.harness import HERE, PEER, Host, Wire, client
from tests.nodes.tcp.test_path_mtu import told

DELAY = 5 * MILLISECOND


class Path(Wire):
    """A path that swallows packets of more than `mtu` bytes, and the segments that `loses` names."""

    def __init__(self, mtu: int, **knobs: Any) -> None:
        super().__init__("linux", DELAY, self._fate, **knobs)
        self.mtu = mtu
        self.loses: Callable[[Segment], bool] = lambda segment: False
        #: Sizes of the packets that were swallowed.
        self.swallowed: list[int] = []

    def _fate(self, n: int, segment: Segment) -> list[int]:
        size = 20 + len(encode_tcp(segment, HERE, PEER))
        if size > self.mtu and segment.payload:
            self.swallowed.append(size)
            return []
        return [] if self.loses(segment) else [DELAY]

    def transfer(self, c: Connection, s: Connection, size: int, limit: int = 60 * SECOND) -> int:
        """Send `size` bytes from c to s; returns how many had arrived when that was done, or `limit` past."""
        data = bytes(range(251)) * (size // 251 + 1)
        sent = 0
        received = bytearray()
        end = self.now + limit
        while True:
            sent += c.send(self.now, data[sent:size]) if sent < size and not c.error else 0
            received += s.receive(self.now, 1 << 20)
            if len(received) == size or not self.step(end):
                break
        assert received == data[: len(received)]
        return len(received)


def windows(path: Path) -> list[tuple[int, int]]:
    """cwnd and ssthresh of the sender, as recorded."""
    return [(event["cwnd"], event["ssthresh"]) for event in path.a.sink.of("cwnd")]


def causes_of(path: Path, kind: str) -> set[str]:
    return {CAUSES[event["cause"]].name for event in path.a.sink.of(kind)}


def test_without_it_a_black_hole_swallows_the_connection() -> None:
    path = Path(1300)
    c, s = path.connect()
    assert path.transfer(c, s, 20_000) == 0
    assert c.status(path.now).snd_mss == 1448


@pytest.mark.parametrize("mtu", [1300, 1077, 1076, 1492])
def test_a_black_hole_is_found_by_timeouts_and_the_path_searched(mtu: int) -> None:
    """RFC 4821 section 7.7; Linux: after the time of tcp_retries1 timeouts segments are of tcp_base_mss."""
    path = Path(mtu, tcp_mtu_probing=1)
    c, s = path.connect()
    assert path.transfer(c, s, 2_000_000) == 2_000_000
    info = c.status(path.now)
    # Found to within tcp_probe_threshold; timestamps take 12 bytes. What a router would say is not known.
    assert mtu - 8 < info.snd_mss + 52 <= mtu
    assert info.pmtu == 1500
    counters = path.a.counters
    assert counters.TcpExtTCPMTUPSuccess > 0 or mtu < 1084
    assert counters.TcpExtTCPMTUPFail > 0
    # Nothing else was lost: no probe was taken for congestion.
    assert counters.TcpExtTCPSackRecovery == 0
    assert "MTU_BLACK_HOLE" in causes_of(path, "cwnd")
    assert causes_of(path, "retransmit") == {"RETRANSMIT_RTO", "RETRANSMIT_MTU_PROBE"}
    first_small = next(now for now, who, segment in path.log if who == "a" and len(segment.payload) == 1024)
    assert 3 * SECOND < first_small < 8 * SECOND


@pytest.mark.parametrize("mtu", [500, 300])
def test_a_very_narrow_path_halves_the_segments_again(mtu: int) -> None:
    path = Path(mtu, tcp_mtu_probing=1)
    c, s = path.connect()
    assert path.transfer(c, s, 500_000, 300 * SECOND) == 500_000
    assert mtu - 8 < c.status(path.now).snd_mss + 52 <= mtu


def test_the_segments_do_not_become_smaller_than_the_floor() -> None:
    path = Path(300, tcp_mtu_probing=1, tcp_mtu_probe_floor=400)
    c, s = path.connect()
    assert path.transfer(c, s, 10_000, 300 * SECOND) == 0
    assert c.status(path.now).snd_mss == 400


def test_always_begins_small_and_grows_without_a_loss() -> None:
    path = Path(1500, tcp_mtu_probing=2)
    c, s = path.connect()
    assert c.status(path.now).snd_mss == 1024
    assert path.transfer(c, s, 1_000_000) == 1_000_000
    assert 1448 - 8 < c.status(path.now).snd_mss <= 1448
    assert path.a.counters.TcpExtTCPMTUPFail == path.a.counters.TcpRetransSegs == 0
    # RFC 4821 section 7.6.1: larger segments are no reason for more bytes.
    assert "MTU_PROBED" in causes_of(path, "cwnd")
    previous = 0
    for event in path.a.sink.of("cwnd"):
        assert event["mss"] == 1024 or event["cwnd"] - previous <= 2 * 1448
        previous = event["cwnd"]


@pytest.mark.parametrize("knobs", [{}, {"tcp_recovery": 0}, {"tcp_sack": 0}, {"tcp_pacing": 1}])
@pytest.mark.parametrize("control", ["cubic", "reno", "bbr", "bbr3"])
def test_a_lost_probe_is_no_sign_of_congestion(knobs: dict[str, object], control: str) -> None:
    """RFC 4821 section 7.6.2: the window does not shrink, and what was in the probe goes again at once."""
    path = Path(1200, tcp_mtu_probing=2, tcp_congestion_control=control, **knobs)
    c, s = path.connect()
    assert path.transfer(c, s, 1_000_000) == 1_000_000
    counters = path.a.counters
    assert counters.TcpExtTCPMTUPFail == len(path.swallowed) > 0
    assert counters.TcpExtTCPTimeouts == 0
    assert path.a.sink.of("recovery") == []
    assert 1200 - 8 < c.status(path.now).snd_mss + 52 <= 1200
    if not control.startswith("bbr"):
        assert all(after >= before for (before, _), (after, _) in pairwise(windows(path)))


@pytest.mark.parametrize("mtu", [1500, 1200])
def test_room_for_the_option_of_accurate_ecn_is_reckoned_with(mtu: int) -> None:
    """The search is for packets, and ends: every segment has room for all its options."""
    path = Path(mtu, tcp_mtu_probing=2, tcp_ecn=3)
    c, s = path.connect()
    assert path.transfer(c, s, 3_000_000) == 3_000_000
    counters = path.a.counters
    assert sender.options_length(c) > 12
    assert mtu - 8 < c.status(path.now).snd_mss + 40 + sender.options_length(c) <= mtu
    # 424 bytes to search through, halved until fewer than 8 are left.
    assert counters.TcpExtTCPMTUPSuccess + counters.TcpExtTCPMTUPFail <= 6


def test_other_losses_beside_the_probe_are_a_sign_of_congestion() -> None:
    path = Path(1500, tcp_mtu_probing=2)
    c, s = path.connect()
    lost: list[int] = []

    def loses(segment: Segment) -> bool:
        """The probe and what follows it, the first time."""
        if lost[1:] or not (len(segment.payload) > 1024 or lost):
            return False
        lost.append(len(segment.payload))
        return True

    path.loses = loses
    assert path.transfer(c, s, 1_000_000) == 1_000_000
    assert lost[0] > lost[1] == 1024
    assert path.a.counters.TcpExtTCPSackRecovery == 1


def test_a_path_that_becomes_wider_is_found_after_the_interval() -> None:
    """Linux: tcp_probe_interval."""
    path = Path(1200, tcp_mtu_probing=2, tcp_probe_interval=100)
    c, s = path.connect()
    path.transfer(c, s, 500_000)
    assert c.status(path.now).snd_mss <= 1200 - 52
    path.mtu = 1400
    path.transfer(c, s, 500_000)
    assert c.status(path.now).snd_mss <= 1200 - 52
    path.now += 100 * SECOND
    path.transfer(c, s, 500_000)
    assert 1400 - 8 < c.status(path.now).snd_mss + 52 <= 1400


def test_no_larger_probe_goes_than_a_router_lets_pass() -> None:
    path = Path(1500, tcp_mtu_probing=2)
    c, s = path.connect()
    c.send(path.now, bytes(1000))
    told(path.a, c, 1250)
    path.run(path.now + SECOND)
    s.receive(path.now, 10_000)
    path.transfer(c, s, 500_000)
    assert 1250 - 8 < c.status(path.now).snd_mss + 52 <= 1250
    assert max(len(segment.payload) for _, _, segment in path.log) <= 1250 - 52


@pytest.mark.parametrize("unset", [{"threshold": 500}, {"window": 5000}, {"data": 5000}])
def test_no_probe_goes_without_room_data_or_need(unset: dict[str, int]) -> None:
    """RFC 4821 section 7.4: the preconditions."""
    host = Host(tcp_mtu_probing=2, tcp_probe_threshold=unset.get("threshold", 8), tcp_initial_cwnd=40)
    c, _ = client(host, window=unset.get("window", 65535))
    c.send(host.now, bytes(unset.get("data", 20_000)))
    assert {len(segment.payload) for segment in host.take()} <= {1024, unset.get("data", 20_000) % 1024, 5000 % 1024}


def test_a_probe_goes_first_and_holds_the_bytes_in_order() -> None:
    host = Host(tcp_mtu_probing=2, tcp_initial_cwnd=40)
    c, peer = client(host)
    assert c.status(host.now).snd_mss == 1024
    c.send(host.now, bytes(range(250)) * 80)
    probe, *others = host.take()
    # Half way between 1064 and 1500 bytes.
    assert len(probe.payload) == (1064 + 1500) // 2 - 40
    assert b"".join([probe.payload, *(segment.payload for segment in others)]) == bytes(range(250)) * 80
    assert host.network.sent == []
    peer.send(ACK, 1, 1 + len(probe.payload))
    assert c.status(host.now).snd_mss == len(probe.payload)


def test_a_record_is_not_torn_for_a_probe() -> None:
    """MSG_EOR: nothing comes into a segment with the end of a record."""
    host = Host(tcp_mtu_probing=2, tcp_initial_cwnd=40)
    c, _ = client(host)
    c.set_option(host.now, "TCP_CORK", 1)
    c.send(host.now, bytes(1000), end=True)
    c.send(host.now, bytes(20_000))
    c.set_option(host.now, "TCP_CORK", 0)
    assert len(host.take()[0].payload) == 1000


def test_the_lowest_mss_a_peer_can_make_us_use() -> None:
    host = Host(tcp_min_snd_mss=200)
    c, _ = client(host, mss=1)
    assert c.status(host.now).snd_mss == 200
    assert c.remote == PEER

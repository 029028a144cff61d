"""Congestion controls held against what is known of them: the formulas of their papers and RFCs, and each other."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import pytest

from lab.backends.sim import SimLab
from lab.backends.until import Until
from lab.links.rules import Drop, Nth, RuleSpec
from lab.topology.loader import topology_from_mapping
from nodes.base.clock import MILLISECOND, SECOND
from nodes.base.events import LEVEL_STATES
from nodes.tcp.congestion.base import CongestionControl
from nodes.tcp.congestion.cubic import Cubic
from nodes.tcp.congestion.newreno import NewReno
from nodes.tcp.congestion.reno import Reno

#: Payload with timestamps, and what a full frame adds to it.
MSS = 1448
FRAME = 1514


class Path2:
    """h1 sends over one link to h2, each flow as much as it can."""

    def __init__(
        self, directory: Path, control: str, parameters: Mapping[str, Any], level: int = LEVEL_STATES, **link: Any
    ) -> None:
        node = {"kind": "host", "parameters": {"tcp_congestion_control": control, **parameters}}
        topology = topology_from_mapping({"nodes": {"h1": node, "h2": node}, "links": [{"endpoints": "h1-h2", **link}]})
        directory.mkdir(exist_ok=True)
        self.lab = SimLab("test", topology, 1, directory / "spool", level)

    def start(self, flow: int) -> None:
        self.lab.start_app("h2", "sink", {"port": 80 + flow}, f"receiver-{flow}")
        self.lab.start_app("h1", "bulk", {"to": "h2", "port": 80 + flow, "bytes": 1 << 40}, f"sender-{flow}")

    def run(self, seconds: int) -> None:
        clock = self.lab.start_advance(Until(time_ns=self.lab.now() + seconds * SECOND))
        while clock.step(10_000) is None:
            pass

    def acked(self) -> list[int]:
        return [one.bytes_acked for one in self.lab.connections("h1")]

    def measure(self, seconds: int) -> list[float]:
        """Segments per second of each flow."""
        before = self.acked()
        self.run(seconds)
        return [(now - then) / MSS / seconds for now, then in zip(self.acked(), before, strict=True)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.lab.close_lab()

    def statistics(self) -> Mapping[str, int]:
        return self.lab.link_statistics("h1-h2")["h1->h2"]


@pytest.mark.parametrize(("every", "seconds"), [(100, 20), (300, 20), (1000, 24)])
def test_reno_follows_the_square_root(every: int, seconds: int, tmp_path: Path) -> None:
    """Mathis et al. 1997: with periodic loss and no delayed ACKs, a rate of (1 / RTT) sqrt(3 / 2p) segments."""
    with Path2(tmp_path, "reno", {"tcp_delack_ms": 0}, delay="50ms") as path:
        data = RuleSpec(name="periodic", match="tcp.len > 0", nth=Nth(every, step=every), action=Drop())
        path.lab.add_rule("h1-h2", data)
        path.start(0)
        path.run(8)
        (rate,) = path.measure(seconds)
        assert rate == pytest.approx((1.5 * every) ** 0.5 / 0.1, rel=0.1)
        assert path.lab.counters("h1")["TcpExtTCPTimeouts"] == 0


def pftk(loss: float, rtt: float, rto: float) -> float:
    """Padhye, Firoiu, Towsley and Kurose 1998, equation (30): segments per second. With b = 1: our window grows by what
    is acknowledged, not by ACKs (RFC 5681 section 3.1 recommends that), so delayed ACKs do not slow it down."""
    timeouts = min(1.0, 3 * math.sqrt(3 * loss / 8)) * loss * (1 + 32 * loss**2)
    return 1 / (rtt * math.sqrt(2 * loss / 3) + rto * timeouts)


@pytest.mark.parametrize(("loss", "seconds"), [("periodic", 24), ("1%", 80), ("3%", 80)])
def test_reno_with_delayed_acks_follows_pftk(loss: str, seconds: int, tmp_path: Path) -> None:
    """Within 25 %: round trip 100 ms, and an RTO of that and the 200 ms that Linux adds at least."""
    periodic = loss == "periodic"
    with Path2(tmp_path, "reno", {}, delay="50ms", loss="0%" if periodic else loss) as path:
        if periodic:
            data = RuleSpec(name="periodic", match="tcp.len > 0", nth=Nth(100, step=100), action=Drop())
            path.lab.add_rule("h1-h2", data)
        path.start(0)
        path.run(8)
        (rate,) = path.measure(seconds)
        chance = 0.01 if periodic else int(loss[0]) / 100
        assert rate == pytest.approx(pftk(chance, 0.1, 0.3), rel=0.25)
        acks = path.lab.counters("h1")["TcpInSegs"]
        assert acks < 0.75 * path.acked()[0] / MSS  # delayed indeed


@pytest.mark.parametrize("gap", [300, 1700, 5000])
def test_two_renos_share(gap: int, tmp_path: Path) -> None:
    """Chiu and Jain 1989: additive increase, multiplicative decrease converges to equal shares, whenever (`gap` ms
    after the first) the second flow comes."""
    with Path2(tmp_path, "reno", {}, delay="10ms", rate="4mbit", limit=12) as path:
        path.start(0)
        path.lab.advance(Until(time_ns=gap * MILLISECOND))
        path.start(1)
        path.run(10)
        rates = path.measure(20)
        assert sum(rates) ** 2 / (2 * sum(rate**2 for rate in rates)) >= 0.95
        assert sum(rates) * FRAME * 8 == pytest.approx(4_000_000, rel=0.05)


def test_bbr_fills_the_pipe_and_not_the_queue(tmp_path: Path) -> None:
    """draft-cardwell-iccrg-bbr-congestion-control section 4: 95 % of the rate with less than 1.5 products waiting."""
    with Path2(tmp_path, "bbr", {}, delay="20ms", rate="10mbit", limit=1000) as path:
        path.start(0)
        path.run(2)
        product = 10_000_000 // 8 * 40 // 1000
        waiting = 0
        before = path.acked()[0]
        for _ in range(100):
            clock = path.lab.start_advance(Until(time_ns=path.lab.now() + 50 * MILLISECOND))
            while clock.step(10_000) is None:
                pass
            waiting = max(waiting, path.statistics()["queue_bytes"])
        assert waiting < 1.5 * product
        assert (path.acked()[0] - before) / MSS * FRAME * 8 / 5 >= 0.95 * 10_000_000
        assert path.statistics()["dropped_queue"] == 0


def test_cubic_fills_the_queue_that_bbr_leaves(tmp_path: Path) -> None:
    """What holds it is the drop: the queue of 100 packets is full at some time, and the line always busy."""
    with Path2(tmp_path, "cubic", {}, delay="20ms", rate="10mbit", limit=100) as path:
        path.start(0)
        path.run(5)
        (rate,) = path.measure(10)
        assert path.statistics()["queue_packets_max"] == 100
        assert path.statistics()["dropped_queue"] > 0
        assert rate * FRAME * 8 >= 0.98 * 10_000_000


def test_dctcp_holds_the_queue_at_the_threshold(tmp_path: Path) -> None:
    """RFC 8257 section 1: full throughput, no loss, and a queue of about K. Alizadeh et al. 2010: it swings by
    sqrt(2 (C RTT + K)) / 2 segments; slow start is before that."""
    threshold = 12 * FRAME
    with Path2(tmp_path, "dctcp", {}, delay="1ms", rate="20mbit", limit=1000, ecn_threshold=threshold) as path:
        path.start(0)
        path.run(1)
        waiting = []
        before = path.acked()[0]
        for _ in range(100):
            clock = path.lab.start_advance(Until(time_ns=path.lab.now() + 10 * MILLISECOND))
            while clock.step(10_000) is None:
                pass
            waiting.append(path.statistics()["queue_bytes"])
        amplitude = (2 * (20_000_000 // 8 * 2 // 1000 + threshold) / FRAME) ** 0.5 * FRAME
        assert max(waiting) < threshold + amplitude
        assert min(waiting) > 0
        assert (path.acked()[0] - before) / MSS * FRAME * 8 >= 0.98 * 20_000_000
        statistics = path.statistics()
        assert statistics["marked"] > 0
        assert statistics["dropped_queue"] == path.lab.counters("h1")["TcpRetransSegs"] == 0


def test_tahoe_begins_anew_after_every_loss(tmp_path: Path) -> None:
    """Jacobson 1988: from one segment, to half of what was; so it does less than Reno with the same losses."""
    rates = {}
    for control in ("tahoe", "reno"):
        with Path2(tmp_path / control, control, {"tcp_delack_ms": 0}, delay="50ms") as path:
            data = RuleSpec(name="periodic", match="tcp.len > 0", nth=Nth(100, step=100), action=Drop())
            path.lab.add_rule("h1-h2", data)
            path.start(0)
            path.run(5)
            (rates[control],) = path.measure(20)
            assert path.lab.counters("h1")["TcpExtTCPTimeouts"] == 0
    assert 0.4 * rates["reno"] < rates["tahoe"] < 0.9 * rates["reno"]


def test_vegas_keeps_a_few_segments_in_the_queue(tmp_path: Path) -> None:
    """Brakmo and Peterson 1995, section 3.2: between alpha (2) and beta (4) of its own, no loss, and a busy line."""
    with Path2(tmp_path, "vegas", {}, delay="20ms", rate="10mbit", limit=100) as path:
        path.start(0)
        path.run(10)
        waiting = []
        before = path.acked()[0]
        for _ in range(100):
            path.lab.advance(Until(time_ns=path.lab.now() + 50 * MILLISECOND))
            waiting.append(path.statistics()["queue_packets"])
        assert 1 <= sum(waiting) / len(waiting) <= 5
        assert (path.acked()[0] - before) / MSS * FRAME * 8 / 5 >= 0.98 * 10_000_000
        assert path.statistics()["dropped_queue"] == path.lab.counters("h1")["TcpRetransSegs"] == 0
        # Of two, each wants its own.
        path.start(1)
        path.run(10)
        assert path.statistics()["queue_packets"] <= 12
        assert path.statistics()["dropped_queue"] == 0


def test_vegas_yields_to_who_fills_the_queue(tmp_path: Path) -> None:
    """Mo, La, Anantharam and Walrand 1999: beside Reno it takes the queue for its own and makes room."""
    with Path2(tmp_path, "vegas", {}, delay="20ms", rate="10mbit", limit=60) as path:
        path.start(0)
        path.lab.set_parameters("h1", {"tcp_congestion_control": "reno"})
        path.start(1)
        path.run(5)
        vegas, reno = path.measure(20)
        assert vegas < reno / 2


@pytest.mark.parametrize(
    ("control", "loss", "mark"), [(NewReno, 25_000, 40_000), (Reno, 25_000, 40_000), (Cubic, 35_000, 42_500)]
)
def test_abe_reduces_less_for_a_mark(control: type[CongestionControl], loss: int, mark: int) -> None:
    """RFC 8511 section 3: ssthresh = max(FlightSize beta_ecn, 2 SMSS), beta_ecn 0.8, for CUBIC 0.85; in congestion
    avoidance. Without tcp_abe, and in slow start, as for a loss (RFC 3168 section 6.1.2)."""
    for mildly, ssthresh, after in ((True, 50_000, mark), (False, 50_000, loss), (True, 60_000, loss)):
        one = control(1000, 50_000, 1)
        one.ssthresh = ssthresh
        one.on_mark(0, 50_000, mildly)
        assert (one.ssthresh, one.cwnd) == (after, after)
    least = control(1000, 2_000, 1)
    least.ssthresh = 2_000
    least.on_mark(0, 1_000, True)
    assert least.ssthresh == 2_000


def test_abe_keeps_the_line_busy_where_the_queue_is_short(tmp_path: Path) -> None:
    """RFC 8511 section 4.1: after half the window is gone a line with a short queue stands idle."""
    rates = {}
    for abe in (0, 1):
        knobs = {"tcp_ecn": 1, "tcp_abe": abe, "tcp_rmem": 1_000_000, "tcp_wmem": 1_000_000}
        link: dict[str, Any] = {"delay": "50ms", "rate": "10mbit", "limit": 1000, "ecn_threshold": 15_000}
        with Path2(tmp_path / str(abe), "reno", knobs, **link) as path:
            path.start(0)
            path.run(20)
            (rates[abe],) = path.measure(40)
            assert path.statistics()["marked"] > 0
            assert path.statistics()["dropped_queue"] == 0
    line = 10_000_000 / 8 / FRAME
    assert rates[0] < 0.9 * line
    # A window that swings between 0.8 and 1 of what fills path and queue: 125 kB + 15 kB.
    assert rates[1] > max(0.9 * line, 1.1 * rates[0])

"""BBR version 3 as draft-ietf-ccwg-bbr has it, mostly the cases of its Appendix A: on a link of a lab, whose trace
tells the states, and fed by hand where a path would have to be very special."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest

from lab.backends.until import Until
from lab.trace.spool_reader import SpoolReader
from nodes.agent.payload import Payload
from nodes.base import causes
from nodes.base.clock import MILLISECOND, SECOND
from nodes.base.events import CWND, LEVEL_CONGESTION
from nodes.tcp.congestion.base import Ack
from nodes.tcp.congestion.bbr3 import CRUISE, DOWN, DRAIN, PROBE_RTT, REFILL, STARTUP, UP, Bbr3
from nodes.tcp.congestion.bbr3_model import INFINITE, inflight_at_loss, too_high
from nodes.tcp.congestion.windowed import WindowedMax
from nodes.tcp.scoreboard import Sent

from .test_congestion import FRAME, MSS, Path2

#: Payload per second of 10 Mbit/s, and what fits the path of the tests: 40 ms, and the line's own time for a frame.
RATE: Final = 10_000_000 / 8 * MSS / FRAME
PRODUCT: Final = RATE * 0.0414
PIPE: Final[dict[str, Any]] = {"delay": "20ms", "rate": "10mbit", "limit": 1000}
#: The arrows of the diagram in section 5.1.1; any state may go to ProbeRTT.
ARROWS: Final = {
    STARTUP: {DRAIN},
    DRAIN: {DOWN, CRUISE},  # an ACK can do both
    DOWN: {CRUISE, REFILL},
    CRUISE: {REFILL},
    REFILL: {UP, DOWN},
    UP: {DOWN},
    PROBE_RTT: {CRUISE, STARTUP},
}


class Watched(Path2):
    """A path whose trace tells the states of the control."""

    def __init__(self, directory: Path, parameters: Mapping[str, Any], **link: Any) -> None:
        super().__init__(directory, "bbr3", parameters, level=LEVEL_CONGESTION, **link)
        self.directory = directory

    def states(self) -> list[tuple[int, int, int, int]]:
        """Each state that it was in: from when, which, cwnd and pacing rate as it began."""
        self.lab.sink.flush()
        found: list[tuple[int, int, int, int]] = []
        for event in SpoolReader(self.directory / "spool", kinds=(CWND,), node="h1", connection=1):
            if event.cause in ARROWS and (not found or found[-1][1] != event.cause):
                found.append((event.time_ns, event.cause, event["cwnd"], event["pacing_rate"]))
        return found


def test_it_fills_the_pipe_and_not_the_queue(tmp_path: Path) -> None:
    """The states in the order of section 5.1.1 with the gains of 5.6.1, 95 % of the rate, and at most 1.5 products of
    rate and round trip in the queue (section 3.2)."""
    with Watched(tmp_path, {}, **PIPE) as path:
        path.start(0)
        path.run(1)
        waiting = []
        before = path.acked()[0]
        for _ in range(100):
            path.lab.advance(Until(time_ns=path.lab.now() + 40 * MILLISECOND))
            waiting.append(path.statistics()["queue_bytes"])
        assert (path.acked()[0] - before) / 4 >= 0.95 * RATE
        path.run(4)
        assert path.statistics()["queue_bytes_max"] < 1.5 * PRODUCT * FRAME / MSS
        assert sorted(waiting)[len(waiting) // 2] < 0.3 * PRODUCT  # most of the time there is none
        assert path.statistics()["dropped_queue"] == path.lab.counters("h1")["TcpRetransSegs"] == 0
        states = path.states()
    for (_, old, _, _), (_, new, _, _) in pairwise(states):
        assert new == PROBE_RTT or new in ARROWS[old]
    assert [state for _, state, _, _ in states[:7]] == [STARTUP, DRAIN, CRUISE, REFILL, UP, DOWN, CRUISE]
    gains = {DRAIN: 0.5, CRUISE: 1.0, REFILL: 1.0, UP: 1.25, PROBE_RTT: 1.0}
    for _, state, _, pacing in states:
        if state in gains:
            assert pacing == pytest.approx(0.99 * gains[state] * RATE, rel=0.02)  # within 2 % (A.1), and 1 % less
    # Reno would need as many round trips for another probe as segments fit; a cycle is REFILL, UP, DOWN besides.
    ups = [at for at, state, _, _ in states if state == UP]
    assert 1.2 * SECOND < ups[1] - ups[0] < 2.2 * SECOND
    # Five seconds after the lowest round trip, for 200 ms once it has drained, with half the product in flight (A.10).
    (began,) = [place for place, (_, state, _, _) in enumerate(states) if state == PROBE_RTT][:1]
    since, _, cwnd, _ = states[began]
    assert 5 * SECOND < since < 5.5 * SECOND
    assert cwnd == pytest.approx(PRODUCT / 2, rel=0.05)
    assert states[began + 1][1] == CRUISE
    assert 200 * MILLISECOND < states[began + 1][0] - since < 330 * MILLISECOND


def test_loss_by_chance_does_not_slow_it_down(tmp_path: Path) -> None:
    """Section 3.1: full throughput with loss rates up to 1 %; Reno's is a third of it."""
    rates = {}
    for control in ("bbr3", "reno"):
        with Path2(tmp_path / control, control, {}, **{**PIPE, "loss": "1%"}) as path:
            path.start(0)
            path.run(2)
            (rates[control],) = path.measure(8)
            assert path.lab.counters("h1")["TcpExtTCPTimeouts"] == 0
    assert rates["bbr3"] * MSS > 0.8 * RATE
    assert rates["bbr3"] > 2 * rates["reno"]


def test_reno_lives_beside_it_where_the_buffer_is_small(tmp_path: Path) -> None:
    """Section 5.3.3.5.1, what it has over version 1: on a link with a third of a product of buffer Reno gets twice
    what it gets beside version 1 at least, and less than half as much is lost."""
    got = {}
    lost = {}
    for control in ("bbr", "bbr3"):
        with Path2(tmp_path / control, control, {}, **{**PIPE, "limit": 10}) as path:
            path.start(0)
            path.lab.set_parameters("h1", {"tcp_congestion_control": "reno"})
            path.start(1)
            path.run(3)
            ours, got[control] = path.measure(9)
            lost[control] = path.statistics()["dropped_queue"]
            assert (ours + got[control]) * MSS > 0.9 * RATE
    assert got["bbr3"] * MSS > 0.25 * RATE
    assert got["bbr3"] > 2 * got["bbr"]
    assert lost["bbr"] > 2 * lost["bbr3"]


def test_a_small_buffer_is_learnt(tmp_path: Path) -> None:
    """Section 5.5.10.1: probing finds where losses begin, and between probes stays 15 % below; all in all far less than
    the 2 % that one round trip may lose."""
    with Watched(tmp_path, {}, **{**PIPE, "limit": 10}) as path:
        path.start(0)
        path.run(3)
        before = path.statistics()["dropped_queue"]
        (rate,) = path.measure(8)
        assert rate * MSS > 0.93 * RATE
        assert 0 < path.statistics()["dropped_queue"] - before < 0.01 * 8 * rate
        bound = PRODUCT + 10 * MSS
        cruising = [cwnd for _, state, cwnd, _ in path.states()[4:] if state == CRUISE]
        assert cruising
        assert max(cruising) < bound


def test_marks_bound_it_before_anything_is_lost(tmp_path: Path) -> None:
    """Section 3.7: marks are congestion. Between probes it stays below what was in flight when they began; without them
    two products would be."""
    windows = {}
    for ecn in (0, 1):
        with Watched(tmp_path / str(ecn), {"tcp_ecn": ecn}, **PIPE, ecn_threshold=20 * FRAME) as path:
            path.start(0)
            path.run(2)
            (rate,) = path.measure(6)
            assert rate * MSS > 0.9 * RATE
            assert path.statistics()["dropped_queue"] == path.lab.counters("h1")["TcpRetransSegs"] == 0
            assert (path.statistics()["marked"] > 0) == (ecn == 1)
            windows[ecn] = next(cwnd for _, state, cwnd, _ in path.states()[4:] if state == REFILL)
    assert windows[0] == pytest.approx(2 * PRODUCT, rel=0.1)
    assert windows[1] < PRODUCT + 25 * MSS


def test_ten_times_the_bandwidth_and_a_tenth(tmp_path: Path) -> None:
    """A.15 and A.16: found in a number of round trips that grows with the logarithm, forgotten after two cycles."""
    with Watched(
        tmp_path, {"tcp_rmem": 4_000_000, "tcp_wmem": 4_000_000}, delay="10ms", rate="2mbit", limit=20
    ) as path:
        path.start(0)
        path.run(4)
        path.lab.update_link("h1-h2", {"rate_bps": 20_000_000})
        path.run(6)
        (rate,) = path.measure(1)
        assert rate * MSS > 0.9 * 2 * RATE
        path.lab.update_link("h1-h2", {"rate_bps": 2_000_000})
        path.run(6)
        (rate,) = path.measure(1)
        assert rate * MSS == pytest.approx(0.2 * RATE, rel=0.1)
        before = path.statistics()["dropped_queue"]
        path.run(2)
        assert path.statistics()["dropped_queue"] - before < 0.02 * 2 * 0.2 * RATE / MSS


def test_idleness_is_as_good_as_a_probe(tmp_path: Path) -> None:
    """A.11, section 5.4: after six idle seconds no ProbeRTT; and the window that it kept leaves paced at the bandwidth,
    not at once."""
    with Watched(tmp_path, {}, **PIPE) as path:
        path.lab.start_app("h2", "sink", {"port": 80}, "receiver")
        opened = path.lab.open("h1", "h2", 80)
        path.lab.wait(opened)
        for _ in range(2):
            sent = path.lab.send("h1", opened.connection, Payload(b"x", 2_500_000))
            path.lab.wait(sent)
            path.lab.advance(Until(time_ns=path.lab.now() + 100 * MILLISECOND))
            queue = path.statistics()["queue_packets_max"]
            path.lab.advance(Until(time_ns=path.lab.now() + 6 * SECOND))
        states = path.states()
        assert PROBE_RTT not in [state for _, state, _, _ in states]
        assert queue == path.statistics()["queue_packets_max"]  # Startup's


def test_it_does_without_sack_and_timestamps(tmp_path: Path) -> None:
    """Section 4.1.3.6.1: what arrives is counted by duplicate ACKs, so a loss does not make the path look faster."""
    link = {**PIPE, "limit": 100, "loss": "0.3%"}
    with Path2(tmp_path, "bbr3", {"tcp_sack": 0, "tcp_timestamps": 0}, **link) as path:
        path.start(0)
        path.run(2)
        (rate,) = path.measure(5)
        assert rate * MSS > 0.8 * RATE
        assert path.statistics()["dropped_loss"] > 5
        assert path.statistics()["queue_bytes_max"] < 1.5 * PRODUCT


def test_less_than_a_packet_fits_the_path(tmp_path: Path) -> None:
    """A.14: four segments of window keep even such a line busy."""
    with Path2(tmp_path, "bbr3", {}, delay="1ms", rate="1mbit", limit=100) as path:
        path.start(0)
        path.run(2)
        (rate,) = path.measure(4)
        assert rate * MSS > 0.95 * RATE / 10
        assert path.statistics()["dropped_queue"] == 0


# By hand: a line that delivers a segment of 1000 bytes every millisecond, and takes 20 ms.


class Line:
    """Feeds a control the ACKs of a path of 1 MB/s and 20 ms: one per millisecond."""

    def __init__(self) -> None:
        self.control = Bbr3(1000, 10_000, 0)
        self.ack = Ack()
        self.flights: list[tuple[int, int]] = []
        self.delivered = 0

    def run(self, acks: int, flight: int = 0, app_limited: bool = False, gap: int = MILLISECOND) -> None:
        """So many ACKs with `flight` in flight, or as much as the window lets."""
        control = self.control
        ack = self.ack
        for _ in range(acks):
            inside = flight or control.cwnd // 1000 * 1000
            self.delivered += 1000
            ack.now += gap
            ack.acked = ack.delivered = 1000
            ack.total_delivered = self.delivered
            ack.flight = inside
            ack.flight_after = inside - 1000
            ack.delivery_rate = 1_000_000
            ack.prior_delivered = max(self.delivered - max(inside, 20_000), 0)
            ack.newest_rtt = ack.rtt = ack.srtt = ack.min_rtt = 20 * MILLISECOND
            ack.sent_in_flight = inside
            ack.cwnd_limited = not flight
            ack.app_limited = app_limited
            control.on_every_ack(ack)

    def until(self, state: int, flight: int = 0) -> None:
        for _ in range(20_000):
            if self.control.phase == state:
                return
            self.run(1, flight)
        raise AssertionError(f"it never came to {causes.CAUSES[state].name}")

    def lose(self, in_flight: int, lost: int) -> None:
        """Of what was in flight with a segment so much is lost, it the last."""
        seq = self.delivered
        record = Sent(seq, seq + 1000, 0, b"", 0)
        record.in_flight = in_flight
        record.delivered = self.delivered - 20_000
        self.control.on_segment_lost(self.ack.now, record, lost, self.delivered)


def test_startup_lasts_while_the_application_is_the_limit() -> None:
    """A.7: rounds that say nothing of the path do not end it."""
    line = Line()
    line.run(400, 5_000, app_limited=True)
    assert line.control.phase == STARTUP
    line.run(150)
    assert line.control.phase != STARTUP


def test_startup_ends_by_losses() -> None:
    """A.2: more than 2 %, in six places at least, in recovery for a round trip, whoever limits; five are too few."""
    for places in (5, 6):
        line = Line()
        line.run(60, 20_000, app_limited=True)
        line.ack.recovering = True
        for place in range(places):
            line.delivered += 2000  # another place
            line.lose(20_000, 1000 * (place + 1))
        line.ack.lost_since_sent = 1000 * places
        line.run(30, 20_000, app_limited=True)
        assert (line.control.phase == STARTUP) == (places == 5)
        longterm = line.control.model.inflight_longterm
        assert longterm == (INFINITE if places == 5 else pytest.approx(20_000, rel=0.3))


def test_drain_ends_after_three_round_trips() -> None:
    """A.4: even if more than a product stays in flight."""
    line = Line()
    line.until(DRAIN)
    line.run(80, 60_000)
    assert line.control.phase == DRAIN  # a round trip takes 60 ms now
    line.run(200, 60_000)
    assert line.control.phase == DOWN


def test_losses_end_a_probe_and_bound_the_next() -> None:
    """A.6, A.20, section 5.3.3.4.2: what was in flight becomes the bound, but not less than 0.7 of the product; the
    next probe stops as soon as that is in flight again, and when nothing is lost there is another at once."""
    line = Line()
    line.until(UP, 20_000)
    line.lose(24_000, 400)  # below 2 %
    assert line.control.phase == UP
    line.lose(24_000, 1000)
    assert line.control.phase == DOWN
    assert line.control.model.inflight_longterm == inflight_at_loss(1000, 1000, 24_000) == 23_000 + 469
    line.until(UP, 20_000)
    line.run(1, 20_000)
    assert line.control.phase == UP
    line.run(1, 23_000)
    assert line.control.phase == DOWN
    line.run(25, 20_000)
    assert line.control.phase in (REFILL, UP)  # without CRUISE
    line.until(UP, 20_000)
    line.run(1, 23_000)
    assert line.control.phase == UP  # this time it goes on
    line.lose(5_000, 1000)
    assert line.control.model.inflight_longterm == 14_000  # 0.7 of 20 ms at 1 MB/s


def test_the_bound_rises_faster_and_faster() -> None:
    """A.15, section 5.3.3.4.1: by one segment in the first round trip, then two, four, eight."""
    line = Line()
    line.until(UP, 20_000)
    line.lose(24_000, 1000)
    line.control._too_high_before = False
    line.until(UP, 20_000)
    line.run(line.control.cwnd // 1000)
    bounds = []
    for _ in range(5):
        bounds.append(line.control.model.inflight_longterm)
        line.run(line.control.cwnd // 1000)
    # A little more than a round trip each: what is in flight had fewer when it left.
    for place, (former, later) in enumerate(pairwise(bounds)):
        assert 2**place < (later - former) / 1000 <= 2 ** (place + 2)


def test_loss_between_probes_slows_it_to_what_arrives() -> None:
    """Section 5.5.10.2: bw_shortterm and inflight_shortterm, no lower than 0.7 in a round trip; REFILL forgets them."""
    line = Line()
    line.until(CRUISE, 20_000)
    model = line.control.model
    cwnd = line.control.cwnd
    line.lose(20_000, 1000)
    line.run(45, 20_000)
    assert model.bw_shortterm == 1_000_000  # that is what arrives
    assert model.inflight_shortterm == max(20_000, cwnd * 7 // 10)
    assert line.control.cwnd == model.inflight_shortterm
    line.until(REFILL, 20_000)
    assert model.bw_shortterm == model.inflight_shortterm == INFINITE


@pytest.mark.parametrize("timeout", [False, True])
def test_what_was_for_nothing_is_taken_back(timeout: bool) -> None:
    """A.18 and A.19: window, bounds, and the probe that a spurious recovery ended begins anew."""
    line = Line()
    line.until(UP, 20_000)
    cwnd = line.control.cwnd
    if timeout:
        line.control.on_timeout(line.ack.now, 20_000, True)
        assert line.control.cwnd == 1000
    line.lose(24_000, 1000)
    if not timeout:
        line.control.on_loss(line.ack.now, 20_000)
    assert line.control.phase == DOWN
    assert line.control.model.inflight_longterm < INFINITE
    line.control.on_undo(line.ack.now, 0, 0)
    assert line.control.phase == REFILL
    assert line.control.model.inflight_longterm == INFINITE
    assert line.control.cwnd == cwnd


def test_probe_rtt_in_startup_goes_back_to_it() -> None:
    """A.19 of the draft's list: the pipe was never full."""
    line = Line()
    line.run(5_100, 5_000, app_limited=True)
    assert line.control.phase == PROBE_RTT
    line.run(300, 5_000, app_limited=True)
    assert line.control.phase == STARTUP


def test_lumps_of_acks_widen_the_window() -> None:
    """A.13, section 5.5.9: what comes at once above the bandwidth is added, for ten round trips."""
    line = Line()
    line.until(CRUISE, 20_000)
    before = line.control.cwnd
    for _ in range(10):
        line.ack.now += 10 * MILLISECOND
        line.run(10, 20_000, gap=0)
    assert line.control.model.extra_acked == pytest.approx(10_000, abs=1000)
    assert line.control.cwnd == pytest.approx(before + 9_000, abs=1000)  # before they came one by one


def test_the_arithmetic() -> None:
    """By hand: 2 % of 50 is 1; of 40 in flight before it 0.8 may be lost, so 0.8 / 0.98 of the next went too far."""
    assert not too_high(1000, 50_000)
    assert too_high(1001, 50_000)
    assert inflight_at_loss(1000, 1000, 41_000) == 40_816
    assert inflight_at_loss(1000, 5000, 41_000) == 40_000
    best = WindowedMax()
    assert best.best == 0
    for time, value, expected in ((1, 5, 5), (2, 3, 5), (3, 4, 5), (4, 1, 4), (5, 1, 4), (6, 1, 1)):
        best.update(time, value, 3)
        assert best.best == expected

"""Links: every impairment does what it says, each way, changes as it is asked to, and goes away again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from itertools import pairwise

import pytest

from lab.links.queues import QUEUES
from tcplab.client import InvalidArgument, NotFound
from tcplab.v1 import link_pb2
from tests.contract.under import MS, Pair, Under
from tests.server.api import fails


def sha256(length: int) -> str:
    return hashlib.sha256((b"tcplab" * (length // 6 + 1))[:length]).hexdigest()


def percent(chance: float) -> float:
    return round(chance * 100, 6)


def test_links_are_as_the_topology_says(under: Under) -> None:
    topology = """
nodes: {h1: host, h2: host, s1: switch}
links:
- {endpoints: h1-s1, delay: 3ms, loss: 1%, directions: {h1->s1: {rate: 1mbit, limit: 7}}}
- {endpoints: h2-s1, mtu: 1400}
"""
    with under.lab(topology) as lab:
        assert [one.name for one in lab.links()] == ["h1-s1", "h2-s1"]
        one, other = lab.link("h1-s1").info(), lab.link("h2-s1").info()
    assert (one.a, one.b, one.up, one.mtu) == ("h1:eth0", "s1:eth0", True, 1500)
    assert (one.forward.rate_bps, one.forward.limit_packets, one.backward.rate_bps) == (1_000_000, 7, 0)
    for side in (one.forward, one.backward):
        assert (side.delay.ToNanoseconds(), percent(side.loss)) == (3 * MS, 1)
    assert (other.mtu, other.forward.delay.ToNanoseconds(), other.forward.loss) == (1400, 0, 0)
    with pytest.raises(NotFound):
        lab.link("h1-s1").info()


def test_delay_is_of_each_direction(pair: Pair) -> None:
    pair.link.update(delay="30ms")
    assert min(pair.rtts(3)) >= 60 * MS
    pair.link.update("h1->h2", delay=0)
    assert min(pair.rtts(3)) >= 30 * MS
    assert pair.link.info().backward.delay.ToNanoseconds() == 30 * MS
    pair.link.update("h2->h1", delay=0)
    assert min(pair.rtts(10)) < 30 * MS


def test_jitter_varies_the_delay_and_keeps_the_order(pair: Pair) -> None:
    pair.link.update("h1->h2", delay="30ms", jitter="25ms")
    rtts = pair.rtts(30, interval="10ms")
    assert len(rtts) == 30
    assert min(rtts) >= 5 * MS
    assert max(rtts) - min(rtts) > 10 * MS
    # Each answer comes after the one before: what was sent 10 ms later overtakes nothing.
    assert all(later + 10 * MS >= earlier for earlier, later in pairwise(rtts))


def test_loss(pair: Pair) -> None:
    pair.rtts(1)  # ARP
    before = pair.counts()
    pair.link.update("h1->h2", loss="50%")
    answered = len(pair.rtts(100, timeout="500ms"))
    now = pair.counts()
    lost = now["dropped_loss"] - before["dropped_loss"]
    assert (answered, now["packets_in"] - before["packets_in"]) == (100 - lost, 100)
    assert 20 <= lost <= 80  # one in 10^9 is outside


def test_loss_in_bursts(under: Under) -> None:
    """Gilbert-Elliott: everything is lost in the bad state, nothing in the good one."""
    with under.lab("nodes: {h1: host, h2: host}\nlinks: [h1-h2]\n") as lab:
        pair = Pair(lab, under.api)
        pair.link.update("h1->h2", gemodel_p="10%", gemodel_r="10%")
        shown = pair.link.info()
        assert (shown.forward.gemodel_p, shown.forward.gemodel_1h, shown.backward.gemodel_p) == (0.1, 1.0, 0.0)
        pair.rtts(300, interval="1ms", timeout="500ms")
        offered = pair.counts()["packets_in"]
        lost = pair.verdicts("DROPPED_LOSS")
    kept = offered - len(lost)
    bursts = 1 + sum(later != earlier + 1 for earlier, later in pairwise(lost))
    assert min(len(lost), kept) > 20
    assert len(lost) / bursts > 3  # ten on average; losses without memory would make two of it


def test_a_frame_has_the_chances_that_virtual_time_gives_it(under: Under) -> None:
    """The k-th frame of a direction has the k-th draw of its seed."""
    topology = "nodes: {h1: host, h2: host}\nlinks: [{endpoints: h1-h2, directions: {h1->h2: {loss: 30%}}}]\n"
    found = []
    for backend in ("sim", under.backend):
        with under.controller.create_lab(topology, backend=backend, seed=7) as lab:
            pair = Pair(lab, under.api)
            while pair.counts()["packets_in"] < 60:
                pair.rtts(60, interval="1ms", timeout="100ms")
            found.append([frame for frame in pair.verdicts("DROPPED_LOSS") if frame <= 60])
    virtual, here = found
    assert here == virtual
    assert len(virtual) > 5


def test_duplication(pair: Pair) -> None:
    pair.rtts(1)
    before = pair.counts()
    pair.link.update("h1->h2", duplicate="50%")
    assert len(pair.rtts(50)) == 50
    now = pair.counts()
    twice = now["duplicated"] - before["duplicated"]
    assert now["packets_delivered"] - before["packets_delivered"] == 50 + twice
    assert 10 <= twice <= 40


def test_corruption_is_found_by_checksums(pair: Pair) -> None:
    client, server = pair.connect()
    before = pair.counts()["corrupted"]
    wrong = pair.h2.counters()["TcpInCsumErrors"]
    pair.link.update("h1->h2", corrupt="3%", delay="2ms")
    digest, _ = pair.transfer(client, server, 400_000)
    assert digest == sha256(400_000)
    assert pair.counts()["corrupted"] > before
    assert pair.h2.counters()["TcpInCsumErrors"] > wrong


def test_reordering_lets_frames_skip_the_delay(pair: Pair) -> None:
    pair.rtts(1)
    pair.link.update("h1->h2", delay="60ms", reorder="30%")
    before = pair.counts()["reordered"]
    rtts = pair.rtts(40, interval="5ms")
    skipped = pair.counts()["reordered"] - before
    assert len(rtts) == 40
    assert 1 <= skipped <= 39
    assert sum(rtt >= 60 * MS for rtt in rtts) >= 40 - skipped
    assert min(rtts) < 60 * MS


def test_reordering_by_coming_later(pair: Pair) -> None:
    pair.rtts(1)
    pair.link.update("h1->h2", reorder="100%", reorder_gap=5, reorder_delay="50ms")
    before = pair.counts()["reordered"]
    rtts = pair.rtts(20, interval="5ms")
    late = pair.counts()["reordered"] - before
    assert late == 4
    assert sum(rtt >= 50 * MS for rtt in rtts) >= late


def test_rate(pair: Pair) -> None:
    client, server = pair.connect()
    pair.transfer(client, server, 10_000)
    pair.link.update("h1->h2", rate="8mbit")
    digest, took = pair.transfer(client, server, 200_000)
    assert digest == sha256(200_000)
    assert took >= 200 * MS * 0.9  # a byte a microsecond; what the burst at the start had in flight aside


@pytest.mark.parametrize("queue", QUEUES)
@pytest.mark.parametrize(
    ("limit", "within"),
    [
        ({"limit": 5}, lambda counts: counts["queue_packets_max"] <= 5),
        ({"limit_bytes": 500}, lambda counts: counts["queue_packets_max"] <= 5),
    ],
    ids=["packets", "bytes"],
)
def test_a_queue_drops_what_is_beyond_its_limit(
    under: Under, queue: str, limit: dict[str, int], within: Callable[[dict[str, int]], bool]
) -> None:
    with under.lab() as lab:
        pair = Pair(lab, under.api)
        pair.rtts(1)
        pair.link.update("h1->h2", rate="100kbit", queue=queue, **limit)  # type: ignore[arg-type]
        answered = len(pair.rtts(40, interval="1ms", timeout="2s"))
        counts = pair.counts()
    assert counts["dropped_queue"] > 0
    assert answered == 40 - counts["dropped_queue"]
    assert within(counts)


def test_a_queue_that_does_not_exist_is_refused(pair: Pair) -> None:
    with pytest.raises(InvalidArgument, match="droptail") as caught:
        pair.link.update(queue="no-such-queue")
    assert caught.value.field == "link.forward.queue"


def test_an_update_changes_what_it_names_alone(pair: Pair) -> None:
    pair.link.update(delay="5ms", loss="1%", rate="10mbit")
    pair.link.update("h2->h1", loss="2%")
    now = pair.link.info()
    assert (percent(now.forward.loss), percent(now.backward.loss)) == (1, 2)
    for side in (now.forward, now.backward):
        assert (side.delay.ToNanoseconds(), side.rate_bps) == (5 * MS, 10_000_000)
    # A field that a mask names and the message has not goes back to its default; the others stay.
    request = link_pb2.UpdateLinkRequest(link=link_pb2.Link(name=now.name))
    request.update_mask.paths.append("forward.loss")
    now = pair.api.links.UpdateLink(request)
    assert (percent(now.forward.loss), percent(now.backward.loss)) == (0, 2)
    assert now.forward.delay.ToNanoseconds() == 5 * MS
    request.update_mask.paths[:] = ["forward", "backward"]
    now = pair.api.links.UpdateLink(request)
    for side in (now.forward, now.backward):
        assert (side.delay.ToNanoseconds(), side.rate_bps, side.loss) == (0, 0, 0)


@pytest.mark.parametrize(
    ("path", "link"),
    [
        ("forward.loss", link_pb2.Link(forward=link_pb2.Impairments(loss=1.5))),
        ("backward.rate_bps", link_pb2.Link(backward=link_pb2.Impairments(rate_bps=-1))),
        ("forward.limit_packets", link_pb2.Link(forward=link_pb2.Impairments(limit_packets=0))),
    ],
)
def test_a_wrong_value_changes_nothing(pair: Pair, path: str, link: link_pb2.Link) -> None:
    link.name = f"{pair.path}/links/h1-h2"
    link.forward.delay.FromNanoseconds(MS)
    found = fails(pair.api.links.UpdateLink, link_pb2.UpdateLinkRequest(link=link))
    assert (found.code, list(found.fields)) == ("INVALID_ARGUMENT", [f"link.{path}"])
    assert pair.link.info().forward.delay.ToNanoseconds() == 0


def test_a_link_that_is_down_carries_nothing(pair: Pair) -> None:
    pair.rtts(1)
    before = pair.counts()["dropped_down"]
    pair.link.down()
    assert not pair.link.info().up
    assert pair.rtts(2, timeout="200ms") == []
    assert pair.counts()["dropped_down"] > before
    pair.link.up()
    assert len(pair.rtts(1)) == 1


def test_what_is_in_flight_stays_in_flight(pair: Pair) -> None:
    pair.rtts(1)
    pair.link.update("h1->h2", delay="300ms")
    ping = pair.h1.start_ping("h2", 1, timeout="2s")
    pair.lab.advance("100ms")
    pair.link.update("h1->h2", loss="100%", delay=0)
    (rtt,) = (one.ToNanoseconds() for one in ping.wait().ping.round_trip_times)
    assert rtt >= 300 * MS


def test_statistics_add_up(pair: Pair) -> None:
    client, server = pair.connect()
    pair.link.update(delay="1ms", loss="2%", duplicate="2%")
    pair.transfer(client, server, 200_000)
    pair.link.update(loss=0, duplicate=0)
    pair.rtts(3, interval="50ms")  # what was under way has passed
    for direction in ("h1->h2", "h2->h1"):
        one = pair.counts(direction)
        lost = sum(one[name] for name in one if name.startswith("dropped_"))
        assert one["packets_delivered"] == one["packets_in"] - lost + one["duplicated"] + one["injected"]
        assert (one["queue_packets"], one["queue_bytes"]) == (0, 0)

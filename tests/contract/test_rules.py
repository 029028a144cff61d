"""Packet rules name packets, and do with them what they say."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from tcplab.client import InvalidArgument, NotFound, SocketError
from tests.contract.under import MS, Pair


@pytest.fixture(autouse=True)
def resolved(pair: Pair) -> None:
    """Addresses are known, so that pings are the only frames."""
    pair.rtts(1)


def test_rules_come_and_go(pair: Pair) -> None:
    first = pair.link.rule(match="icmp", nth="3-", drop=True, direction="h1->h2")
    second = pair.link.rule(name="mine", match="tcp.flags.fin", delay="7ms")
    one, other = pair.link.rules()
    assert [rule.name for rule in (one, other)] == [f"{pair.path}/links/h1-h2/rules/{name}" for name in (first, second)]
    assert (second, one.direction, one.match, one.nth, one.HasField("drop")) == ("mine", "h1->h2", "icmp", "3-", True)
    assert (other.match, other.delay.delay.ToNanoseconds(), other.matches) == ("tcp.flags.fin", 7 * MS, 0)
    pair.link.remove_rule(first)
    assert [rule.name for rule in pair.link.rules()] == [other.name]
    with pytest.raises(NotFound):
        pair.link.remove_rule(first)


@pytest.mark.parametrize(
    ("nth", "answered"), [("2", 5), ("2-4", 3), ("3-", 2), ("every 2", 3), ("all", 0)], ids=lambda value: str(value)
)
def test_drop_takes_the_packets_it_names(pair: Pair, nth: str, answered: int) -> None:
    pair.link.rule(match="icmp", nth=nth, direction="h1->h2", drop=True)
    assert len(pair.rtts(6, timeout="300ms")) == answered
    (rule,) = pair.link.rules()
    assert (rule.matches, rule.acted) == (6, 6 - answered)


def test_delay(pair: Pair) -> None:
    pair.link.rule(match="icmp", nth=1, direction="h1->h2", delay="100ms")
    rtts = pair.rtts(3)
    assert len(rtts) == 3
    assert max(rtts) >= 100 * MS > min(rtts)


def test_duplicate(pair: Pair) -> None:
    pair.link.rule(match="icmp", nth=2, direction="h1->h2", duplicate=3)
    before = pair.counts()
    assert len(pair.rtts(3)) == 3
    after = pair.counts()
    assert after["packets_in"] - before["packets_in"] == 3
    assert after["packets_delivered"] - before["packets_delivered"] == 6


def test_hold_lets_others_go_first(pair: Pair) -> None:
    pair.link.rule(match="icmp", nth=1, direction="h1->h2", hold=2)
    mark = pair.mark()
    assert len(pair.rtts(3, interval="5ms")) == 3
    arrived = [one["frame"] for one in pair.lab.trace("delivery", where={"link": "h1-h2/h1:eth0->h2:eth0"}, start=mark)]
    first = min(arrived)
    assert arrived == [first + 1, first + 2, first]


def test_corrupt(pair: Pair) -> None:
    client, server = pair.connect()
    pair.link.rule(match="tcp.len > 1000", nth=1, direction="h1->h2", corrupt=True)
    digest, _ = pair.transfer(client, server, 50_000)
    assert digest == hashlib.sha256((b"tcplab" * 10_000)[:50_000]).hexdigest()
    (rule,) = pair.link.rules()
    assert rule.acted == 1


def test_reset_gives_both_ends_an_rst(pair: Pair) -> None:
    client, server = pair.connect()
    pair.link.rule(match="tcp.len > 0", nth=1, direction="h1->h2", reset=True)
    waiting = server.start_receive()
    client.send(b"this gets lost")
    for end in (waiting.wait, lambda: client.receive(timeout="5s")):
        with pytest.raises(SocketError) as caught:
            end()
        assert caught.value.errno_name == "ECONNRESET"
    assert (client.state(), server.state()) == ("CLOSED", "CLOSED")


def test_a_rule_may_name_bytes_of_the_stream(pair: Pair) -> None:
    """What carries them for the first time is lost; sent again, they arrive."""
    client, server = pair.connect()
    pair.link.rule(stream_bytes="5000..5999", direction="h1->h2", drop=True)
    mark = pair.mark()
    digest, _ = pair.transfer(client, server, 20_000)
    assert digest == hashlib.sha256((b"tcplab" * 4000)[:20_000]).hexdigest()
    lost = pair.verdicts("DROPPED_RULE", mark)
    assert 1 <= len(lost) <= 2  # a segment that begins before them, and one that ends after
    syn = next(one for one in pair.lab.trace("segment", node="h1", connection=client.number))
    again = [(one["seq"] - syn["seq"] - 1) % (1 << 32) for one in pair.lab.trace("retransmit", node="h1", start=mark)]
    assert min(again) <= 5000


def test_the_first_syn_ack_is_one_packet(pair: Pair) -> None:
    pair.link.rule(match="tcp.flags.syn && tcp.flags.ack", nth=1, drop=True)
    before = pair.lab.now_ns()
    client, server = pair.connect()
    assert (client.state(), server.state()) == ("ESTABLISHED", "ESTABLISHED")
    assert pair.lab.now_ns() - before >= 1000 * MS  # RFC 6298 section 2.1
    (rule,) = pair.link.rules()
    assert (rule.matches >= 2, rule.acted) == (True, 1)


@pytest.mark.parametrize(
    ("wanted", "error", "field"),
    [
        ({"match": "tcp.flags.nonsense"}, InvalidArgument, "rule.match"),
        ({"nth": "0"}, InvalidArgument, "rule.nth"),
        ({"stream_bytes": "9..1"}, InvalidArgument, "rule.stream_bytes"),
        ({"name": "Not A Name"}, InvalidArgument, "rule_id"),
        ({"direction": "h1->h9"}, (InvalidArgument, NotFound), ""),
    ],
    ids=lambda value: str(value),
)
def test_a_rule_that_makes_no_sense_is_refused(pair: Pair, wanted: dict[str, Any], error: Any, field: str) -> None:
    with pytest.raises(error) as caught:
        pair.link.rule(drop=True, **wanted)
    assert caught.value.field == field or not field
    assert pair.link.rules() == []

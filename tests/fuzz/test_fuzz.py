"""A short attack with the tests, and every episode that ever found something. The long one: `python -m tests.fuzz`."""

from __future__ import annotations

import gc
from collections import Counter
from pathlib import Path

import pytest

from nodes.base.events import LEVEL_OFF
from nodes.packet.tcp import ACK
from nodes.tcp.parameters import Parameters
from tests.nodes.tcp.harness import Host, client

from .checks import memory_of
from .episode import STATES, Episode

SEEDS = [line.split() for line in Path(__file__).with_name("seeds.txt").read_text().splitlines() if line[:1].isdigit()]
#: Episodes of the short attack: each state in each kind of host, four times.
EPISODES = len(STATES) * 6 * 4


@pytest.mark.parametrize("block", range(4))
def test_nothing_that_arrives_breaks_the_stack(block: int) -> None:
    """No exception, no timer without end, no transition that RFC 9293 does not know, no window that shrinks."""
    attacked: set[str] = set()
    for number in range(block * EPISODES // 4, (block + 1) * EPISODES // 4):
        episode = Episode(20_261_121, number)
        episode.run(150)
        attacked.update(episode.done)
    assert attacked == set(STATES)


def test_what_was_found_once() -> None:
    for seed, number, *_ in SEEDS:
        Episode(int(seed), int(number)).run()


def test_an_episode_is_made_of_its_number_alone() -> None:
    one, other = (Episode(3, 17) for _ in range(2))
    one.run(200)
    other.run(200)
    assert one.done == other.done
    assert [(s.seq, s.ack, s.flags) for s in one.history] == [(s.seq, s.ack, s.flags) for s in other.history]
    assert one.victim.now == other.victim.now


def test_what_is_over_leaves_nothing() -> None:
    """Compiled code frees what nobody refers to only where it counts references right."""

    def kept() -> Counter[str]:
        gc.collect()
        kinds = Counter(f"{type(one).__module__}.{type(one).__qualname__}" for one in gc.get_objects())
        return Counter({kind: count for kind, count in kinds.items() if kind.startswith(("nodes.", "builtins.list"))})

    def attack(first: int) -> Counter[str]:
        for number in range(first, first + 40):
            Episode(20_261_122, number).run(100)
        return kept()

    before = attack(0)
    assert {kind: more for kind, more in (attack(40) - before).items() if more > 20} == {}


SMALL_PIECES = (
    pytest.param(2, id="every other byte"),
    pytest.param(1, id="in order"),
)


@pytest.mark.parametrize("step", SMALL_PIECES)
def test_small_pieces_take_little_more_than_the_receive_buffer(step: int) -> None:
    """A byte in a segment of its own must not cost the receiver a hundred: nobody reads, the window gets filled."""
    rcvbuf = 60_000
    host = Host(tcp_rmem=rcvbuf)
    host.sink.level = LEVEL_OFF
    c, peer = client(host)
    before = memory_of(host.tcp) - memory_of(Parameters())
    for at in range(2 if step == 2 else 1, rcvbuf, step):
        host.tcp.on_segment(host.now, b"\x0a\0\0\x02", host.local, peer.segment(ACK, at, 1, b"x"), 0, 0)
        host.network.sent.clear()
    held = memory_of(host.tcp) - memory_of(Parameters()) - before
    assert c.buffered + c.reassembly.length <= rcvbuf
    assert held < 3 * rcvbuf

"""The link engine between sockets: the same as in virtual time, but for when it sends."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from lab.links.impairments import Impairments
from lab.links.link import Link
from nodes.base.clock import MICROSECOND, MILLISECOND, SECOND, SimScheduler
from nodes.base.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from nodes.base.event_sink import EventSink
from nodes.base.random import CHANCE_ONE, Randomness, RandomStream
from tests.lab.engine.wires import Wired
from tests.lab.links.bench import ACK, segment

PAIR = "{nodes: {h1: host, h2: host}, links: [h1-h2]}"
BOTH = "h1-h2/h1:eth0->h2:eth0", "h1-h2/h2:eth0->h1:eth0"


@contextmanager
def wired(topology: str = PAIR, seed: int = 7) -> Iterator[Wired]:
    one = Wired(topology, seed=seed)
    try:
        yield one
    finally:
        one.close()


def numbered(
    number: int, length: int = 100, to: bytes = b"\x02\0\0\0\0\x02", source: bytes = b"\x02\0\0\0\0\x01"
) -> bytes:
    return (to + source + b"\x88\xb5" + number.to_bytes(4, "big")).ljust(length, b"\0")


def pass_until(wall_ns: int) -> None:
    """Come late: let the wall clock go on while nobody looks."""
    while time.time_ns() <= wall_ns:
        pass


IMPAIRED = [
    {"delay_ns": 20 * MILLISECOND, "rate_bps": 10_000_000, "limit_packets": 20},
    {"delay_ns": 2 * MILLISECOND, "jitter_ns": 1 * MILLISECOND, "loss": CHANCE_ONE // 10},
    {
        "delay_ns": 3 * MILLISECOND,
        "duplicate": CHANCE_ONE // 5,
        "reorder": CHANCE_ONE // 4,
        "rate_bps": 50_000_000,
        "loss": CHANCE_ONE // 50,
    },
]


@pytest.mark.parametrize("impairments", IMPAIRED)
def test_releases_are_those_of_virtual_time(impairments: dict[str, Any]) -> None:
    """However late the engine comes to frames that are long there, which frame leaves when is as virtual time says."""
    randomness = RandomStream(3, "gaps")
    instants = [0]
    while len(instants) < 500:
        instants.append(instants[-1] + randomness.below(200 * MICROSECOND))
    frames = [numbered(number, 64 + randomness.below(1400)) for number in range(len(instants))]

    expected: list[tuple[int, bytes]] = []
    scheduler = SimScheduler()
    link = Link(
        "h1-h2",
        "h1",
        "h2",
        (Impairments(**impairments), Impairments()),
        scheduler,
        Randomness(7),
        EventSink(),
        interfaces=("h1:eth0", "h2:eth0"),
    )
    link.forward.deliver = lambda frame: expected.append((scheduler.now(), frame))
    for at, frame in zip(instants, frames, strict=True):
        scheduler.post(at, link.forward.send, frame)
    while scheduler.run_next():
        pass

    with wired() as real:
        real.carry_all()
        real.engine.update("h1-h2", impairments, "h1->h2")
        begin = time.time_ns()
        for at, frame in zip(instants, frames, strict=True):
            real.socket("h1:eth0").push(begin + at, frame)
        pass_until(begin + instants[-1])
        real.run(SECOND // 2)
        sent = real.socket("h2:eth0").sent
        offset = sent[0][0] - expected[0][0]
        assert [(at - offset, frame) for at, frame in sent] == expected
        assert len(expected) > 50
        assert not real.socket("h1:eth0").sent


def test_frames_of_all_sources_and_timers_are_handled_in_the_order_of_their_instants() -> None:
    with wired() as real:
        real.carry_all()
        real.engine.update("h1-h2", {"delay_ns": MILLISECOND})
        begin = time.time_ns()
        for number in range(300):
            side = "h1:eth0" if number % 3 else "h2:eth0"
            real.socket(side).push(begin + number * 100 * MICROSECOND, numbered(number))
        pass_until(begin + 30 * MILLISECOND)
        order: list[int] = []
        for interface in ("h1:eth0", "h2:eth0"):
            socket = real.socket(interface)
            send = socket.send

            def noting(frame: bytes, send=send) -> bool:  # type: ignore[no-untyped-def]
                order.append(int.from_bytes(frame[14:18], "big"))
                return bool(send(frame))

            socket.send = noting  # type: ignore[method-assign]
        real.run(30 * MILLISECOND)
        assert order == list(range(300))


def test_a_switch_learns_in_the_engine() -> None:
    with wired("{nodes: {h1: host, h2: host, h3: host, s1: switch}, links: [h1-s1, h2-s1, h3-s1]}") as real:
        real.carry_all()
        h1, h2, h3 = (real.socket(f"h{number}:eth0") for number in (1, 2, 3))
        mac1, mac2 = b"\x02\0\0\0\0\x01", b"\x02\0\0\0\0\x02"
        now = time.time_ns()
        h1.push(now - 3000, numbered(1, to=b"\xff" * 6, source=mac1))
        real.run()
        h2.push(now - 2000, numbered(2, to=mac1, source=mac2))
        real.run()
        assert [len(one.sent) for one in (h1, h2, h3)] == [1, 1, 1]


def test_what_is_asked_of_a_link_is_done() -> None:
    with wired() as real:
        real.carry_all()
        engine = real.engine
        h1, h2 = real.socket("h1:eth0"), real.socket("h2:eth0")

        def offer(*frames: bytes) -> int:
            """How many of the frames offered at h1 came out at h2."""
            before = len(h2.sent)
            for frame in frames:
                h1.push(time.time_ns(), frame)
            real.run(20 * MILLISECOND)
            return len(h2.sent) - before

        assert offer(numbered(1)) == 1
        assert engine.add_rule("h1-h2", {"match": "tcp", "nth": 2, "drop": None}) == "rule-1"
        assert offer(segment(1000), segment(1001), segment(1002)) == 2
        assert engine.rules("h1-h2") == {"rule-1": [3, 1]}
        engine.remove_rule("h1-h2", "rule-1")
        assert engine.rules("h1-h2") == {}
        engine.set_up("h1-h2", False)
        assert offer(numbered(2)) == 0
        engine.set_up("h1-h2", True)
        engine.update("h1-h2", {"loss": CHANCE_ONE}, "h1->h2")
        assert offer(numbered(3)) == 0
        engine.reset("h1-h2")
        assert offer(numbered(4)) == 1
        counted = engine.statistics("h1-h2")["h1->h2"]
        assert (counted["packets_in"], counted["dropped_rule"], counted["dropped_loss"], counted["dropped_down"]) == (
            7,
            1,
            1,
            1,
        )
        for wrong, error in (
            (lambda: engine.update("h1-h3", {}), NotFound),
            (lambda: engine.update("h1-h2", {"lost": 1}), InvalidArgument),
            (lambda: engine.add_rule("h1-h2", {"match": "tcp.flags.nix", "drop": None}), InvalidArgument),
            (lambda: engine.remove_rule("h1-h2", "rule-7"), NotFound),
            (lambda: engine.rules("h2-h1"), NotFound),
        ):
            with pytest.raises(error):
                wrong()


def test_it_is_idle_when_nothing_is_under_way() -> None:
    with wired() as real:
        real.carry_all()
        real.engine.update("h1-h2", {"delay_ns": 30 * MILLISECOND})
        before = real.engine.idle()
        real.socket("h1:eth0").push(time.time_ns(), numbered(1))
        real.run()
        during = real.engine.idle()
        real.run(40 * MILLISECOND)
        after = real.engine.idle()
        assert [before[0], during[0], after[0]] == [True, False, True]
        assert before[1] < during[1] < after[1]


def test_an_on_path_attack_runs_in_the_engine() -> None:
    with wired() as real:
        real.carry_all()
        real.engine.attacks.create_attack("cut", "on-path-rst", {"link": "h1-h2", "to": "both", "when": "now"})
        real.socket("h1:eth0").push(time.time_ns(), segment(1000, ACK, b"hello", 500))
        real.run(20 * MILLISECOND)
        said = real.engine.attacks.attacks()["cut"]
        assert (said["state"], said["packets"], said["results"]["rst_to_server"]) == ("DONE", 2, 1)
        to_server = real.socket("h2:eth0").sent[-1][1]
        to_client = real.socket("h1:eth0").sent[-1][1]
        assert to_server[47] & 4 and to_server[38:42] == (1005).to_bytes(4, "big")
        assert to_client[47] & 4 and to_client[38:42] == (500).to_bytes(4, "big")
        with pytest.raises(AlreadyExists):
            real.engine.attacks.create_attack("cut", "on-path-rst", {"link": "h1-h2"})
        with pytest.raises(NotFound):
            real.engine.attacks.stop_attack("other")
        real.engine.attacks.stop_attack("cut")


def test_an_attack_that_sends_from_a_node_is_not_for_the_engine() -> None:
    with wired() as real:
        real.carry_all()
        attack = {"node": "h1", "spoof": "h1", "spoof_ports": 4000, "target": "h2", "target_port": 80}
        real.engine.attacks.create_attack("blind", "blind-rst", attack)
        with pytest.raises(FailedPrecondition, match="runs in that node's process"):
            real.run()


def test_taking_over_neither_loses_nor_repeats() -> None:
    """Frames gather from `hold` on; those that the kernel's bridge still forwarded are left out by their stamps."""
    with wired() as real:
        real.engine.hold("h1-h2")
        h1 = real.socket("h1:eth0")
        pass_until(time.time_ns() + 5 * MILLISECOND)
        now = time.time_ns()
        h1.push(now - 2 * MILLISECOND, numbered(1))
        h1.push(now, numbered(2))
        real.run()
        assert not real.socket("h2:eth0").sent
        lab_now = real.scheduler.real_now() - (time.time_ns() - now)
        real.engine.carry("h1-h2", since_ns=lab_now - MILLISECOND)
        real.engine.carry("h1-h2")
        real.run(20 * MILLISECOND)
        assert [frame for _, frame in real.socket("h2:eth0").sent] == [numbered(2)]
        real.engine.uncarry("h1-h2")
        assert h1.closed and real.socket("h2:eth0").closed

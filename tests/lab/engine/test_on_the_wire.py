"""The link engine on real interfaces, seen by tcpdump."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lab.backends.netns.lab import NetnsLab
from lab.engine.measure import ETHER_TYPE, Measurement
from lab.engine.wire_log import WireLog
from lab.links.impairments import NO_IMPAIRMENTS, Impairments
from lab.links.link import Link
from lab.topology.loader import topology_from_text
from nodes.base.clock import MICROSECOND, MILLISECOND, SECOND, SimScheduler
from nodes.base.event_sink import EventSink
from nodes.base.events import LEVEL_OFF
from nodes.base.random import CHANCE_ONE, Randomness
from nodes.drivers.packet_socket import PacketSocket

pytestmark = [pytest.mark.real_time, pytest.mark.requires("root", "tcpdump")]

PAIR = "{nodes: {h1: host, h2: host}, links: [{endpoints: h1-h2, engine: %s}]}"
SEED = 11


@contextmanager
def lab_of(engine: str, directory: Path) -> Iterator[NetnsLab]:
    lab = NetnsLab("wire", topology_from_text(PAIR % engine), SEED, directory / "spool", LEVEL_OFF, capture=False)
    try:
        yield lab
    finally:
        lab.close_lab()


def lost_in_virtual_time(count: int, **impairments: Any) -> list[bool]:
    scheduler = SimScheduler()
    asked = Impairments(**impairments)
    ends = ("h1:eth0", "h2:eth0")
    link = Link("h1-h2", "h1", "h2", (asked, NO_IMPAIRMENTS), scheduler, Randomness(SEED), EventSink(), interfaces=ends)
    arrived: list[int] = []
    link.forward.deliver = lambda frame: arrived.append(int.from_bytes(frame, "big"))
    for number in range(count):
        link.forward.send(number.to_bytes(64, "big"))
    while scheduler.run_next():
        pass
    return [number not in arrived for number in range(count)]


@pytest.mark.parametrize(
    "impairments",
    [{"loss": CHANCE_ONE // 5}, {"gemodel_p": CHANCE_ONE // 20, "gemodel_r": CHANCE_ONE // 4}],
)
def test_the_same_frames_are_lost_as_in_virtual_time(tmp_path: Path, impairments: dict[str, int]) -> None:
    with lab_of("link", tmp_path) as lab:
        measurement = Measurement(lab, "h1-h2", NO_IMPAIRMENTS, lambda words: None)
        seen = measurement.send(500, 64, 200 * MICROSECOND, **impairments)
        measurement.close()
    assert len(seen.left) == 500
    assert seen.lost == lost_in_virtual_time(500, **impairments)
    assert any(seen.lost)


def test_no_frame_comes_before_its_delay_and_order_is_kept_when_it_jitters(tmp_path: Path) -> None:
    with lab_of("link", tmp_path) as lab:
        measurement = Measurement(lab, "h1-h2", NO_IMPAIRMENTS, lambda words: None)
        seen = measurement.send(500, 64, 200 * MICROSECOND, delay_ns=10 * MILLISECOND, jitter_ns=5 * MILLISECOND)
        measurement.close()
    assert len(seen.delays) == 500
    assert min(seen.delays) >= 5 * MILLISECOND
    came = [come for come in seen.came if come is not None]
    assert came == sorted(came)


def test_a_link_is_taken_over_by_the_engine_while_frames_pass(tmp_path: Path) -> None:
    """At first the kernel carries it; when it is asked for a delay, the engine does, and no frame is lost."""
    count, mark = 3000, b"\0\0\0\x07"
    with lab_of("auto", tmp_path) as lab:
        with lab.inside("h1"):
            packets = PacketSocket("eth0", ring_frames=0)
        with lab.inside("h2"):
            log = WireLog("eth0", ETHER_TYPE)
        sender = os.fork()
        if not sender:
            begin = time.monotonic_ns()
            for number in range(count):
                while time.monotonic_ns() < begin + number * 200 * MICROSECOND:
                    time.sleep(0.0001)
                stamp = time.time_ns().to_bytes(8, "big")
                packets.send(b"\x02\0\0\0\0\x02\x02\0\0\0\0\x01\x88\xb5" + mark + number.to_bytes(4, "big") + stamp)
            os._exit(0)
        time.sleep(0.2)  # in the middle of it
        lab.update_link("h1-h2", {"delay_ns": 50 * MILLISECOND})
        os.waitpid(sender, 0)
        time.sleep(0.3)  # what is under way arrives
        frames, missed = log.end()
        packets.close()
    assert not missed
    numbers = [int.from_bytes(frame[18:22], "big") for _, frame in frames]
    assert set(numbers) == set(range(count))
    assert len(numbers) < count + 20  # the kernel and the engine may both carry what comes just then
    took = [stamp - int.from_bytes(frame[22:30], "big") for stamp, frame in frames]
    assert min(took[:100]) < 50 * MILLISECOND <= min(took[-100:]) < SECOND

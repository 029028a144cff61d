"""The same on a real lab: routers in between, rules and links that go down, tshark as the judge of what was resent."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.backends.sim import SimLab
from lab.backends.until import Until
from lab.links.rules import Drop, Duplicate, Nth, RuleSpec
from lab.topology.loader import topology_from_text
from lab.trace.pcapng import write_captures
from lab.trace.show import show
from nodes.agent.payload import Payload
from nodes.base.clock import MILLISECOND, SECOND

TOPOLOGY = """
nodes: {h1: host, h2: host, r1: router}
links:
  - {endpoints: [h1, r1], delay: 1ms}
  - {endpoints: [r1, h2], delay: 5ms, rate: 20mbit}
"""


def transfer(spool: Path, size: int, prepare: Callable[[SimLab], None], cut: bool = False) -> None:
    lab = SimLab("test", topology_from_text(TOPOLOGY), 1, spool)

    def advance(until: Until) -> None:
        clock = lab.start_advance(until)
        while clock.step(10_000) is None:
            pass

    prepare(lab)
    accepted = lab.accept("h2", lab.listen("h2", 80).number)
    opened = lab.open("h1", "h2", 80)
    advance(Until(operations=(opened.name, accepted.name)))
    client, server = lab.connections("h1")[0].number, lab.connections("h2")[0].number
    sent = lab.send("h1", client, Payload(b"x", size))
    received = lab.receive("h2", server, max_bytes=size, min_bytes=size, keep=False)
    if cut:
        advance(Until(time_ns=lab.now() + 20 * MILLISECOND))
        lab.set_link_up("r1-h2", False)
        advance(Until(time_ns=lab.now() + 50 * MILLISECOND))
        lab.set_link_up("r1-h2", True)
    advance(Until(operations=(sent.name, received.name)))
    lab.close("h1", client)
    lab.close("h2", server)
    advance(Until(time_ns=lab.now() + SECOND))
    lab.close_lab()


def impair(lab: SimLab) -> None:
    data = "tcp.len > 0"
    lab.add_rule("r1-h2", RuleSpec(name="lose-5th", match=data, nth=Nth(first=5, last=5), action=Drop()))
    lab.add_rule("r1-h2", RuleSpec(name="twice", match=data, nth=Nth(first=9, last=9), action=Duplicate(1)))


def ladder(spool: Path) -> list[str]:
    out = io.StringIO()
    show(spool, out, full=True)
    return out.getvalue().splitlines()


def test_a_drop_behind_a_router_and_a_copy_are_told(tmp_path: Path) -> None:
    transfer(tmp_path / "s", 100_000, impair)
    shown = ladder(tmp_path / "s")
    assert sum("✗ dropped by rule lose-5th on r1-h2" in line for line in shown) == 1
    assert sum("duplicated by rule twice" in line for line in shown) == 1
    assert sum(" duplicate ───▶" in line for line in shown) == 1
    assert sum("resent: fast retransmit" in line for line in shown) == 1
    assert not [line for line in shown if "no arrival" in line or "forged" in line]


def test_a_link_that_goes_down_is_in_the_ladder_once(tmp_path: Path) -> None:
    transfer(tmp_path / "s", 200_000, lambda lab: None, cut=True)
    shown = ladder(tmp_path / "s")
    assert sum("link r1-h2: down" in line for line in shown) == 1
    assert sum("link r1-h2: up" in line for line in shown) == 1
    assert [line for line in shown if "dropped: link is down" in line]


@pytest.mark.requires("tshark")
def test_tshark_flags_what_the_trace_calls_resent(tmp_path: Path) -> None:
    transfer(tmp_path / "s", 300_000, lambda lab: lab.update_link("r1-h2", {"loss": 20_000_000}))
    capture = next(path for path in write_captures(tmp_path / "s", tmp_path / "pcap") if path.name == "h1-eth0.pcapng")
    flags = [f"tcp.analysis.{one}retransmission" for one in ("", "fast_", "spurious_")] + ["tcp.analysis.out_of_order"]
    command = ["tshark", "-r", str(capture), "-Y", "frame.packet_flags_direction == 2"]
    command += ["-T", "fields", "-E", "separator=|"]
    for field in ("frame.number", "frame.comment", *flags):
        command += ["-e", field]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    rows = [line.split("|") for line in lines]
    resent = [row[0] for row in rows if row[1].endswith("; resent")]
    assert len(resent) > 1
    assert [row[0] for row in rows if any(row[2:])] == resent


def test_what_is_on_a_link_at_the_end_is_not_called_lost(tmp_path: Path) -> None:
    lab = SimLab("test", topology_from_text(TOPOLOGY), 1, tmp_path / "s")
    accepted = lab.accept("h2", lab.listen("h2", 80).number)
    opened = lab.open("h1", "h2", 80)
    lab.wait(opened, accepted)
    lab.send("h1", opened.connection, Payload(b"x", 1000))
    lab.advance(Until(time_ns=lab.now() + 3 * MILLISECOND))  # of the 6 ms that it takes
    lab.close_lab()
    shown = [line for line in ladder(tmp_path / "s") if "len=1000" in line]
    assert len(shown) == 1
    assert "under way when the trace ends" in shown[0]

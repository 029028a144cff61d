"""What a lab of Mininet leaves behind: nothing, neither shells nor daemons nor interfaces, however it ends."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import Any, Final

import pytest

from lab.backends.mininet.lab import MininetLab
from lab.topology.loader import topology_from_mapping
from nodes.base.errors import TcplabError
from tests.netns.test_leftovers import on_a_machine_of_its_own, reap_orphans, three_times

pytestmark = [pytest.mark.real_time, pytest.mark.requires("root", "mn", "brctl", "ovs-vswitchd")]

#: Every kind of node, and of switch.
MIXED: Final[dict[str, Any]] = {
    "nodes": {
        "h1": "host",
        "h2": "linux",
        "r1": "router",
        "s1": {"kind": "switch", "switch": "linux-bridge"},
        "s2": {"kind": "switch", "switch": "open-vswitch"},
    },
    "links": ["h1-s1", "s1-r1", "r1-s2", "s2-h2"],
}


def make(number: int, **more: Any) -> MininetLab:
    return MininetLab("mixed", topology_from_mapping(MIXED), 1, Path(f"spool{number}"), level=1, capture=False, **more)


def run_a_lab(number: int) -> None:
    lab = make(number)
    lab.wait(lab.ping("h1", "h2"))
    lab.close_lab()
    lab.sink.path.unlink()


def test_three_labs_in_a_row_leave_nothing() -> None:
    assert on_a_machine_of_its_own(lambda: three_times(run_a_lab)) == [{}, {}, {}]


def fail_half_way(number: int) -> None:
    """The last node has a setting that this kernel does not know; shells and switches are there by then."""
    nodes = {**MIXED["nodes"], "h3": {"kind": "linux", "parameters": {"net.ipv4.no_such": 1}}}
    topology = topology_from_mapping({"nodes": nodes, "links": [*MIXED["links"], "h3-s1"]})
    with contextlib.suppress(TcplabError):
        MininetLab("mixed", topology, 1, Path("spool"), 1, False)
        raise AssertionError("it came up")


def test_a_lab_that_does_not_come_up_leaves_nothing() -> None:
    assert on_a_machine_of_its_own(lambda: three_times(fail_half_way)) == [{}, {}, {}]


def be_killed(number: int) -> None:
    """The lab's process: while Mininet's nodes are being made, while ours are, and when all are there."""
    when = (("nodes of Mininet", 5), ("processes", 1), ("processes", 4))[number % 3]
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.close(read)

        def tell(what: str, done: int, of: int) -> None:
            if (what, done) == when:
                os.write(write, b"now")
                signal.pause()

        make(number, progress=tell)
        os._exit(1)
    os.close(write)
    assert os.read(read, 3) == b"now"
    os.close(read)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    reap_orphans()
    Path(f"spool{number}").unlink(missing_ok=True)  # made when Mininet is there


def test_a_killed_lab_process_leaves_its_trace_only() -> None:
    assert on_a_machine_of_its_own(lambda: three_times(be_killed)) == [{}, {}, {}]

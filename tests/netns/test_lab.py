"""A lab in network namespaces: its links, what happens when a process of it is killed, what is left behind."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import spec
from lab.attacks.on_path_rst import OnPathRst
from lab.backends.catalogue import make_lab
from lab.backends.real.lab import RealLab
from lab.backends.until import EventFilter, Until
from lab.links.rules import RuleSpec
from lab.topology.loader import topology_from_text
from lab.trace.spool_reader import SpoolReader
from nodes.agent.payload import Payload
from nodes.base.clock import MILLISECOND, SECOND
from nodes.base.errors import FailedPrecondition, SocketError, TcplabError
from nodes.base.events import LEVEL_ALL, LEVEL_STATES, STATE

pytestmark = pytest.mark.requires("root")

PAIR = "nodes: {h1: host, h2: host}\nlinks: [h1-h2]\n"


class Labs:
    """Makes labs that are closed at the end of the test."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.made: list[RealLab] = []

    def make(self, text: str = PAIR, level: int = LEVEL_ALL, capture: bool = True) -> RealLab:
        name = f"lab-{len(self.made)}"
        lab = make_lab("netns", name, topology_from_text(text), 1, self.directory / name, level, capture)
        assert isinstance(lab, RealLab)
        self.made.append(lab)
        return lab


@pytest.fixture
def labs(tmp_path: Path) -> Iterator[Labs]:
    labs = Labs(tmp_path)
    yield labs
    for lab in labs.made:
        lab.close_lab()


def connected(lab: RealLab) -> tuple[int, int]:
    """A connection from h1 to h2: its numbers there."""
    listener = lab.listen("h2", 80)
    accept = lab.accept("h2", listener.number)
    client = lab.open("h1", "h2", 80)
    lab.wait(client, accept)
    return client.connection, accept.connection


def transfer(lab: RealLab, client: int, server: int, length: int) -> None:
    """Bytes from h1 to h2, and that they are the same."""
    payload = Payload(b"tcplab", length)
    received = lab.receive("h2", server, max_bytes=length, min_bytes=length, keep=False)
    sent = lab.send("h1", client, payload)
    lab.wait(sent, received)
    assert received.result.sha256 == payload.sha256()


def rtt(lab: RealLab) -> int:
    ping = lab.ping("h1", "h2")
    lab.wait(ping)
    assert ping.result[0].error == ""
    return int(ping.result[0].rtt_ns)


def descends_from_here(pid: int) -> bool:
    """Whether a process is, or was forked from, this one."""
    while pid > 1:
        if pid == os.getpid():
            return True
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except FileNotFoundError:
            return False
    return False


def children() -> set[int]:
    return {
        int(one.name) for one in Path("/proc").iterdir() if one.name.isdecimal() and descends_from_here(int(one.name))
    }


def descriptors() -> int:
    """How many files this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def test_impairments_change_while_it_runs(labs: Labs) -> None:
    lab = labs.make()
    rtt(lab)  # ARP
    lab.update_link("h1-h2", {"delay_ns": 60 * MILLISECOND})
    assert rtt(lab) >= 120 * MILLISECOND
    lab.update_link("h1-h2", {"delay_ns": 0}, "h1->h2")
    assert 60 * MILLISECOND <= rtt(lab) < 120 * MILLISECOND
    lab.set_link_up("h1-h2", False)
    ping = lab.ping("h1", "h2", timeout_ns=200 * MILLISECOND)
    lab.wait(ping)
    assert ping.result[0].error == "no answer"
    assert lab.link_statistics("h1-h2")["h1->h2"]["dropped_down"] == 1


def test_an_instant_just_past_is_now(labs: Labs) -> None:
    lab = labs.make()
    asked = lab.now()
    assert lab.advance(Until(time_ns=asked)).time_ns >= asked


def test_a_rule_names_one_packet(labs: Labs) -> None:
    lab = labs.make()
    lab.add_rule(
        "h1-h2", spec.from_mapping(RuleSpec, {"match": "tcp.flags.syn && tcp.flags.ack", "nth": 1, "drop": None})
    )
    connected(lab)
    (rule,) = lab.rules("h1-h2")
    assert rule.matches >= 2
    assert rule.acted == 1
    assert lab.counters("h2")["TcpRetransSegs"] >= 1


def test_the_engine_takes_a_link_over_in_the_middle_of_a_transfer(labs: Labs) -> None:
    lab = labs.make(level=LEVEL_STATES, capture=False)
    client, server = connected(lab)
    length = 20_000_000
    received = lab.receive("h2", server, max_bytes=length, min_bytes=length, keep=False)
    sent = lab.send("h1", client, Payload(b"tcplab", length))
    while lab.status("h2", server).bytes_received < length // 10:
        lab.advance(Until(time_ns=lab.now() + MILLISECOND))
    assert lab.link_statistics("h1-h2")["h1->h2"]["packets_in"] == 0  # the kernel carries it
    lab.update_link("h1-h2", {"delay_ns": MILLISECOND})
    taken_at = lab.status("h2", server).bytes_received
    lab.wait(sent, received)
    assert taken_at < length
    assert received.result.sha256 == Payload(b"tcplab", length).sha256()
    assert lab.link_statistics("h1-h2")["h1->h2"]["bytes_in"] > length - taken_at - 5_000_000


def test_a_direct_link_is_left_to_the_kernel(labs: Labs) -> None:
    lab = labs.make("nodes: {h1: host, h2: host}\nlinks: [{endpoints: h1-h2, engine: direct}]\n")
    client, server = connected(lab)
    transfer(lab, client, server, 100_000)
    with pytest.raises(FailedPrecondition, match="carried by the kernel"):
        lab.update_link("h1-h2", {"loss": 1000})
    assert lab.links["h1-h2"].forward.impairments.loss == 0


def test_an_attack_waits_for_a_state_of_another_process(labs: Labs) -> None:
    lab = labs.make()
    attack = {"link": "h1-h2", "to": "both", "when": {"state": {"node": "h2", "state": "CLOSE-WAIT"}}}
    lab.create_attack(spec.from_mapping(OnPathRst, attack))
    client, server = connected(lab)
    transfer(lab, client, server, 1000)
    lab.shutdown("h1", client)
    reset = EventFilter("reset", "h2", server, "", {"accepted": True})
    lab.advance(Until(event=reset, time_ns=lab.now() + 20 * SECOND))
    assert lab.attacks["attack-1"].state == "DONE"
    failed = lab.receive("h2", server)
    with pytest.raises((SocketError, TcplabError)):
        lab.wait(failed)
        lab.wait(lab.receive("h2", server))
        lab.wait(lab.send("h2", server, Payload(b"x", 1)))


def test_a_killed_node_is_told_with_its_reason_and_the_lab_goes_on(labs: Labs, tmp_path: Path) -> None:
    lab = labs.make("nodes: {h1: host, h2: host, h3: host, s1: switch}\nlinks: [h1-s1, h2-s1, h3-s1]\n")
    client, server = connected(lab)
    waiting = lab.receive("h2", server)
    os.kill(lab.processes["h2"], signal.SIGKILL)
    with pytest.raises(FailedPrecondition, match="node h2 has FAILED: its process was killed by SIGKILL"):
        lab.wait(waiting)
    assert "SIGKILL" in lab.node_failure("h2")
    assert (lab.node_failure("h1"), lab.failure) == ("", "")
    ping = lab.ping("h1", "h3")
    lab.wait(ping)
    assert ping.result[0].error == ""
    assert lab.status("h1", client).state_name == "ESTABLISHED"
    lab.close_lab()
    assert "SIGKILL" in lab.facts()["failures"]["h2"]
    states = [event["new"] for event in SpoolReader(tmp_path / "lab-0", kinds=(STATE,)) if event.node == "h2"]
    assert "ESTABLISHED" in states


def test_without_its_link_engine_a_lab_has_failed(labs: Labs) -> None:
    lab = labs.make()
    client, _ = connected(lab)
    os.kill(lab.processes["engine"], signal.SIGKILL)
    with pytest.raises(FailedPrecondition, match="link engine has FAILED: its process was killed by SIGKILL"):
        while True:
            lab.link_statistics("h1-h2")
            lab.update_link("h1-h2", {"loss": 1})
    assert "SIGKILL" in lab.failure
    assert lab.status("h1", client).state_name == "ESTABLISHED"


def test_a_lab_that_cannot_be_made_leaves_nothing(labs: Labs, tmp_path: Path) -> None:
    before = children(), descriptors()
    with pytest.raises(TcplabError, match="no_such_knob"):
        labs.make("nodes: {h1: host, h2: {kind: linux, parameters: {net.ipv4.no_such_knob: 1}}}\nlinks: [h1-h2]\n")
    assert (children(), descriptors()) == before
    assert list(tmp_path.iterdir()) == []


def test_a_closed_lab_leaves_nothing_and_can_be_read(labs: Labs) -> None:
    before = children(), descriptors()
    lab = labs.make()
    client, server = connected(lab)
    transfer(lab, client, server, 5000)
    assert len(children()) == len(before[0]) + 3
    lab.close_lab()
    assert (children(), descriptors()) == before
    assert lab.status("h2", server).bytes_received == 5000
    assert lab.counters("h2")["TcpPassiveOpens"] == 1
    assert lab.link_statistics("h1-h2")["h1->h2"]["packets_in"] > 0
    assert "fidelity" in lab.facts()
    with pytest.raises(FailedPrecondition):
        lab.ping("h1", "h2")

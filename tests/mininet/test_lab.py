"""A lab of Mininet: what carries its frames, what Mininet knows of it, what happens when a part is missing."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab import spec
from lab.backends.mininet.fabric import MininetFabric
from lab.backends.mininet.lab import MininetLab
from lab.links.rules import RuleSpec
from lab.topology.file import LINUX_BRIDGE, OPEN_VSWITCH
from lab.topology.loader import topology_from_text
from nodes.agent.payload import Payload
from nodes.base.clock import MILLISECOND
from nodes.base.errors import InvalidArgument, Unsupported
from nodes.base.events import LEVEL_ALL

pytestmark = [pytest.mark.real_time, pytest.mark.requires("root", "mn", "brctl", "ovs-vswitchd")]

SWITCHES = (LINUX_BRIDGE, OPEN_VSWITCH)
#: Two switches in a row, of a kind to be named.
ROW = """
defaults: {{switch: {}}}
nodes: {{h1: host, h2: linux, h3: host, s1: switch, s2: switch}}
links: [h1-s1, {{endpoints: s1-s2, delay: 10ms}}, h2-s2, h3-s2]
"""


@pytest.fixture
def labs(tmp_path: Path) -> Iterator[Labs]:
    labs = Labs(tmp_path)
    yield labs
    for lab in labs.made:
        lab.close_lab()


class Labs:
    """Makes labs that are closed at the end of the test."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.made: list[MininetLab] = []

    def make(self, text: str) -> MininetLab:
        name = f"lab-{len(self.made)}"
        lab = MininetLab(name, topology_from_text(text), 1, self.directory / name, LEVEL_ALL, True)
        self.made.append(lab)
        return lab


def rtt(lab: MininetLab, one: str, other: str) -> int:
    ping = lab.ping(one, other)
    lab.wait(ping)
    assert ping.result[0].error == ""
    return int(ping.result[0].rtt_ns)


def network(lab: MininetLab) -> Any:
    """Its Mininet object."""
    plumbing = lab._plumbing
    assert isinstance(plumbing, MininetFabric)
    return plumbing.net


@pytest.mark.parametrize("kind", SWITCHES)
def test_frames_pass_mininets_switches_and_our_links(labs: Labs, kind: str) -> None:
    lab = labs.make(ROW.format(kind))
    classes = {LINUX_BRIDGE: "LabBridge", OPEN_VSWITCH: "LabOpenVSwitch"}
    assert {type(one).__name__ for one in network(lab).switches} == {classes[kind]}
    for other in ("h2", "h3"):
        rtt(lab, "h1", other)  # ARP, and the switches learn
        assert rtt(lab, "h1", other) >= 20 * MILLISECOND
    lab.update_link("s1-s2", {"delay_ns": 300 * MILLISECOND})
    assert rtt(lab, "h2", "h3") < 600 * MILLISECOND <= rtt(lab, "h1", "h3")
    lab.update_link("s1-s2", {"delay_ns": 10 * MILLISECOND})
    listener = lab.listen("h2", 80)
    accept = lab.accept("h2", listener.number)
    client = lab.open("h1", "h2", 80)
    lab.wait(client, accept)
    payload = Payload(b"tcplab", 1_000_000)
    received = lab.receive("h2", accept.connection, max_bytes=1_000_000, min_bytes=1_000_000, keep=False)
    lab.wait(lab.send("h1", client.connection, payload), received)
    assert received.result.sha256 == payload.sha256()


@pytest.mark.parametrize("kind", SWITCHES)
def test_a_switch_learns_where_hosts_are(labs: Labs, kind: str) -> None:
    """What is for h3 and known to be there does not come to h2."""
    lab = labs.make(ROW.format(kind))
    rtt(lab, "h1", "h3")
    before = lab.link_statistics("h2-s2")["s2->h2"]["packets_delivered"]
    for _ in range(5):
        rtt(lab, "h1", "h3")
    assert lab.link_statistics("h2-s2")["s2->h2"]["packets_delivered"] == before


def test_both_kinds_in_one_lab(labs: Labs) -> None:
    lab = labs.make(
        "nodes: {h1: host, h2: host, s1: {kind: switch, switch: open-vswitch}, s2: switch}\n"
        "links: [h1-s1, s1-s2, h2-s2]"
    )
    assert [type(one).__name__ for one in network(lab).switches] == ["LabOpenVSwitch", "LabBridge"]
    rtt(lab, "h1", "h2")


@pytest.mark.parametrize("kind", SWITCHES)
def test_switches_in_a_loop_agree_on_a_tree(labs: Labs, kind: str) -> None:
    """Each broadcast comes once, and the lab is there when frames pass."""
    lab = labs.make(
        f"defaults: {{switch: {kind}, stp: true}}\n"
        "nodes: {h1: host, h2: host, h3: host, s1: switch, s2: switch, s3: switch}\n"
        "links: [h1-s1, h2-s2, h3-s3, s1-s2, s2-s3, s3-s1]"
    )
    for one, other in (("h1", "h2"), ("h2", "h3"), ("h3", "h1")):
        rtt(lab, one, other)
    counted = lab.link_statistics("h3-s3")["s3->h3"]["packets_delivered"]
    assert counted < 50  # a storm would have thousands
    assert lab.counters("h3")["IcmpInEchos"] == 1


def test_links_change_while_it_runs(labs: Labs) -> None:
    lab = labs.make(ROW.format("auto"))
    rtt(lab, "h1", "h3")
    lab.update_link("h1-s1", {"delay_ns": 30 * MILLISECOND}, "h1->s1")
    assert rtt(lab, "h1", "h3") >= 50 * MILLISECOND
    rule = spec.from_mapping(RuleSpec, {"match": "icmp", "nth": 1, "drop": None})
    lab.add_rule("s1-s2", rule)
    ping = lab.ping("h1", "h3", count=2, interval_ns=200 * MILLISECOND, timeout_ns=200 * MILLISECOND)
    lab.wait(ping)
    assert [one.error for one in ping.result] == ["no answer", ""]
    lab.set_link_up("h1-s1", False)
    ping = lab.ping("h1", "h3", timeout_ns=200 * MILLISECOND)
    lab.wait(ping)
    assert ping.result[0].error == "no answer"


def test_mininet_knows_its_hosts_and_links(labs: Labs) -> None:
    lab = labs.make(ROW.format("auto"))
    net = network(lab)
    assert [host.IP() for host in net.hosts] == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    assert [str(link) for link in net.links] == [
        "h1-eth0<->s1-eth0",
        "s1-eth1<->s2-eth0",
        "h2-eth0<->s2-eth1",
        "h3-eth0<->s2-eth2",
    ]
    said = net["h2"].cmd("ip address show dev h2-eth0")
    assert "10.0.0.2" in said
    assert net["h2"].MAC() in said
    assert "10.0.0.1" not in net["h1"].cmd("ifconfig -a")  # the kernel has no address of ours


def test_the_machine_is_as_before(labs: Labs, tmp_path: Path) -> None:
    """Neither its interfaces nor its sysctls nor where this process is change while a lab with bridges is there."""

    def facts() -> list[object]:
        places = [Path(f"/proc/thread-self/ns/{kind}").readlink() for kind in ("net", "mnt")]
        settings = ["fs/file-max", "kernel/pty/max", "net/core/rmem_max", "net/ipv4/tcp_rmem", "net/ipv4/ip_forward"]
        known = [Path("/proc/sys", one).read_text() for one in settings if Path("/proc/sys", one).exists()]
        return [sorted(os.listdir("/sys/class/net")), known, places, Path.cwd()]  # noqa: PTH208

    before = facts()
    lab = labs.make(ROW.format("auto"))
    rtt(lab, "h1", "h3")
    assert facts() == before
    lab.close_lab()
    assert facts() == before


def test_a_process_may_have_threads_by_the_time_its_lab_ends(labs: Labs) -> None:
    """As one that serves the API has."""
    lab = labs.make(ROW.format("auto"))
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    try:
        lab.close_lab()
    finally:
        end.set()
        thread.join()


def test_several_labs_have_switches_of_the_same_names(labs: Labs) -> None:
    one, other = labs.make(ROW.format("auto")), labs.make(ROW.format(OPEN_VSWITCH))
    one.update_link("h1-s1", {"delay_ns": 100 * MILLISECOND})
    rtt(one, "h1", "h3")
    rtt(other, "h1", "h3")
    assert rtt(other, "h1", "h3") < 200 * MILLISECOND <= rtt(one, "h1", "h3")
    one.close_lab()
    rtt(other, "h1", "h2")


def test_a_name_that_is_too_long_for_linux_is_refused(labs: Labs) -> None:
    with pytest.raises(InvalidArgument, match=r"switch-number-one.*10 characters"):
        labs.make("nodes: {h1: host, switch-number-one: switch}\nlinks: [[h1, switch-number-one]]")
    lab = labs.make(
        "nodes: {a-host-with-a-very-long-name: host, h2: host}\nlinks: [[a-host-with-a-very-long-name, h2]]"
    )
    rtt(lab, "a-host-with-a-very-long-name", "h2")


@contextlib.contextmanager
def without(monkeypatch: pytest.MonkeyPatch, *programs: str) -> Iterator[None]:
    """A machine that lacks them."""
    with monkeypatch.context() as patch:
        found = shutil.which
        patch.setattr(shutil, "which", lambda name, *more, **named: None if name in programs else found(name))
        yield


def test_what_is_missing_is_said(labs: Labs, monkeypatch: pytest.MonkeyPatch) -> None:
    text = ROW.format("auto")
    with without(monkeypatch, "mnexec"), pytest.raises(Unsupported, match=r"mnexec.*apt-get install mininet"):
        labs.make(text)
    with without(monkeypatch, "brctl", "ovs-vswitchd"), pytest.raises(Unsupported, match=r"bridge-utils.*openvswitch"):
        labs.make(text)
    with without(monkeypatch, "ovs-vsctl"), pytest.raises(Unsupported, match="apt-get install openvswitch-switch"):
        labs.make(ROW.format(OPEN_VSWITCH))
    with without(monkeypatch, "brctl"):
        lab = labs.make(text)  # the other kind works
        rtt(lab, "h1", "h3")


def test_debians_mininet_serves_any_python() -> None:
    """Of Debian's directory of packages nothing else can be imported."""
    code = """
import sys
sys.path = [one for one in sys.path if "dist-packages" not in one]
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == "mininet" else found(name, *more)
from lab.backends.mininet import library
print(library.Mininet.__module__, sys.modules["mininet"].__file__, any("dist-packages" in one for one in sys.path))
"""
    done = subprocess.run([shutil.which("python3") or "python3", "-c", code], capture_output=True, text=True)
    if done.returncode:  # that Python has not what tcplab needs; ours has
        import sys

        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["mininet.net", "/usr/lib/python3/dist-packages/mininet/__init__.py", "False"], (
        done.stderr
    )

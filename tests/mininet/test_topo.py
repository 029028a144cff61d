"""Mininet's topologies as descriptions of ours: names, ports, addresses and options that Mininet would give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lab.backends.catalogue import make_lab
from lab.backends.mininet.link_options import impairments
from lab.backends.mininet.read_topo import read_topo
from lab.topology.loader import topology_from_mapping
from lab.topology.model import HOST, ROUTER, SWITCH, Topology
from nodes.base.clock import MILLISECOND
from nodes.base.errors import InvalidArgument, NotFound, Unsupported
from nodes.base.random import CHANCE_ONE
from nodes.packet.address import address_text

pytestmark = pytest.mark.requires("mn")

CUSTOM = """
from mininet.node import Node
from mininet.nodelib import LinuxBridge
from mininet.topo import Topo
from helper import HOSTS

print("this is for people")

class LinuxRouter(Node):
    pass

class Routed(Topo):
    def build(self, bw=10, **_):
        s1, s2 = self.addSwitch("s1", cls=LinuxBridge), self.addSwitch("s2")
        r0 = self.addNode("r0", cls=LinuxRouter, ip="192.168.1.1/24")
        self.addLink(s1, r0, intfName2="r0-eth1", params2={"ip": "192.168.1.1/24"})
        self.addLink(s2, r0, params2={"ip": "172.16.0.1/12"}, bw=bw, delay="5ms", loss=1, max_queue_size=50,
                     use_htb=True, enable_red=True)
        for number in range(1, HOSTS + 1):
            host = self.addHost(f"h{number}", ip=f"192.168.1.10{number}/24", defaultRoute="via 192.168.1.1", cpu=0.5)
            self.addLink(host, s1)
        self.addLink(self.addHost("g1", ip="172.16.0.9/12", mac="00:00:00:00:00:99", defaultRoute="via 172.16.0.1"), s2,
                     params1={"delay": "1ms"}, params2={"delay": "2ms"})

topos = {"routed": lambda bw=10: Routed(bw=bw), "broken": lambda: 1 / 0}
"""


@pytest.fixture
def custom(tmp_path: Path) -> str:
    (tmp_path / "helper.py").write_text("HOSTS = 2\n")
    path = tmp_path / "my topologies.py"
    path.write_text(CUSTOM)
    return str(path)


def read(topo: str, custom: str = "") -> Topology:
    return topology_from_mapping(read_topo(topo, custom)[0])


def kinds(topology: Topology) -> dict[str, str]:
    return {name: node.kind for name, node in topology.nodes.items()}


def addresses(topology: Topology, node: str) -> list[str]:
    return [f"{address_text(one.address)}/{one.prefix_len}" for one in topology.nodes[node].interfaces]


@pytest.mark.parametrize(
    ("topo", "hosts", "switches", "links"),
    [
        ("minimal", 2, 1, 2),
        ("single,4", 4, 1, 4),
        ("reversed,3", 3, 1, 3),
        ("linear,3", 3, 3, 5),
        ("linear,3,2", 6, 3, 8),
        ("linear,k=2,n=2", 4, 2, 5),
        ("tree,2,3", 9, 4, 12),
    ],
)
def test_what_mn_has_built_in(topo: str, hosts: int, switches: int, links: int) -> None:
    topology = read(topo)
    found = list(kinds(topology).values())
    assert (found.count(HOST), found.count(SWITCH), len(topology.links)) == (hosts, switches, links)


def test_hosts_have_mininets_addresses_and_ports() -> None:
    """As `mn --topo reversed,3` prints them with `net` and `dump`."""
    topology = read("reversed,3")
    assert [addresses(topology, host) for host in ("h1", "h2", "h3")] == [
        ["10.0.0.1/8"],
        ["10.0.0.2/8"],
        ["10.0.0.3/8"],
    ]
    assert {str(link.a): str(link.b) for link in topology.links.values()} == {
        "h1:eth0": "s1:eth3",
        "h2:eth0": "s1:eth2",
        "h3:eth0": "s1:eth1",
    }


def test_a_custom_file(custom: str) -> None:
    topology = read("routed,bw=2.5", custom)
    assert kinds(topology) == {"g1": HOST, "h1": HOST, "h2": HOST, "r0": ROUTER, "s1": SWITCH, "s2": SWITCH}
    assert sorted(addresses(topology, "r0")) == ["172.16.0.1/12", "192.168.1.1/24"]
    assert addresses(topology, "h2") == ["192.168.1.102/24"]
    assert topology.nodes["g1"].interfaces[0].mac.hex(":") == "00:00:00:00:00:99"
    assert topology.nodes["s1"].switch == "linux-bridge"
    link = topology.links["s2-r0"]
    for both in (link.forward, link.backward):
        assert (both.rate_bps, both.delay_ns, both.limit_packets) == (2_500_000, 5 * MILLISECOND, 50)
        assert both.loss == CHANCE_ONE // 100
    link = topology.links["g1-s2"]
    assert (link.forward.delay_ns, link.backward.delay_ns) == (1 * MILLISECOND, 2 * MILLISECOND)


def test_what_has_no_counterpart_is_said(custom: str) -> None:
    report = "\n".join(read_topo("routed", custom)[1])
    assert "h1: cpu" in report
    assert "enable_red" in report
    assert "use_htb" not in report  # how, not what


def test_switches_in_a_loop_get_a_spanning_tree(tmp_path: Path) -> None:
    """And whoever has none says so."""
    description, report = read_topo("torus,3,3")
    assert any("loop" in line for line in report)
    topology = topology_from_mapping(description)
    assert all(node.stp for node in topology.nodes.values() if node.kind == SWITCH)
    assert len(topology.links) == 9 + 18
    with pytest.raises(Unsupported, match="backend mininet"):
        make_lab("sim", "torus", topology, 1, tmp_path / "spool", 1, False)
    for node in description["nodes"].values():
        node.pop("stp", None)
    with pytest.raises(InvalidArgument, match=r"loop.*stp: true"):
        topology_from_mapping(description)


def test_a_class_goes_by_its_name(custom: str) -> None:
    assert read("Routed,4", custom).links["s2-r0"].forward.rate_bps == 4_000_000


def test_what_a_program_prints_is_not_our_output(custom: str, capfd: pytest.CaptureFixture[str]) -> None:
    read_topo("routed", custom)
    said = capfd.readouterr()
    assert said.out == ""
    assert "this is for people" in said.err


@pytest.mark.parametrize(
    ("topo", "error", "words"),
    [
        ("nothing", NotFound, "nothing.*tree.*routed"),
        ("broken", InvalidArgument, "ZeroDivisionError"),
        ("tree,2,many", InvalidArgument, "tree,2,many|my topologies"),
    ],
)
def test_errors_say_what_is_wrong(custom: str, topo: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        read_topo(topo, custom)


def test_a_program_that_exits_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "exits.py"
    path.write_text("raise SystemExit(3)")
    with pytest.raises(InvalidArgument, match="exit code 3"):
        read_topo("tree", str(path))
    with pytest.raises(NotFound, match="no file"):
        read_topo("tree", str(tmp_path / "not-there.py"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"bw": 0.5, "delay": 5}, {"rate": "0.5mbit", "delay": "5us"}),
        ({"delay": "10ms", "jitter": "1ms", "loss": 2.5}, {"delay": "10ms", "jitter": "1ms", "loss": "2.5%"}),
        ({"max_queue_size": 10, "duplicate": "1%", "bw": None}, {"limit": 10, "duplicate": "1%"}),
    ],
)
def test_options_of_links(options: dict[str, Any], words: dict[str, Any]) -> None:
    assert impairments(options) == (words, [])


@pytest.mark.parametrize("options", [{"bw": "fast"}, {"bw": -1}, {"loss": "much"}, {"max_queue_size": float("nan")}])
def test_options_that_are_none(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match=f"^{next(iter(options))}: "):
        impairments(options)

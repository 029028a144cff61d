"""`tcplab import`: topologies of containerlab."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lab.topology.importers.containerlab import import_containerlab
from lab.topology.loader import load_topology, topology_from_mapping
from nodes.base.errors import InvalidArgument
from nodes.packet.address import address_text

SITE = """
name: site
mgmt: {network: office, ipv4-subnet: 172.20.20.0/24}
topology:
  defaults: {env: {ALL: 1}}
  kinds:
    linux: {image: "alpine:3", env: {KIND: "yes"}, binds: ["motd:/etc/motd:ro"]}
  groups:
    servers: {kind: linux, memory: 512Mb, env: {KIND: group}}
  nodes:
    web:
      group: servers
      cmd: sh -c "nginx && sleep 9"
      cpu: 1.5
      ports: ["8080:80"]
      labels: {a: b}
      mgmt-ipv4: 172.20.20.9
      exec: ["ip addr add 192.168.1.10/24 dev eth1", "ip link set eth1 up", "ip route add default via 192.168.1.1",
             "sysctl -w net.ipv4.tcp_sack=0", "touch /tmp/x", "tc qdisc add dev eth1 root netem delay 20ms 5ms loss 1%"]
    user: {kind: linux, image: debian, sysctls: {net.ipv4.ip_forward: "1", kernel.shmmax: 5}}
    core: {kind: nokia_srlinux, type: ixr-d2l, startup-config: core.cfg}
    lan: {kind: bridge}
    ovs: {kind: ovs-bridge}
    box: {kind: host}
  links:
    - endpoints: ["web:eth1", "core:ethernet-1/1"]
    - endpoints: ["user:eth1", "lan:u1"]
      mtu: 9000
    - type: veth
      endpoints:
        - {node: core, interface: e1-2, mac: "02-00-00-AA-00-01", ipv4: 10.7.0.1/24}
        - {node: lan, interface: c1}
    - endpoints: ["ovs:p1", "core:1/1/c3/1"]
    - endpoints: ["user:eth2", "host:veth7"]
    - {type: vxlan, endpoint: {node: user, interface: eth3}, remote: 10.1.1.1, vni: 5, dst-port: 4789}
"""


def write(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return write(tmp_path / "site.clab.yml", SITE)


def test_nodes_have_what_they_inherit(site: Path, tmp_path: Path) -> None:
    made, _ = import_containerlab(site)
    nodes = made["nodes"]
    assert list(nodes) == ["web", "user", "core", "lan", "ovs"]
    assert nodes["web"]["container"] == {
        "image": "alpine:3",
        "command": ["sh", "-c", "nginx && sleep 9"],
        "environment": {"ALL": "1", "KIND": "group"},
        "volumes": [f"{tmp_path}/motd:/etc/motd:ro"],
        "memory": "512mb",
        "cpus": "1.5",
    }
    assert nodes["web"]["parameters"] == {"net.ipv4.tcp_sack": 0}
    assert nodes["user"]["container"]["image"] == "debian"
    assert nodes["user"]["parameters"] == {"net.ipv4.ip_forward": 1}
    assert (nodes["core"]["kind"], nodes["lan"], nodes["ovs"]["switch"]) == ("router", "switch", "open-vswitch")


def test_what_comes_out_is_built_with_the_addresses_of_the_file(site: Path) -> None:
    made, _ = import_containerlab(site)
    topology = topology_from_mapping(made)
    assert topology.name == "site"
    web, core = topology.nodes["web"], topology.nodes["core"]
    assert [(one.name, address_text(one.address)) for one in web.interfaces] == [("eth1", "192.168.1.10")]
    assert [one.name for one in core.interfaces] == ["e1-1", "e1-2", "e1-1-c3-1"]
    assert core.interfaces[0].address[:3] == web.interfaces[0].address[:3]
    assert address_text(core.interfaces[1].address) == "10.7.0.1"
    assert core.interfaces[1].mac == bytes.fromhex("020000aa0001")
    wires = list(topology.links.values())
    assert [wire.mtu for wire in wires] == [1500, 9000, 1500, 1500]
    there, back = wires[0].forward, wires[0].backward
    assert (there.delay_ns, there.jitter_ns, there.loss > 0) == (20_000_000, 5_000_000, True)
    assert back.none


def test_the_report_says_what_has_no_counterpart_and_why(site: Path) -> None:
    _, report = import_containerlab(site)
    said = {(one["what"], tuple(one["about"])): one["why"] for one in report.data()}
    assert "management" in said["mgmt", ()]
    assert "router" in said["kind nokia_srlinux", ("core",)]
    assert "not touched" in said["kind bridge", ("lan",)]
    assert "never touched" in said["kind host, left out", ("box",)]
    assert "tcplab exec" in said["ports", ("web",)]
    assert "tcplab exec" in said["exec `touch /tmp/x`", ("web",)]
    assert "fewest hops" in said["exec of routes", ("web",)]
    assert said["startup-config", ("core",)] == "not read"
    assert "network's" in said["sysctl kernel.shmmax", ("user",)]
    assert "machine" in said["link left out", ("user:eth2-host:veth7",)]
    assert "another machine" in said["link left out", ("user:eth3",)]
    assert ("is called e1-1-c3-1", ("core:1/1/c3/1",)) in said
    assert "9500" in said["links without mtu", ()]
    # Nothing is said of what is there as it was.
    assert not [what for what, _ in said if what in ("image", "cmd", "binds", "memory", "cpu") and "web" in _]


def test_with_our_tcp_it_runs_on_every_backend(site: Path) -> None:
    made, report = import_containerlab(site, ours=True)
    kinds = {name: node.kind for name, node in topology_from_mapping(made).nodes.items()}
    assert kinds == {"web": "host", "user": "router", "core": "router", "lan": "switch", "ovs": "switch"}
    assert any("as asked" in line for line in report.lines())


def test_names_that_are_none_here(tmp_path: Path) -> None:
    links = "[{endpoints: ['1a:e0', '2-b:1']}]"
    text = f"name: 5g\ntopology: {{nodes: {{1a: {{kind: linux}}, 2-b: {{kind: linux}}}}, links: {links}}}"
    made, report = import_containerlab(write(tmp_path / "x.clab.yml", text))
    assert list(made["nodes"]) == ["n1a", "n2-b"]
    assert made["links"][0]["endpoints"] == ["n1a:e0", "n2-b:e1"]
    assert {"1a", "2-b"} <= {about for one in report.data() for about in one["about"]}


def test_anchors_variables_and_shared_networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = """
x: &base {kind: linux, image: "debian:${TAG:=12}"}
topology:
  nodes:
    a: {<<: *base}
    side: {kind: linux, network-mode: "container:a"}
    b: {<<: *base, image: "${IMAGE:-none}"}
  links: [{endpoints: ["side:eth5", "b:eth1"]}]
"""
    monkeypatch.setenv("IMAGE", "busybox")
    made, report = import_containerlab(write(tmp_path / "x.clab.yml", text))
    images = {name: node["container"]["image"] for name, node in made["nodes"].items()}
    assert images == {"a": "debian:12", "b": "busybox"}
    assert made["links"][0]["endpoints"] == ["a:eth5", "b:eth1"]
    assert any(line.startswith("side: left out: ") for line in report.lines())


def test_addresses_that_contradict_each_other_are_tcplabs(tmp_path: Path) -> None:
    text = """
topology:
  nodes: {a: {kind: linux}, b: {kind: linux}, c: {kind: linux}}
  links:
    - {endpoints: ["a:eth1", "b:eth1"], ipv4: [10.1.0.1/24, 10.1.0.2/24]}
    - {endpoints: ["a:eth2", "c:eth1"], ipv4: [10.1.0.3/24, 10.1.0.4/24], ipv6: ["2001:db8::1/64"]}
"""
    made, report = import_containerlab(write(tmp_path / "x.clab.yml", text))
    assert "interfaces" not in json.dumps(made)
    assert any(line.startswith("every address: ") and "10.1.0.0/24" in line for line in report.lines())
    assert any("no IPv6" in line for line in report.lines())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nodes: {h1: host}", "no `topology:`"),
        ("topology: {links: []}", "topology.nodes: there are none"),
        ("topology: {nodes: {a: {image: x}}}", "topology.nodes.a: has no kind"),
        ("topology: {nodes: {a: 5}}", "topology.nodes.a: is a mapping"),
        ("topology: {nodes: {a: {kind: linux}}, links: [{endpoints: ['a:e1', 'z:e1']}]}", "there is no node z"),
        ("topology: {nodes: {a: {kind: linux}}, links: [{endpoints: ['a:e1']}]}", "links[0]: has 1 ends"),
        ("topology: {nodes: {a: {kind: linux}}, links: [{endpoints: [a, a]}]}", "'a' is not node:interface"),
        ("topology: {nodes: {a: {kind: linux}}, links: [a-b]}", "links[0]: is a mapping"),
        ("topology:\n{{ range .nodes }}\n", "template"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        import_containerlab(write(tmp_path / "x.clab.yml", text))
    assert says in str(raised.value) and "x.clab.yml" in str(raised.value)


def test_the_command(site: Path, tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "lab.cli.main", "import", str(site), *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)

    done = run("-o", "mine.yaml")
    assert done.returncode == 0 and done.stdout.startswith("mine.yaml: 5 nodes, 4 links; ")
    assert "tcplab: core: kind nokia_srlinux: becomes a router" in done.stderr
    assert list(load_topology(tmp_path / "mine.yaml").nodes) == ["web", "user", "core", "lan", "ovs"]
    assert run("-o", "mine.yaml").returncode == 2
    printed = run()
    assert printed.stdout == (tmp_path / "mine.yaml").read_text("utf-8")
    data: dict[str, Any] = json.loads(run("--json", "--tcplab").stdout)
    assert data["topology"]["nodes"]["web"]["kind"] == "host" and data["report"]

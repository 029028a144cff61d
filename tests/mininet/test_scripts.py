"""Somebody's Mininet programs with our hosts and links: run as they are, each on a machine of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from lab.trace.bundle import Bundle
from lab.trace.spool_reader import SpoolReader
from nodes.base.events import STATE
from tests.netns.test_leftovers import difference, facts, on_a_machine_of_its_own, reap_orphans

pytestmark = [pytest.mark.real_time, pytest.mark.requires("root", "mn", "brctl")]

ROOT: Final = Path(__file__).parents[2]
#: What all of them begin with; `say` is how they answer.
HEAD: Final = """
import json, time
from mininet.cli import CLI
from mininet.net import Mininet
from mininet.node import Host, Node
from mininet.topo import LinearTopo, SingleSwitchTopo, Topo
from tcplab.mininet import TcplabHost, TcplabLink, TcplabSwitch

def say(**facts):
    print("SAID " + json.dumps(facts), flush=True)

def make(topo, **more):
    net = Mininet(topo, **{"host": TcplabHost, "link": TcplabLink, "switch": TcplabSwitch, "controller": None, **more})
    net.start()
    return net
"""


def command(path: str) -> list[str]:
    return [sys.executable, path]


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "SHELL": "/bin/bash", **more}


def run(text: str, typed: str = "", **variables: str) -> dict[str, Any]:
    """What a program said; also its whole output (`output`), and what it left on the machine (`left`)."""

    def work() -> dict[str, Any]:
        Path("script.py").write_text(HEAD + text)
        before = facts()
        done = subprocess.run(
            command("script.py"),
            env=environment(**variables),
            input=typed,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=100,
        )
        reap_orphans()
        after = facts()
        said: dict[str, Any] = {"output": done.stdout, "left": difference(before, after)}
        if done.returncode:
            raise AssertionError(done.stdout)
        for line in done.stdout.splitlines():
            if line.startswith("SAID "):
                said |= json.loads(line[5:])
        return said

    found = on_a_machine_of_its_own(work)
    assert isinstance(found, dict)
    return found


def test_mininets_own_tests_work() -> None:
    said = run(
        """
net = make(LinearTopo(k=2, n=2))
say(dropped=net.pingAll(), pair=net.pingPair())
first, *_, last = net.hosts
say(tcp=net.iperf((first, last), seconds=1), udp=net.iperf((first, last), l4Type="UDP", udpBw="1M", seconds=1))
say(addresses=[host.IP() for host in net.hosts], up=first.intf().isUp(), seen=first.intf().updateIP())
net.stop()
"""
    )
    assert said["dropped"] == said["pair"] == 0.0
    assert said["addresses"] == ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"]
    assert (said["up"], said["seen"]) == (True, "10.0.0.1")
    rates = said["tcp"] + said["udp"][1:]
    assert all(re.fullmatch(r"[1-9][0-9.]* [KMG]?bits/sec", rate) for rate in rates), rates


def test_mininets_command_line_works() -> None:
    typed = "net\nlinks\nh1 ping -c 1 h2\nlink h1 s1 down\npingall\nlink h1 s1 up\npingall\nh1 ip route\npy h1.IP()\n"
    output = run("net = make(SingleSwitchTopo(k=2)); CLI(net); net.stop()", typed)["output"]
    assert "h1 h1-eth0:s1-eth1" in output
    assert "h1-eth0<->s1-eth1 (OK OK)" in output
    assert "1 packets transmitted, 1 received" in output
    assert output.index("100% dropped (0/2 received)") < output.index("0% dropped (2/2 received)")
    assert "10.0.0.0/8 dev h1-eth0" in output


def test_options_of_mininets_links_are_ours() -> None:
    said = run(
        """
class T(Topo):
    def build(self):
        h1, h2, h3, s1 = self.addHost("h1"), self.addHost("h2"), self.addHost("h3"), self.addSwitch("s1")
        self.addLink(h1, s1, delay="15ms", bw=10, max_queue_size=100, use_htb=True)
        self.addLink(h2, s1, params1={"delay": "40ms"})
        self.addLink(h3, s1, loss=100)
net = make(T())
h1, h2, h3 = net.hosts
def rtt(one, other):
    return [float(ms) for ms in net._parsePingFull(one.cmd("ping -c 2 -W 1", other.IP()))[2:3]]
say(both=rtt(h1, h2), lost=net.ping([h1, h3], timeout=1))
h1.intf().config(delay="1ms")
say(changed=rtt(h1, h2))
net.stop()
"""
    )
    assert 70 <= said["both"][0] < 110  # 2 * 15 and 40
    assert said["lost"] == 100.0
    assert 56 <= said["changed"][0] < said["both"][0]  # 1 + 15 and 40


def test_hosts_beside_the_kernels_and_behind_its_router() -> None:
    """The network of Mininet's own example of a router, whose node is the kernel's."""
    said = run(
        """
class LinuxRouter(Node):
    def config(self, **params):
        super().config(**params)
        self.cmd("echo 1 >/proc/sys/net/ipv4/ip_forward")
class T(Topo):
    def build(self):
        r0 = self.addNode("r0", cls=LinuxRouter, ip="192.168.1.1/24")
        h1 = self.addHost("h1", ip="192.168.1.100/24", defaultRoute="via 192.168.1.1")
        h2 = self.addHost("h2", ip="172.16.0.100/12", defaultRoute="via 172.16.0.1")
        k1 = self.addHost("k1", ip="172.16.0.101/12", defaultRoute="via 172.16.0.1", cls=Host)
        s1 = self.addSwitch("s1")
        self.addLink(h1, r0, intfName2="r0-eth1", params2={"ip": "192.168.1.1/24"})
        self.addLink(s1, r0, intfName2="r0-eth2", params2={"ip": "172.16.0.1/12"})
        self.addLink(h2, s1)
        self.addLink(k1, s1)
net = make(T())
h1, h2, k1 = net.get("h1", "h2", "k1")
say(dropped=net.ping([h1, h2]), routes=h1.cmd("route -n"))
fetch = "import urllib.request as u; print(len(u.urlopen('http://172.16.0.%s:8000/big').read()))"
open("big", "wb").write(bytes(200000))
for server in (h2, k1):
    server.cmd("python3 -m http.server 8000 >%s.log 2>&1 &" % server)
    while "200" not in h1.cmd("curl -s -o /dev/null -w %%{http_code} http://%s:8000/big" % server.IP()):
        time.sleep(.1)
say(ours=h1.cmd('python3 -c "%s"' % (fetch % 100)), kernels=h1.cmd('python3 -c "%s"' % (fetch % 101)))
say(back=k1.cmd('python3 -c "%s"' % (fetch % 100)))
net.stop()
"""
    )
    assert said["dropped"] == 0.0
    assert re.search(r"^0\.0\.0\.0 +192\.168\.1\.1 ", said["routes"], re.MULTILINE)
    assert [said[one].split()[-1] for one in ("ours", "kernels", "back")] == ["200000"] * 3


def test_addresses_and_knobs_change_by_the_hosts_own_commands() -> None:
    said = run(
        """
net = make(SingleSwitchTopo(k=2))
h1, h2 = net.hosts
say(knob=h1.cmd("sysctl -w net.ipv4.tcp_congestion_control=reno"))
h1.cmd("ifconfig h1-eth0 192.168.5.1 netmask 255.255.255.0")
h2.cmd("ip addr flush dev h2-eth0; ip addr add 192.168.5.2/24 dev h2-eth0; ip route add default via 192.168.5.1")
say(view=h2.cmd("ip addr show h2-eth0") + h2.cmd("ip route"), other=h2.cmd("ping -c 1 192.168.5.1"))
say(kept=h1.cmd("sysctl net.ipv4.tcp_congestion_control"), wrong=h1.cmd("ip route add default via 10.9.9.9"))
h1.setIP("10.0.0.9", 8)
h2.setIP("10.0.0.8/8")
say(dropped=net.ping([h1, h2]))
net.stop()
"""
    )
    assert said["knob"].strip() == said["kept"].strip() == "net.ipv4.tcp_congestion_control = reno"
    assert "inet 192.168.5.2/24" in said["view"]
    assert "default via 192.168.5.1 dev h2-eth0" in said["view"]
    assert " 0% packet loss" in said["other"]
    assert "Nexthop has invalid gateway" in said["wrong"]
    assert said["dropped"] == 0.0


def test_a_program_leaves_its_trace_and_nothing_else() -> None:
    """The two ends' states of an HTTP transfer by curl."""

    def work() -> Any:
        Path("script.py").write_text(
            HEAD
            + """
net = make(SingleSwitchTopo(k=2))
h1, h2 = net.hosts
h2.cmd("python3 -m http.server 80 >log 2>&1 &")
while "200" not in h1.cmd("curl -s -o /dev/null -w %{http_code} http://h2/"):
    time.sleep(.1)
net.stop()
"""
        )
        before = facts()
        done = subprocess.run(
            command("script.py"), env=environment(TCPLAB_RUN="run"), capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stdout + done.stderr
        reap_orphans()
        after = facts()
        for one in (before, after):
            one["files"] = [path for path in one["files"] if not path.startswith(("/tmp/run", "/tmp/log"))]
        bundle = Bundle.open("run")
        states = [(event.node, str(event["new"])) for event in SpoolReader(bundle.spool, kinds=(STATE,))]
        captures = sorted(path.name for path in bundle.captures.iterdir())
        return {"left": difference(before, after), "states": states, "captures": captures}

    found = on_a_machine_of_its_own(work)
    assert found["left"] == {}
    last = [state for node, state in found["states"] if node == "h1"][-3:]
    assert "ESTABLISHED" in [state for _, state in found["states"]]
    assert last[-1] in ("TIME-WAIT", "CLOSED"), found["states"]
    assert any("h1-eth0" in name for name in found["captures"])


def test_a_trace_is_not_written_over_another() -> None:
    said = run(
        """
import os
os.mkdir("full"); open("full/file", "w").close()
try:
    make(SingleSwitchTopo(k=1))
except Exception as error:
    say(error=str(error))
""",
        TCPLAB_RUN="full",
    )
    assert "full: exists and is not empty" in said["error"]


def test_a_program_that_is_killed_leaves_nothing_of_ours() -> None:
    """Neither processes nor interfaces; what Mininet itself leaves, its shells, end with their terminals."""

    def work() -> Any:
        Path("script.py").write_text(
            HEAD
            + """
class T(Topo):
    def build(self):
        self.addLink(self.addHost("h1"), self.addHost("h2"))
net = make(T())
net["h1"].cmd("ping h2 >/dev/null &")
print("up", flush=True)
time.sleep(60)
"""
        )
        before = facts()
        with subprocess.Popen(command("script.py"), env=environment(), stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"up\n"
            process.send_signal(signal.SIGKILL)
        reap_orphans()
        return difference(before, facts())

    assert on_a_machine_of_its_own(work) == {}

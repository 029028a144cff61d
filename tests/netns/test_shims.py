"""The network programs of nodes with our TCP: what they say is what the known ones say, to people and to parsers."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from lab import spec
from lab.links.rules import RuleSpec
from tests.netns.programs import Programs

pytestmark = pytest.mark.requires("root", "ip")

#: h1 and h2 are ours, l1 is the kernel's, r1 routes between two networks.
TEXT = """
nodes: {h1: host, h2: host, l1: linux, s1: switch, r1: router, h3: host}
links: [h1-s1, h2-s1, l1-s1, s1-r1, r1-h3]
"""


def mininets_ping(text: str) -> tuple[int, int]:
    """What Mininet's Mininet._parsePing reads of a ping: sent, received."""
    found = re.search(r"(\d+) packets transmitted, (\d+)( packets)? received", text)
    assert found is not None
    return int(found[1]), int(found[2])


def mininets_rtt(text: str) -> list[float]:
    """What Mininet._parsePingFull reads: min, avg, max, mdev, ms."""
    found = re.search(r"rtt min/avg/max/mdev = (\d+\.\d+)/(\d+\.\d+)/(\d+\.\d+)/(\d+\.\d+) ms", text)
    assert found is not None
    return [float(one) for one in found.groups()]


def mininets_iperf(text: str) -> str:
    """What Mininet._parseIperf reads: the last rate."""
    found = re.findall(r"([\d\.]+ \w+/sec)", text)
    assert found
    return str(found[-1])


@pytest.mark.parametrize("target", ["h2", "l1", "h3"])
def test_ping(programs: Programs, target: str) -> None:
    address = programs.lab.addresses(target)[0]
    said = programs.start("h1", "ping", "-c", "3", "-i", "0.1", target).ok()
    lines = said.splitlines()
    assert lines[0] == f"PING {target} ({address}) 56(84) bytes of data."
    for sequence, line in enumerate(lines[1:4], 1):
        beginning = re.escape(f"64 bytes from {target} ({address}): icmp_seq={sequence} ttl=6")
        assert re.fullmatch(beginning + r"\d time=[\d.]+ ms", line)
    assert mininets_ping(said) == (3, 3)
    low, mean, high, deviation = mininets_rtt(said)
    assert 0 < low <= mean <= high
    assert deviation <= high - low


def test_ping_of_nobody_and_with_wrong_words(programs: Programs) -> None:
    said = programs.start("h1", "ping", "-c1", "-W", "0.2", "10.0.1.77").wait()
    assert (said.code, mininets_ping(said.out)) == (1, (1, 0))
    said = programs.start("h1", "ping", "-c1", "-w", "5", "10.0.1.78").wait()
    assert said.code == 1
    assert "From 10.0.1.1 icmp_seq=1 Destination Host Unreachable" in said.out
    assert "+1 errors, 100% packet loss" in said.out
    said = programs.start("h1", "ping", "-c1", "-t1", "h3").wait()
    assert f"From {programs.lab.addresses('r1')[0]} icmp_seq=1 Time to live exceeded" in said.out
    said = programs.start("h1", "ping", "-c1", "h9").wait()
    assert (said.code, said.out) == (2, "")
    assert "h9: Name or service not known (there is no such node; there are h1, h2, l1, r1, h3)" in said.error
    said = programs.start("h1", "ping", "-Z", "h2").wait()
    assert said.code == 2
    assert "option -Z is not one that tcplab's has; it has -c, " in said.error


def test_ping_until_ctrl_c(programs: Programs) -> None:
    ping = programs.start("h1", "ping", "-i", "0.1", "h2")
    ping.until("icmp_seq=2")
    ping.signal("INT")
    sent, received = mininets_ping(ping.ok())
    assert sent >= received >= 2


def test_ss_and_netstat_show_what_the_kernel_shows_of_the_other_end(programs: Programs) -> None:
    programs.start("h1", "nc", "-lkv", "5000").until("Listening")
    client = programs.start("l1", "nc", "h1", "5000")
    for _ in range(200):
        kernels = programs.start("l1", "ss", "-tnH").ok().split()
        ours = programs.start("h1", "ss", "-tnH").ok().split()
        if ours and kernels:
            break
    assert [ours[0], ours[3], ours[4]] == [kernels[0], kernels[4], kernels[3]]
    assert ours[:4] == ["ESTAB", "0", "0", "10.0.1.1:5000"]
    port = ours[4].rpartition(":")[2]
    assert (
        f"10.0.1.3:{port}" in programs.start("h1", "ss", "-tan", "state", "established", "dport", "=", f":{port}").ok()
    )
    assert programs.start("h1", "ss", "-tanH", "sport", "=", ":5001").ok() == ""
    assert 'users:(("nc",pid=' not in programs.start("h1", "ss", "-tln").ok()
    assert re.search(r'0\.0\.0\.0:5000 .*users:\(\("nc",pid=\d+\)\)', programs.start("h1", "ss", "-tlnp").ok())
    programs.start("h1", "nc", "-lv", "5000").until("Listening")  # several may, as with OpenBSD's (SO_REUSEPORT)
    info = programs.start("h1", "ss", "-tni").ok()
    assert re.search(r"\n\t ts sack cubic wscale:\d+,\d+ rto:\d[\d.]* .*pmtu:1500 .*cwnd:10 ", info)
    netstat = programs.start("h1", "netstat", "-tan").ok()
    assert re.search(r"\ntcp +0 +0 0\.0\.0\.0:5000 +0\.0\.0\.0:\* +LISTEN\n", netstat)
    assert re.search(rf"\ntcp +0 +0 10\.0\.1\.1:5000 +10\.0\.1\.3:{port} +ESTABLISHED\n", netstat)
    client.write(b"", end=True)
    counters = programs.lab.counters("h1")
    statistics = programs.start("h1", "netstat", "-s").ok()
    assert f"    {counters['TcpPassiveOpens']} passive connection openings\n" in statistics
    assert f"TcpPassiveOpens                 {counters['TcpPassiveOpens']} " in programs.start("h1", "nstat").ok()


@pytest.mark.requires("nc")
@pytest.mark.parametrize(("server", "client"), [("h1", "h2"), ("h1", "l1"), ("l1", "h2")])
def test_nc_both_ways(programs: Programs, server: str, client: str) -> None:
    listener = programs.start(server, "nc", "-lvn", "6000")
    listener.until("Listening on 0.0.0.0 6000")
    caller = programs.start(client, "nc", "-N", server, "6000")
    caller.write(b"from the client\n")
    listener.until("from the client\n")
    listener.write(b"from the server\n")
    caller.until("from the server\n")
    caller.write(b"", end=True)
    assert caller.wait().code == 0
    assert listener.wait().code == 0
    listener.until(rf"Connection received on {re.escape(programs.lab.addresses(client)[0])} \d+")
    closed = programs.start(client, "nc", "-zv", server, "6001").wait()
    assert closed.code == 1
    assert "failed: Connection refused" in closed.error


def test_telnet_says_what_mininet_waits_for(programs: Programs) -> None:
    assert programs.start("h2", "sh", "-c", "echo A | telnet -e A h1 7000").wait().code == 1
    programs.start("h1", "nc", "-lkv", "7000").until("Listening")
    assert (
        "Connected to 10.0.1.1.\n" in programs.start("h2", "sh", "-c", "echo A | telnet -e A 10.0.1.1 7000").wait().out
    )


def test_curl_and_wget(programs: Programs, tmp_path: Path) -> None:
    data = os.urandom(100_000)
    (tmp_path / "page").write_bytes(data)
    programs.start("l1", "python3", "-u", "-m", "http.server", "80", "--directory", str(tmp_path)).until("Serving")
    form = "%{http_code} %{size_download}\\n"
    got = tmp_path / "got"
    assert programs.start("h1", "curl", "-s", "-o", str(got), "-w", form, "http://l1/page").ok() == "200 100000\n"
    assert got.read_bytes() == data
    head = programs.start("h1", "curl", "-sI", "l1/page").ok()
    assert head.startswith("HTTP/1.0 200 OK\r\n")
    assert "\r\nContent-Length: 100000\r\n" in head
    assert programs.start("h1", "curl", "-sS", "http://l1:81/").wait().error.startswith("curl: (7) Failed to connect")
    assert programs.start("h1", "curl", "http://nobody/").wait().code == 6
    assert programs.start("h1", "wget", "-q", "-O", str(got), "l1/page").ok() == ""
    assert got.read_bytes() == data
    assert programs.start("h1", "wget", "-q", "-O", "-", "l1/none").wait().code == 8


def test_iperf_as_mininet_runs_it(programs: Programs) -> None:
    server = programs.start("h1", "iperf", "-p", "5001", "-s")
    server.until("Server listening on TCP port 5001")
    client = programs.start("h2", "iperf", "-p", "5001", "-t", "1", "-c", "10.0.1.1").ok()
    assert float(mininets_iperf(client).split()[0]) > 0
    server.until("/sec")
    transferred = r"0\.0000-[\d.]+ sec +([\d.]+ \w+)  "
    assert re.findall(transferred, server.out) == re.findall(transferred, client)
    server.signal("INT")
    server.wait()


def test_iperf_with_udp_counts_what_the_link_drops(programs: Programs) -> None:
    server = programs.start("h1", "iperf", "-u", "-s")
    server.until("Server listening on UDP port 5001")
    rule = {"direction": "h2->s1", "match": "udp.dstport == 5001", "nth": 10, "drop": None}
    programs.lab.add_rule("h2-s1", spec.from_mapping(RuleSpec, rule))
    client = programs.start("h2", "iperf", "-u", "-c", "h1", "-t", "1", "-b", "1M").ok()
    sent = re.search(r"Sent (\d+) datagrams", client)
    assert sent is not None
    report = re.search(r"Server Report:\n.* ms +(\d+)/ *(\d+) \(", client)
    assert report is not None
    assert (report[1], report[2]) == ("1", sent[1])


@pytest.mark.requires("iperf3")
@pytest.mark.parametrize(("server", "client"), [("h1", "h2"), ("h1", "l1"), ("l1", "h2")])
def test_iperf3_with_each_other_and_with_the_real_one(programs: Programs, server: str, client: str) -> None:
    listening = programs.start(server, "iperf3", "-s", "--forceflush")
    listening.until("Server listening on 5201")
    said = programs.start(client, "iperf3", "-c", server, "-n", "1M", "-P", "2").ok()
    rows = re.findall(r"\[SUM\] +0\.00-[\d.]+ +sec +([\d.]+ [KM])Bytes +[\d.]+ \w+/sec.* (sender|receiver)", said)
    assert [role for _, role in rows] == ["sender", "receiver"]
    assert 1 <= float(rows[0][0].removesuffix(" M")) < 4
    result = json.loads(programs.start(client, "iperf3", "-c", server, "-t", "1", "-R", "-J").ok())
    assert result["end"]["sum_received"]["bytes"] > 0
    assert result["end"]["sum_sent"]["bytes"] >= result["end"]["sum_received"]["bytes"]
    listening.signal("INT")
    listening.wait()


def test_views_of_interfaces_and_routes(programs: Programs) -> None:
    ifconfig = programs.start("h1", "ifconfig", "eth0").ok()
    # What Mininet's Intf.updateIP, updateMAC and isUp look for.
    assert re.findall(r"\d+\.\d+\.\d+\.\d+", ifconfig)[0] == "10.0.1.1"
    assert re.findall(r"([0-9a-f]{2}(?::[0-9a-f]{2}){5})", ifconfig) == ["02:00:00:00:00:01"]
    assert "UP" in ifconfig
    assert (
        "inet 10.0.1.1/24 brd 10.0.1.255 scope global eth0" in programs.start("h1", "ip", "addr", "show", "eth0").ok()
    )
    kernels = programs.start("l1", "ip", "route").ok().splitlines()
    ours = programs.start("h1", "ip", "route").ok().splitlines()
    # The same routes, but for our own address, and what the kernel says of who made them.
    assert sorted(line.split(" proto")[0].split(" src")[0].rstrip() for line in ours) == sorted(
        line.split(" proto")[0].split(" src")[0].rstrip() for line in kernels
    )
    gateway = re.search(r"via (\S+)", " ".join(ours))
    assert gateway is not None
    assert f"via {gateway[1]} dev eth0 src 10.0.1.1" in programs.start("h1", "ip", "route", "get", "h3").ok()
    programs.start("h1", "ping", "-c1", "l1").ok()
    mac = programs.start("l1", "ip", "-br", "link", "show", "eth0").ok().split()[2]
    assert f"10.0.1.3 dev eth0 lladdr {mac} REACHABLE" in programs.start("h1", "ip", "neigh").ok()
    assert re.search(rf"10\.0\.1\.3 +ether +{mac} ", programs.start("h1", "arp", "-n").ok())
    change = programs.start("h1", "ip", "addr", "add", "10.0.1.50/24", "dev", "eth0").wait()
    assert change.code == 2
    assert "looked at only" in change.error


def test_sysctl_reads_and_writes_the_stacks_knobs(programs: Programs) -> None:
    assert programs.start("h1", "sysctl", "-w", "net.ipv4.tcp_syn_retries=3").ok() == "net.ipv4.tcp_syn_retries = 3\n"
    assert programs.lab.parameters("h1")["tcp_syn_retries"] == 3
    assert programs.start("h1", "sysctl", "-n", "net.ipv4.tcp_syn_retries").ok() == "3\n"
    wrong = programs.start("h1", "sysctl", "-w", "net.ipv4.tcp_syn_retries=1000").wait()
    assert wrong.code == 1
    assert "1000" in wrong.error
    assert programs.start("h1", "sysctl", "net.ipv4.tcp_no_such").wait().code == 1


def test_other_programs_say_why_not_and_what_instead(programs: Programs) -> None:
    for name in ("ssh", "traceroute", "nginx", "tc"):
        said = programs.start("h1", name, "h2").wait()
        assert said.code == 126
        assert "its TCP/IP is tcplab's" in said.error
        assert "kind: linux" in said.error
    assert programs.start("h1", "true").ok() == ""

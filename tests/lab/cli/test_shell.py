"""`tcplab shell` on a lab in virtual time: what Mininet's users type, and what they read."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tcplab.client import Controller
from tests.server.api import Server

LAN = """
defaults: {parameters: {tcp_msl_ms: 200}}
nodes: {h1: host, h2: host, h3: host, r1: router, s1: switch}
links: [{endpoints: h1-s1, delay: 5ms}, {endpoints: h2-s1, delay: 5ms}, r1-s1, h3-r1]
"""
#: Without what takes its time to write.
PLAIN: Any = {"name": "pipe", "level": "states", "capture": False}
PIPE = "nodes: {h1: host, h2: host}\nlinks: [{endpoints: h1-h2, delay: 5ms, rate: 1mbit, limit: 50}]\n"

#: A line, and what the error says.
WRONG = [
    ("foo bar", "Unknown command: foo bar"),
    ("h1", "Please enter a command for node: h1 <cmd>"),
    ("h1 python3 x.py", "netns"),
    ("s1 ls", "s1 is a switch"),
    ("link h1 h2 down", "src and dst not connected: h1 h2"),
    ("link h1 h9 down", "dst not in network: h9"),
    ("link h1 s1", "invalid number of args"),
    ("link h1 s1 sideways", "invalid type"),
    ("link set h1-s1 loss", "loss has no value"),
    ("link set h1-s1 weight 3", "there are delay, jitter"),
    ("link set h1-s1 loss 140%", "1.4 is not a chance"),
    ("link show h1-h2", "there are h1-s1"),
    ("iperf h1 h9", "node 'h9' not in network"),
    ("iperf h1", "invalid number of args"),
    ("pingall soon", "soon"),
    ("xterm h1", "tcplab shell lan"),
    ("capture h1-eth7", "there are h1-eth0"),
    ("source nowhere", "nowhere: No such file"),
    ("py h1.nothing", "AttributeError"),
    ("sleep", "usage: sleep"),
    ("ss h9", "node 'h9' not in network"),
]

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("shell"))
    yield server
    assert server.stop() == 0


def shell(server: Server, cwd: Path, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What a shell says that reads a script."""
    command = [sys.executable, "-m", "lab.cli.main", "shell", "--server", server.address, *arguments]
    clean = {key: value for key, value in os.environ.items() if not key.startswith("TCPLAB_")}
    return subprocess.run(command, input=script, cwd=cwd, env=clean, capture_output=True, text=True, timeout=120)


@pytest.fixture
def lan(server: Server, tmp_path: Path) -> Iterator[Run]:
    with Controller(server.address) as controller, controller.create_lab(LAN, name="lan"):
        yield lambda script, *more: shell(server, tmp_path, script, "lan", *more)


@pytest.fixture
def pipe(server: Server, tmp_path: Path) -> Iterator[Run]:
    with Controller(server.address) as controller, controller.create_lab(PIPE, **PLAIN):
        yield lambda script, *more: shell(server, tmp_path, script, "pipe", *more)


def test_who_is_there_and_who_is_joined_to_whom(lan: Run) -> None:
    done = lan("# what there is\nnodes\n\nnet\nlinks\nintfs\ndump\nexit\nfoo\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "available nodes are: ",
        "h1 h2 h3 r1 s1",
        "h1 h1-eth0:s1-eth0",
        "h2 h2-eth0:s1-eth1",
        "h3 h3-eth0:r1-eth1",
        "r1 r1-eth0:s1-eth2 r1-eth1:h3-eth0",
        "s1 s1-eth0:h1-eth0 s1-eth1:h2-eth0 s1-eth2:r1-eth0",
        "h1-eth0<->s1-eth0 (OK OK) ",
        "h2-eth0<->s1-eth1 (OK OK) ",
        "r1-eth0<->s1-eth2 (OK OK) ",
        "h3-eth0<->r1-eth1 (OK OK) ",
        "h1: h1-eth0",
        "h2: h2-eth0",
        "h3: h3-eth0",
        "r1: r1-eth0,r1-eth1",
        "s1: s1-eth0,s1-eth1,s1-eth2",
        "<Host h1: h1-eth0:10.0.1.1> ",
        "<Host h2: h2-eth0:10.0.1.2> ",
        "<Host h3: h3-eth0:10.0.2.1> ",
        "<Router r1: r1-eth0:10.0.1.3,r1-eth1:10.0.2.2> ",
        "<Switch s1: s1-eth0:None,s1-eth1:None,s1-eth2:None> ",
    ]


def test_pingall_and_a_link_that_is_down(lan: Run) -> None:
    done = lan("pingall\nlink h1 s1 down\nlinks\npingall 1\npingpair 100ms\nlink s1 h1 up\npingpair\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "*** Ping: testing ping reachability",
        "h1 -> h2 h3 ",
        "h2 -> h1 h3 ",
        "h3 -> h1 h2 ",
        "*** Results: 0% dropped (6/6 received)",
        "h1-eth0<->s1-eth0 (DOWN DOWN) ",
        "h2-eth0<->s1-eth1 (OK OK) ",
        "r1-eth0<->s1-eth2 (OK OK) ",
        "h3-eth0<->r1-eth1 (OK OK) ",
        "*** Ping: testing ping reachability",
        "h1 -> X X ",
        "h2 -> X h3 ",
        "h3 -> X h2 ",
        "*** Results: 66% dropped (2/6 received)",
        "h1 -> X ",
        "h2 -> X ",
        "*** Results: 100% dropped (0/2 received)",
        "h1 -> h2 ",
        "h2 -> h1 ",
        "*** Results: 0% dropped (2/2 received)",
    ]


def test_round_trips_are_those_of_the_links(lan: Run) -> None:
    """The second time nobody asks for addresses any more; h1 and h2 are 10 ms from each other, each way."""
    said = lan("pingpair\npingallfull\npingpairfull\n").stdout
    assert " h1->h2: 1/1, rtt min/avg/max/mdev 20.000/20.000/20.000/0.000 ms\n" in said
    assert " h2->h3: 1/1, rtt min/avg/max/mdev " in said
    assert said.endswith(" h2->h1: 1/1, rtt min/avg/max/mdev 20.000/20.000/20.000/0.000 ms\n")


def test_a_ping_of_a_node_reads_as_ping_does(lan: Run) -> None:
    done = lan("pingpair\nh1 ping -c 3 -i 0.5 h2\ntime h2 ping -c1 h1\nh1 ping -c1 -W 1 10.9.9.9\nh1 ping -x\n")
    assert "PING 10.0.1.2 (10.0.1.2) 56(84) bytes of data.\n" in done.stdout
    assert "64 bytes from 10.0.1.2: icmp_seq=3 time=20.0 ms\n" in done.stdout
    # Mininet reads it so.
    counts = re.findall(r"(\d+) packets transmitted, (\d+)( packets)? received", done.stdout)
    assert [(sent, received) for sent, received, _ in counts] == [("3", "3"), ("1", "1"), ("1", "0")]
    assert "3 packets transmitted, 3 received, 0% packet loss, time 1020ms\n" in done.stdout
    assert re.search(r"rtt min/avg/max/mdev = 20\.000/20\.000/20\.000/0\.000 ms", done.stdout)
    assert "*** Elapsed time: 0.020000 secs\n" in done.stdout
    assert done.returncode == 3 and "-c COUNT" in done.stderr


def test_iperf_is_what_the_link_carries(pipe: Run) -> None:
    done = pipe("iperf\niperf h2 h1\niperfudp 500K h1 h2\niperfudp 2M h2 h1\n")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "*** Iperf: testing TCP bandwidth between h1 and h2 "
    assert lines[2] == "*** Iperf: testing TCP bandwidth between h2 and h1 "
    for line in (lines[1], lines[3]):
        found = re.fullmatch(r"\*\*\* Results: \['(\d+) Kbits/sec', '([\d.]+) ([KM])bits/sec'\]", line)
        assert found, line
        # 1448 bytes of data in a frame of 1514: 956 of 1000 at the most; the client's last bytes are under way.
        assert 800 < int(found[1]) <= 956 < float(found[2]) * (1000 if found[3] == "M" else 1)
    assert re.fullmatch(r"\*\*\* Results: \['500K', '50[0-2] Kbits/sec', '50[0-2] Kbits/sec'\]", lines[5]), lines[5]
    # 1470 bytes of data in a frame of 1512.
    assert re.fullmatch(r"\*\*\* Results: \['2M', '9[67]\d Kbits/sec', '2\.00 Mbits/sec'\]", lines[7]), lines[7]


def test_links_are_changed_shown_and_reset(lan: Run) -> None:
    script = (
        "link set h1-s1 delay 20ms loss=0.5%\nlink set s1->h1 rate 5mbit limit 7\nlink show s1-h1\n"
        "link reset h1->s1\nlink show h1-s1\nlink reset\nlink show\n"
    )
    done = lan(script)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "h1-s1: h1-eth0<->s1-eth0 up mtu 1500",
        "  h1->s1: delay 20ms loss 0.5%",
        "  s1->h1: delay 20ms loss 0.5% rate 5mbit limit 7",
        "h1-s1: h1-eth0<->s1-eth0 up mtu 1500",
        "  h1->s1: no impairments",
        "  s1->h1: delay 20ms loss 0.5% rate 5mbit limit 7",
        *(
            line
            for name in ("h1-s1: h1-eth0<->s1-eth0", "h2-s1: h2-eth0<->s1-eth1", "r1-s1: r1-eth0<->s1-eth2")
            for line in (f"{name} up mtu 1500", "  no impairments")
        ),
        "h3-r1: h3-eth0<->r1-eth1 up mtu 1500",
        "  no impairments",
    ]


def test_what_cannot_be_done_says_why_and_the_rest_goes_on(lan: Run) -> None:
    done = lan("".join(f"{line}\nsh echo here\n" for line, _ in WRONG))
    assert (done.stdout, done.returncode) == ("here\n" * len(WRONG), 3)
    for said, (line, says) in zip(done.stderr.splitlines(), WRONG, strict=True):
        assert said.startswith("*** ") and says in said, line


def test_time_is_the_labs(lan: Run) -> None:
    done = lan("time sleep 2h\ntime sleep 0.5\n")
    assert done.stdout == "*** Elapsed time: 7200.000000 secs\n*** Elapsed time: 0.500000 secs\n"


def test_python_and_sockets(lan: Run) -> None:
    done = lan(
        "py h1.IP()\npy h1.MAC()\npx l = h2.listen(80)\npx c = h1.open('h2', 80)\npy c.state()\nsleep 1\nss\nss h3\n"
        "events h1 state 1\npx import math\npy math.floor(2.5)\n"
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[:3] == ["10.0.1.1", "02:00:00:00:00:01", "ESTABLISHED"]
    table = [line.split() for line in lines[4:7]]
    assert table[0][:3] == ["ESTAB", "0", "0"] and table[0][4:] == ["10.0.1.2:80", "h1"]
    assert table[1] == ["LISTEN", "1", "128", "*:80", "*:*", "h2"]
    assert table[2][:4] == ["ESTAB", "0", "0", "10.0.1.2:80"]
    assert lines[7].split() == ["State", "Recv-Q", "Send-Q", "Local", "Address:Port", "Peer", "Address:Port"]
    assert re.fullmatch(r"\d+ [\d.]+s h1#1 state .*new=ESTABLISHED.*", lines[8])
    assert lines[9:] == ["2"]


def test_files_commands_and_one_command_alone(lan: Run, tmp_path: Path) -> None:
    (tmp_path / "inner").write_text("# inner\npingpair\n")
    (tmp_path / "outer").write_text("source inner\nsource outer\nsh echo end\n")
    done = lan("", "source", "outer")
    assert done.stdout == "h1 -> h2 \nh2 -> h1 \n*** Results: 0% dropped (2/2 received)\nend\n"
    assert "outer sources itself" in done.stderr and done.returncode == 3
    done = lan("nodes\n", "h1", "ping", "-c1", "h2")
    assert "1 packets transmitted, 1 received" in done.stdout and "available" not in done.stdout


@pytest.mark.requires("tshark")
def test_a_capture_is_read_by_wireshark(lan: Run, tmp_path: Path) -> None:
    done = lan("pingpair\ncapture h1-eth0 here.pcapng\ncapture h2:eth0\n")
    assert done.stdout.splitlines()[-2].startswith("here.pcapng: ")
    for name in ("here.pcapng", "lan-h2-eth0.pcapng"):
        command = ["tshark", "-r", str(tmp_path / name), "-Y", "icmp", "-T", "fields", "-e", "icmp.type"]
        read = subprocess.run(command, capture_output=True, text=True, check=True)
        assert read.stdout.split() == ["8", "0", "8", "0"]


def test_help_lists_every_word(lan: Run) -> None:
    said = lan("help\nhelp pingall\nhelp xterm\n").stdout
    words = set(said.split())
    mininets = (
        "nodes net links dump pingall pingallfull pingpair pingpairfull iperf iperfudp link intfs sh py px source"
    )
    others = "time noecho help exit quit EOF capture events ss sleep"
    assert words > {*mininets.split(), *others.split()}
    assert "Undocumented" not in said and "Usage: pingall [SECONDS]" in said


def test_there_must_be_such_a_lab(server: Server, tmp_path: Path) -> None:
    done = shell(server, tmp_path, "nodes\n", "nope")
    assert done.returncode == 2 and "nope" in done.stderr and "Traceback" not in done.stderr

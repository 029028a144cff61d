"""`tcplab ss` and `tcplab netstat` on a lab of a server, in virtual time."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tcplab.client import Controller
from tests.server.api import Server

PAIR = "nodes: {h1: host, h2: host}\nlinks: [{endpoints: h1-h2, delay: 5ms}]\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("sockets"))
    yield server
    assert server.stop() == 0


def tcplab(server: Server, cwd: Path, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("TCPLAB_")}
    line = [sys.executable, "-m", "lab.cli.main", command, "--server", server.address, *arguments]
    return subprocess.run(line, cwd=cwd, env=clean, capture_output=True, text=True, timeout=120)


def test_sockets_and_counters(server: Server, tmp_path: Path) -> None:
    with Controller(server.address) as controller, controller.create_lab(PAIR, name="pair") as lab:
        h1, h2 = lab.node("h1"), lab.node("h2")
        listener = h2.listen(80, backlog=7)
        client = h1.open("h2", 80, options={"SO_KEEPALIVE": 1})
        peer = listener.accept()
        client.send(b"d" * 3000)
        assert len(peer.receive(3000, at_least=3000)) == 3000
        lab.advance("100ms")
        said = tcplab(server, tmp_path, "ss", "pair", "h1", "-i", "-o")
        assert said.returncode == 0, said.stderr
        head, socket, details = said.stdout.splitlines()
        assert head.split()[:3] == ["State", "Recv-Q", "Send-Q"]
        assert re.match(r"ESTAB +0 +0 +\S+:\d+ +\S+:80 +timer:\(keepalive\)", socket)
        assert " ts sack cubic wscale:7,7 " in f" {details.strip()}".replace("\t", "")
        for word in ("bytes_sent:3000", "bytes_acked:3000", "data_segs_out:3", "minrtt:10", "busy:10ms"):
            assert word in details
        listening = tcplab(server, tmp_path, "ss", "pair", "h2", "-l", "-n").stdout.splitlines()
        assert re.match(r"LISTEN +0 +7 +\S+:80 +\S+:\*", listening[1])
        client.close()
        peer.close()
        lab.advance("1s")
        assert "TIME-WAIT" in tcplab(server, tmp_path, "ss", "pair", "h1", "state", "time-wait").stdout
        assert len(tcplab(server, tmp_path, "ss", "pair", "h1").stdout.splitlines()) == 2
        counters = tcplab(server, tmp_path, "netstat", "pair", "h2", "-s").stdout
        assert "    1 passive connection openings\n" in counters
        assert "    0 connection resets received\n" in counters
        assert "TIME_WAIT" in tcplab(server, tmp_path, "netstat", "pair", "h1").stdout


def test_what_only_the_node_knows(server: Server, tmp_path: Path) -> None:
    said = tcplab(server, tmp_path, "ss", "pair", "h1", "-p")
    assert (said.returncode, "-p: only ss on the node itself can tell that" in said.stderr) == (2, True)
    said = tcplab(server, tmp_path, "netstat", "nowhere", "h1", "-s")
    assert said.returncode == 2
    assert "nowhere" in said.stderr

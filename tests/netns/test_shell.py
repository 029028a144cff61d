"""`tcplab shell` on a lab in real time: programs on nodes, as in Mininet's command line."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tcplab.client import Controller
from tests.server.api import Server

LAN = """
nodes: {h1: &ours {kind: host, parameters: {tcp_msl_ms: 200}}, h2: *ours, h3: linux, s1: switch}
links: [{endpoints: h1-s1, delay: 5ms}, h2-s1, h3-s1]
"""
pytestmark = pytest.mark.requires("root")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with the lab `lan`."""
    server = Server(tmp_path_factory.mktemp("shell"))
    try:
        with Controller(server.address) as controller, controller.create_lab(LAN, name="lan", backend="netns"):
            yield server.address
    finally:
        assert server.stop() == 0


def command(address: str) -> list[str]:
    return [sys.executable, "-m", "lab.cli.main", "shell", "--server", address, "lan"]


def shell(address: str, cwd: Path, script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(address), input=script, cwd=cwd, capture_output=True, text=True, timeout=120)


def test_pings_by_the_lab_and_by_the_nodes(address: str, tmp_path: Path) -> None:
    done = shell(address, tmp_path, "pingall\nh1 ping -c 2 -i 0.1 h2\nlink h1 s1 down\npingpair 200ms\nlink h1 s1 up\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(
        "*** Ping: testing ping reachability\nh1 -> h2 h3 \nh2 -> h1 h3 \nh3 -> h1 h2 \n"
        "*** Results: 0% dropped (6/6 received)\n"
    )
    assert "PING 10.0.0.2 (10.0.0.2)" in done.stdout
    assert "2 packets transmitted, 2 received, 0% packet loss" in done.stdout
    assert done.stdout.endswith("h1 -> X \nh2 -> X \n*** Results: 100% dropped (0/2 received)\n")


def test_a_nodes_shell_stays(address: str, tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "page").write_text("found")
    script = (
        "h1 pwd\nh1 cd below\nh1 pwd\nh1 X=5; export X\nh1 echo $X $(sh -c 'echo $X')\nh1 false\nh1 echo $?\nh1 if\n"
        "h1 cat\nh1 exit 4\nh1 pwd\nh2 pwd\n"
    )
    done = shell(address, tmp_path, script)
    where = str(tmp_path)
    lines = done.stdout.splitlines()
    assert lines[:4] == [where, f"{where}/below", "5 5", "1"]
    assert "syntax error" in done.stdout
    assert lines[-2:] == [where, where]
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.requires("curl")
def test_a_server_in_the_background(address: str, tmp_path: Path) -> None:
    """Over our stack and the kernel's; it ends with the shell."""
    (tmp_path / "page").write_text("found\n")
    wait = "for i in $(seq 100); do ss -ltn | grep -q :80 && break; sleep 0.1; done"
    script = (
        f"h1 python3 -m http.server 80 >log 2>&1 &\nh1 {wait}\nh2 curl -s http://10.0.0.1/page\n"
        "h3 curl -s 10.0.0.1/page\nss h1\nh1 jobs\npy h2.cmd('echo $((6 * 7))').strip()\n"
    )
    done = shell(address, tmp_path, script)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("found\n") == 2
    assert re.search(r"LISTEN +0 +\d+ +0\.0\.0\.0:80 ", done.stdout)
    assert "http.server" in done.stdout and done.stdout.endswith("42\n")
    # Its programs are told to end with it, and end in their own time.
    assert any("LISTEN" not in shell(address, tmp_path, "ss\n").stdout for _ in range(20))


def test_at_a_terminal_ctrl_c_ends_the_program_and_not_the_shell(address: str, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state"), "TERM": "dumb"}
    process = subprocess.Popen(
        command(address),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
        cwd=tmp_path,
        start_new_session=True,
        preexec_fn=_take_terminal,
    )
    os.close(theirs)
    said = b""

    def until(text: bytes) -> None:
        nonlocal said
        while text not in said:
            said += os.read(ours, 4096)
        said = said.partition(text)[2]

    until(b"tcplab> ")
    os.write(ours, b"h1 echo be''gun; sleep 1000; echo ov''er $?\n")
    until(b"begun")
    os.write(ours, b"\x03")
    until(b"tcplab> ")
    os.write(ours, b"h2 head -n 1; echo the''re\n")  # what is typed is the program's
    os.write(ours, b"some words\n")
    until(b"some words")
    until(b"there")
    until(b"tcplab> ")
    os.write(ours, b"h1 pi\x7f\x7fecho al''ive\n")
    until(b"alive")
    until(b"tcplab> ")
    os.write(ours, b"exit\n")
    assert process.wait(30) == 0
    os.close(ours)
    assert "h2 head -n 1" in (tmp_path / "state" / "tcplab" / "shell_history").read_text()


def _take_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)

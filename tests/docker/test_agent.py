"""The agent, without any container: in a network namespace."""

from __future__ import annotations

import dataclasses
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from lab.backends.docker import reach
from lab.backends.docker.job import Job
from lab.topology.loader import topology_from_text
from nodes.agent.line import LineReader, pack
from nodes.base.events import LEVEL_ALL
from tests.namespaces import Namespace

pytestmark = pytest.mark.requires("root")

COMMAND: Final = [sys.executable, "-P", "-m", "lab.cli.main", "agent"]
TOPOLOGY: Final = topology_from_text("nodes: {h1: host}\n")


def job(**more: Any) -> Job:
    made = Job("mine", "h1", TOPOLOGY.spec, 1, time.monotonic_ns(), LEVEL_ALL, False)
    return dataclasses.replace(made, **more)


def say(line: socket.socket) -> dict[str, Any]:
    """The next message, not counting events."""
    reader = LineReader(line)
    while True:
        for message in reader.read():
            if "records" not in message:
                return message
        assert not reader.ended
        assert select.select((line,), (), (), 20)[0]


class Running:
    """An agent in a namespace of its own. `lines` are what it has printed that was waited for."""

    def __init__(self, *arguments: str) -> None:
        self.space = Namespace()
        with self.space.entered():
            self.process = subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, text=True)

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def check(self, *arguments: str) -> tuple[int, str]:
        with self.space.entered():
            done = subprocess.run([*COMMAND, "--check", *arguments], capture_output=True, text=True)
        return done.returncode, done.stdout.strip()

    def connect(self, one: Job) -> socket.socket:
        return self.space.call(reach.connect, one)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(20)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.space.close()
        return code


@pytest.fixture
def running() -> Iterator[Running]:
    one = Running()
    assert one.line().endswith("waiting for a lab")
    yield one
    assert one.stop() == 0


def test_checks_by_exit_code(running: Running) -> None:
    assert running.check() == (0, "waiting for a lab")
    assert running.check("--networked") == (1, "waiting for a lab")
    with running.connect(job()) as line:
        assert say(line) == {"say": "ready"}
        assert running.check("--networked") == (0, "node h1 of lab mine")
    elsewhere = subprocess.run([*COMMAND, "--check"], capture_output=True, text=True)
    assert (elsewhere.returncode, elsewhere.stdout) == (1, "no agent answers here\n")


def test_it_does_one_job_after_another(running: Running) -> None:
    for lab in ("one", "two"):
        with running.connect(job(lab=lab)) as line:
            assert say(line) == {"say": "ready"}
            line.sendall(pack({"id": 1, "call": "statuses", "args": {}}))
            assert say(line) == {"id": 1, "value": []}
        assert running.line() == f"lab {lab}: this is node h1; no interfaces"
        assert running.line() == f"lab {lab}: node h1 has ended; waiting for a lab"


def test_a_second_lab_is_refused_while_the_first_goes_on(running: Running) -> None:
    with running.connect(job()) as first:
        assert say(first) == {"say": "ready"}
        with running.connect(job(lab="other")) as second:
            refused = say(second)
        assert refused["say"] == "failed"
        assert "node h1 of lab mine" in refused["error"]["message"]
        first.sendall(pack({"id": 1, "call": "statuses", "args": {}}))
        assert say(first) == {"id": 1, "value": []}


def test_another_version_is_refused(running: Running) -> None:
    with running.connect(job(version="0.0.0")) as line:
        refused = say(line)
    assert "make image" in refused["error"]["message"]
    assert running.check() == (0, "waiting for a lab")


def test_a_job_that_cannot_be_done_says_why(running: Running) -> None:
    with running.connect(job(topology={"nodes": {"h1": {"kind": "none"}}})) as line:
        failed = say(line)
    assert (failed["say"], failed["error"]["class"]) == ("failed", "InvalidArgument")
    assert "FAILED" in running.line()
    assert running.line().endswith("waiting for a lab")


def test_what_is_no_job_does_no_harm(running: Running) -> None:
    for data in (b"", b"\xc1", b"GET / HTTP/1.0\r\n\r\n", pack({"job": {}}), pack({"job": 1}), pack({"other": 1})):
        with running.space.call(socket.socket, socket.AF_UNIX) as line:
            line.connect("\0tcplab-agent")
            line.sendall(data)
            line.shutdown(socket.SHUT_WR)
            while line.recv(4096):
                pass
    assert running.check() == (0, "waiting for a lab")


def test_one_is_enough_for_a_place(running: Running) -> None:
    with running.space.entered():
        done = subprocess.run(COMMAND, capture_output=True, text=True)
    assert (done.returncode, "already" in done.stderr) == (3, True)


def test_it_listens_where_it_is_told_to(tmp_path: Path) -> None:
    place = str(tmp_path / "agent")
    for _ in range(2):  # the second takes the place of the first, which was killed
        one = Running("--socket", place)
        assert one.line().endswith("waiting for a lab")
        assert one.check("--socket", place) == (0, "waiting for a lab")
        assert one.check()[0] == 1
        one.process.kill()
        one.stop()

"""What a controller and `tcplab reap` take for theirs: a socket nobody serves on, entries of the journal."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.server import journal
from lab.server.claim import claim
from lab.server.reap import ended_directories, reap
from nodes.base.errors import FailedPrecondition
from nodes.base.processes import Process
from tcplab.v1 import lab_pb2
from tests.server.api import Api, Server
from tests.server.test_processes import wait_for


def test_a_socket_of_another_kind_is_somebody_elses(tmp_path: Path) -> None:
    """As /dev/log is, of datagrams."""
    path = tmp_path / "log"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as theirs:
        theirs.bind(str(path))
        assert reap(tmp_path / "state", path) == []
        with pytest.raises(FailedPrecondition, match="serves there already"):
            claim(path)
        assert path.is_socket()
    assert [one.what for one in reap(tmp_path / "state", path)] == ["socket"]
    assert not path.exists()


def test_a_controller_that_ends_leaves_the_socket_of_the_next(tmp_path: Path) -> None:
    """Somebody removed the first one's, so there are two."""
    (tmp_path / "2").mkdir()
    first = Server(tmp_path)
    first.socket.unlink()
    second = Server(tmp_path / "2", "--socket", str(first.socket))
    try:
        first.process.send_signal(signal.SIGTERM)
        assert first.stop() == 0
        assert list(Api(second.address).labs.ListLabs(lab_pb2.ListLabsRequest()).labs) == []
    finally:
        second.stop()
    assert not first.socket.exists()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.fixture
def running() -> Iterator[Process]:
    with subprocess.Popen(["sleep", "infinity"]) as sleeping:
        process = Process.of(sleeping.pid)
        assert process is not None
        yield process
        sleeping.kill()


def entry(state: Path, process: Process, **more: object) -> Path:
    """Of a lab, as another version might write it."""
    path = state / f"{process.pid}-{process.start}"
    path.mkdir(parents=True)
    content = {"path": None, "process": dataclasses.asdict(process), "lab": "demo", "started": 1.0, **more}
    (path / "journal.json").write_text(json.dumps(content))
    return path


def test_an_entry_that_cannot_be_read_is_not_for_reap_while_its_process_runs(tmp_path: Path, running: Process) -> None:
    """It is just being written, say."""
    path = tmp_path / f"{running.pid}-{running.start}"
    path.mkdir()
    (found,) = reap(tmp_path, tmp_path / "s")
    assert (found.stays, "is being made" in found.why) == (True, True)
    assert running.running and path.exists()


@pytest.mark.parametrize("text", ["", "[]", "null", '{"process": 5}', "\xff", "started", "controller", "lab"])
def test_an_entry_that_makes_no_sense_is_known_by_its_name(tmp_path: Path, running: Process, text: str) -> None:
    """None of them keeps the others from being read."""
    field = text in ("started", "controller", "lab")
    path = entry(tmp_path, running, **{text: None} if field else {})
    if not field:
        (path / "journal.json").write_text(text)
    entry(tmp_path, dataclasses.replace(running, start=1), lab="other")
    found = {one.process.start: one.lab for one in journal.owned_in(tmp_path)}
    assert found == {1: "other", running.start: ""}


def test_a_journal_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    with pytest.raises(FailedPrecondition, match="cannot be read"):
        reap(tmp_path / "state", tmp_path / "s")


def test_an_entry_of_a_later_version_is_understood(tmp_path: Path, running: Process) -> None:
    """Its controller serves, so its lab stays, whatever else is said of it."""
    with socket.socket(socket.AF_UNIX) as controller:
        controller.bind(str(tmp_path / "c"))
        controller.listen()
        entry(tmp_path / "state", running, controller=str(tmp_path / "c"), unheard_of={"in": 2030})
        (found,) = reap(tmp_path / "state", tmp_path / "s")
    assert (found.stays, found.name) == (True, "demo")
    assert running.running


def test_whose_entry_it_is(tmp_path: Path, running: Process) -> None:
    """Of another boot, of another pid namespace as of the container before this one, and of one that had the number."""
    boot, _, namespace = running.machine.partition(" ")
    entry(tmp_path, dataclasses.replace(running, start=5, machine=f"{boot} pid:[1]"))
    entry(tmp_path, dataclasses.replace(running, start=6, machine=f"another-boot {namespace}"))
    assert journal.owned_by(tmp_path, running.pid) is None
    entry(tmp_path, dataclasses.replace(running, start=7))
    ours = entry(tmp_path, running)
    found = journal.owned_by(tmp_path, running.pid)
    assert found is not None and found.path == ours


def test_what_a_killed_client_left_is_removed_when_its_controller_has_ended(tmp_path: Path) -> None:
    program = (
        "from tcplab.client.process import PrivateController; one = PrivateController()\n"
        "print(one.address, one.pid, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": "/tmp"},
    ) as client:
        assert client.stdin is not None and client.stdout is not None
        address, pid = client.stdout.readline().split()
        directory = Path(address.removeprefix("unix:")).parent
        assert directory not in ended_directories()
        client.kill()
    wait_for(int(pid))
    assert directory in ended_directories()
    shutil.rmtree(directory)


def test_the_directory_of_a_client_that_forked_stays_while_its_controller_serves() -> None:
    """As of a program that became a daemon."""
    program = "from nodes.base.processes import owned_name; print(owned_name())"
    name = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True).stdout.strip()
    directory = Path("/tmp") / f"{name}-test"
    directory.mkdir()
    try:
        with socket.socket(socket.AF_UNIX) as controller:
            controller.bind(str(directory / "socket"))
            controller.listen()
            assert directory not in ended_directories()
        assert directory in ended_directories()
    finally:
        shutil.rmtree(directory)


def test_an_entry_of_another_machine_stays(tmp_path: Path, running: Process) -> None:
    """Of the same home directory, mounted there."""
    there = dataclasses.replace(running, machine="another-boot pid:[4026531836]", host="1" * 32)
    before = dataclasses.replace(there, host=running.host, start=1)
    for one in (there, before):
        entry(tmp_path, one)
    stays = {Path(found.path).name: found.stays for found in reap(tmp_path, tmp_path / "s", dry_run=True)}
    assert stays == {f"{running.pid}-{running.start}": running.host != "", f"{running.pid}-1": False}

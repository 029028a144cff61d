"""Private controllers come and go with their program: no process, no socket and no file of theirs is left."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import tcplab.client
from tcplab.client import Controller

PATIENCE_MS = 20_000
SCRIPT = """
import sys, tcplab.client
with tcplab.client.lab("pair") as lab:
    lab.node("h2").listen(80)
    print("ready", flush=True)
    sys.stdin.readline()
"""


def descendants(mark: str) -> list[int]:
    """Processes whose environment has our mark, however they are related to us."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and f"TCPLAB_TEST_MARK={mark}\0".encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:  # it has just ended
            continue
    return found


def program(directory: Path) -> subprocess.Popen[str]:
    """A program inside a lab of its own, waiting for a line."""
    environment = {**os.environ, "TCPLAB_TEST_MARK": str(directory), "TMPDIR": str(directory)}
    started = subprocess.Popen(
        [sys.executable, "-c", SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    assert started.stdout is not None
    assert started.stdout.readline() == "ready\n"
    return started


def wait_for_end(pids: list[int]) -> None:
    for pid in pids:
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        assert poll.poll(PATIENCE_MS), f"{pid} goes on"
        os.close(descriptor)


def test_nothing_is_left(tmp_path: Path) -> None:
    with program(tmp_path) as running:
        assert len(descendants(str(tmp_path))) >= 2
        running.communicate("go\n")
    assert running.returncode == 0
    assert descendants(str(tmp_path)) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_outlives_a_program_that_is_killed(tmp_path: Path, signum: signal.Signals) -> None:
    with program(tmp_path) as running:
        pids = descendants(str(tmp_path))
        assert len(pids) >= 2
        running.send_signal(signum)
        running.wait()
        wait_for_end([pid for pid in pids if pid != running.pid])
    assert descendants(str(tmp_path)) == []
    assert [path for path in tmp_path.rglob("*") if path.is_socket()] == []


def test_interrupt_of_the_whole_terminal(tmp_path: Path) -> None:
    """Ctrl-C goes to the program's process group; its lab is deleted all the same, and no other error is seen."""
    environment = {**os.environ, "TCPLAB_TEST_MARK": str(tmp_path), "TMPDIR": str(tmp_path)}
    running = subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )
    with running:
        assert running.stdout is not None
        assert running.stderr is not None
        assert running.stdout.readline() == "ready\n"
        os.killpg(running.pid, signal.SIGINT)
        errors = running.stderr.read()
    assert errors.strip().endswith("KeyboardInterrupt")
    assert "Unavailable" not in errors
    assert descendants(str(tmp_path)) == []
    assert list(tmp_path.iterdir()) == []


def test_a_controller_that_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls say that it is gone, and its labs go with it."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("TCPLAB_TEST_MARK", str(tmp_path))
    with Controller(private=True) as controller:
        lab = controller.create_lab("pair")
        pids = descendants(str(tmp_path))
        assert controller.pid in pids
        os.kill(controller.pid, signal.SIGKILL)
        with pytest.raises(tcplab.client.Unavailable):
            lab.advance("1s")
        wait_for_end(pids)
    assert descendants(str(tmp_path)) == []
    assert list(tmp_path.iterdir()) == []


def test_a_running_controller_is_used(controller: Controller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TCPLAB_ADDRESS", controller.address)
    with tcplab.client.lab("pair", name="mine"):
        assert [lab.name for lab in controller.labs()] == ["mine"]
    assert controller.labs() == []


def test_without_the_controller_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain `pip install tcplab` lacks what the controller needs, such as typer: the words say what to install."""
    (tmp_path / "typer.py").write_text("raise ModuleNotFoundError(\"No module named 'typer'\", name='typer')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(tcplab.client.Unavailable, match=r"pip install tcplab\[sim\]"), tcplab.client.lab("pair"):
        pass

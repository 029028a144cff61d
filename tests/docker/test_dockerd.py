"""The daemon of these tests leaves nothing on the machine, however the tests end."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dockerd import ROOT, Dockerd

pytestmark = pytest.mark.requires("docker")

#: Tests that are killed while a container runs, which Docker is to start again whenever it ends.
KILLED = """
import os, signal
from tests.dockerd import Dockerd

daemon = Dockerd()
daemon.docker("run", "--detach", "--restart=always", daemon.load_base(), "sleep", "infinity")
print(daemon.directory, daemon.keeper, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def left_of(directory: Path) -> Iterator[str]:
    """Processes, control groups, mounts and files of a daemon."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            text = (process / "cgroup").read_text() + (process / "cmdline").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if directory.name in text:
            yield f"process {process.name}: {text}"
    yield from (str(path) for path in Path("/sys/fs/cgroup").glob(f"**/{directory.name}"))
    if directory.name in Path("/proc/self/mountinfo").read_text():
        yield "a mount"
    if directory.exists():
        yield str(directory)


def test_nothing_is_left_when_the_tests_are_killed(dockerd: Dockerd) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert killed.returncode == -signal.SIGKILL
    directory, keeper = killed.stdout.split()
    try:
        ended = os.pidfd_open(int(keeper))
    except ProcessLookupError:
        pass
    else:
        assert select.select([ended], [], [], 60)[0]
        os.close(ended)
    assert list(left_of(Path(directory))) == []
    assert {what.partition(" ")[0] for what in left_of(dockerd.directory)} >= {"process", str(dockerd.directory)}


def test_one_that_does_not_start_says_why() -> None:
    with pytest.raises(RuntimeError, match="unknown flag: --nonsense"):
        Dockerd("--nonsense")

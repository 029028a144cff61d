"""Containers of labs that were killed are removed, by whoever looks first; no others are."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nodes.base.processes import Process, owned_name
from tcplab.client import Controller, Lab, errors
from tests.docker.conftest import Docker, until
from tests.server.api import Server
from tests.server.test_processes import wait_for

pytestmark = pytest.mark.requires("root", "docker")

PAIR = "nodes: {h1: host, h2: {kind: linux}}\nlinks: [h1-h2]\n"


class Machine:
    """Controllers one after the other, with one journal. Killed, none has a chance to clean up."""

    def __init__(self, docker: Docker, directory: Path) -> None:
        self.docker = docker
        self.directory = directory
        self.environment = {"DOCKER_HOST": docker.daemon.environment["DOCKER_HOST"]}
        self.server: Server | None = None

    def serve(self) -> Controller:
        (self.directory / "s").unlink(missing_ok=True)
        self.server = Server(self.directory, **self.environment)
        return Controller(self.server.address)

    def labs(self) -> list[int]:
        """Processes of labs, by the journal."""
        state = self.directory / "state"
        return [int(one.name.partition("-")[0]) for one in state.iterdir()] if state.exists() else []

    def kill(self) -> None:
        assert self.server is not None
        self.server.process.kill()
        self.server.process.wait()
        self.close()

    def close(self) -> None:
        if self.server is not None:
            server, self.server = self.server, None
            assert server.process.stdin is not None and server.process.stdout is not None
            server.process.stdin.close()
            server.process.wait(30)
            server.process.stdout.close()

    def reap(self, *options: str) -> Any:
        where = ["--state", str(self.directory / "state"), "--socket", str(self.directory / "s")]
        done = subprocess.run(
            [sys.executable, "-P", "-m", "lab.cli.main", "reap", *where, "--json", *options],
            env={**os.environ, "TMPDIR": str(self.directory / "tmp"), **self.environment},
            capture_output=True,
            check=True,
            text=True,
        )
        return json.loads(done.stdout)


@pytest.fixture
def machine(docker: Docker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    machine = Machine(docker, tmp_path_factory.mktemp("own"))
    yield machine
    machine.close()
    for pid in Server.processes_marked(str(machine.directory)):  # of a test that failed
        os.kill(pid, signal.SIGKILL)


@pytest.fixture(autouse=True)
def bystanders(docker: Docker) -> Iterator[list[str]]:
    """Containers that are nobody's, another living process's, or of another machine's."""
    owners = ("", owned_name(), "tcplab-1-1-1", "somebody")
    made = [
        docker.run(
            "run", "-d", "--network=none", "--label=tcplab.lab=mine",
            *([f"--label=tcplab.owner={owner}"] if owner else []), docker.base, "sleep", "infinity",
        ).strip()
        for owner in owners
    ]  # fmt: skip
    yield made
    found = docker.run("ps", "--quiet", "--no-trunc").split()
    docker.run("rm", "-f", *found)
    assert sorted(found) == sorted(made)


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    wait_for(pid)


def containers(docker: Docker, lab: str) -> list[str]:
    return docker.run("ps", "--all", "--quiet", f"--filter=label=tcplab.lab={lab}").split()


def make(controller: Controller, name: str, **more: Any) -> Lab:
    return controller.create_lab(
        PAIR, backend="docker", name=name, level="states", capture=False, **{"on_controller_loss": "keep", **more}
    )


def test_the_controller_removes_what_a_killed_lab_had(machine: Machine, docker: Docker) -> None:
    with machine.serve() as controller:
        lab = make(controller, "killed")
        assert len(containers(docker, "killed")) == 2
        (pid,) = machine.labs()
        kill(pid)
        until(lab, lambda found: bool(found.failure))
        assert containers(docker, "killed") == []
        lab.delete()
        with make(controller, "killed") as again:  # the name is free
            assert again.node("h1").ping("h2").received == 1


def test_reap_removes_containers_of_dead_labs_alone(machine: Machine, docker: Docker) -> None:
    with machine.serve() as controller:
        make(controller, "first")
        make(controller, "second")
    machine.kill()
    first, second = machine.labs()
    assert len(containers(docker, "first")) == len(containers(docker, "second")) == 2
    kill(first)
    found = [one for one in machine.reap("--dry-run") if one["what"] == "container"]
    names = {one["name"] for one in found}
    assert len(names) == 2
    assert Process.of(second) is not None
    machine.reap()
    assert containers(docker, "first") == containers(docker, "second") == []
    assert Process.of(second) is None
    assert machine.reap() == []


def test_the_next_start_removes_them(machine: Machine, docker: Docker) -> None:
    with machine.serve() as controller:
        make(controller, "left")
    machine.kill()
    (pid,) = machine.labs()
    kill(pid)
    assert len(containers(docker, "left")) == 2
    with machine.serve() as controller:
        assert containers(docker, "left") == []
        (lab,) = controller.labs()
        assert "no controller" in lab.info().failure


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_lab_that_is_killed_while_it_is_made_leaves_nothing(machine: Machine, docker: Docker, count: int) -> None:
    """When its first containers are there, and later."""
    with machine.serve() as controller:
        text = "nodes: {h1: host, h2: linux, h3: host, h4: linux}\nlinks: [h1-h2, h2-h3, h3-h4]\n"
        with subprocess.Popen(
            ["docker", "events", "--filter=event=start", f"--filter=label=tcplab.lab=half-{count}", "--format={{.ID}}"],
            env=docker.daemon.environment,
            stdout=subprocess.PIPE,
        ) as events:

            def strike() -> None:
                assert events.stdout is not None
                for _ in range(count):
                    events.stdout.readline()
                kill(machine.labs()[0])

            striking = threading.Thread(target=strike)
            striking.start()
            with contextlib.suppress(errors.Error):
                controller.create_lab(text, backend="docker", name=f"half-{count}")
                raise AssertionError("it was not killed")
            striking.join()
            events.kill()
        assert containers(docker, f"half-{count}") == []
        assert machine.labs() == []


def test_a_lab_goes_on_without_its_controller(machine: Machine, docker: Docker) -> None:
    with machine.serve() as controller:
        make(controller, "kept")
    machine.kill()
    node = docker.run("ps", "--quiet", "--filter=label=tcplab.lab=kept", "--filter=label=tcplab.node=h2").strip()
    docker.run("restart", "--time=1", node)  # nobody but the lab sees to it now
    with machine.serve() as controller:
        lab = controller.lab("kept")
        until(lab, lambda found: not found.failed_nodes)
        assert lab.node("h1").ping("h2").received == 1
        lab.delete()
        assert containers(docker, "kept") == []


def test_a_lab_that_is_to_be_removed_ends_with_its_controller(machine: Machine, docker: Docker) -> None:
    with machine.serve() as controller:
        make(controller, "gone", on_controller_loss="remove")
    (pid,) = machine.labs()
    machine.kill()
    wait_for(pid)
    assert containers(docker, "gone") == []

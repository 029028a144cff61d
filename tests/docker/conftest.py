"""A private Docker daemon with our image and a small Debian, and a controller that uses it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tcplab.client import Controller, Lab
from tcplab.v1 import lab_pb2
from tests.dockerd import Dockerd
from tests.server.api import Server


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker("real_time")


@dataclass
class Docker:
    """A controller, and what Docker says. `base` is an image that is not ours."""

    daemon: Dockerd
    server: Server
    controller: Controller
    base: str

    def lab(self, topology: str, **more: Any) -> Lab:
        return self.controller.create_lab(topology, backend="docker", **more)

    def run(self, *arguments: str) -> str:
        """What the docker command prints."""
        return self.daemon.docker(*arguments)

    def name(self, lab: Lab, node: str) -> str:
        """The name of a node's container."""
        return self.run(
            "ps",
            "--all",
            "--format={{.Names}}",
            f"--filter=label=tcplab.lab={lab.name}",
            f"--filter=label=tcplab.node={node}",
        ).strip()

    def inspect(self, container: str) -> Any:
        (found,) = json.loads(self.run("inspect", container))
        return found

    def all(self) -> list[str]:
        """Names of all containers there are."""
        return sorted(self.run("ps", "--all", "--format={{.Names}}").split())


def until(lab: Lab, wanted: Callable[[lab_pb2.Lab], bool]) -> lab_pb2.Lab:
    """The lab as soon as it is so."""
    for found in lab.watch():
        if wanted(found):
            return found
    raise AssertionError("it never came to that")


def restart(docker: Docker, lab: Lab, node: str) -> None:
    """Kill a node's container and start it again; returns when the lab has the node again."""
    docker.run("kill", docker.name(lab, node))
    until(lab, lambda found: node in found.failed_nodes)
    docker.run("start", docker.name(lab, node))
    until(lab, lambda found: node not in found.failed_nodes)


@pytest.fixture(scope="session")
def docker(dockerd: Dockerd, tcplab_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Docker]:
    """In the end nothing is left of any lab."""
    base = dockerd.load_base()
    server = Server(tmp_path_factory.mktemp("docker"), DOCKER_HOST=dockerd.environment["DOCKER_HOST"])
    with Controller(server.address) as controller:
        yield Docker(dockerd, server, controller, base)
    assert server.stop() == 0
    assert dockerd.docker("ps", "--all", "--quiet", "--filter=label=tcplab.owner") == ""

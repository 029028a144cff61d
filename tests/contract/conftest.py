"""Every test that asks for `under` is made for each backend of the catalogue: a new one is tested by being there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pytest

from lab.backends.catalogue import BACKENDS, REAL
from tcplab.client import Controller
from tests.contract.under import PAIR, Pair, Under
from tests.server.api import Api, Server

#: What the tests of a backend need of the machine.
NEEDS: Final = {
    "netns": ("root",),
    "mininet": ("root", "mn", "brctl", "ovs-vswitchd"),
    "docker": ("root", "docker"),
}


def marked(backend: str) -> Any:
    """The backend as a parameter, with the marks of its tests."""
    marks = (pytest.mark.real_time, pytest.mark.requires(*NEEDS.get(backend, ("root",)))) if backend in REAL else ()
    return pytest.param(backend, marks=marks)


@pytest.fixture(scope="session", params=[marked(name) for name in BACKENDS])
def under(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Under]:
    """A backend and a controller. In the end, nothing is left of either."""
    backend = request.param
    dockerd = request.getfixturevalue("dockerd") if backend == "docker" else None
    environment = {}
    if dockerd is not None:
        request.getfixturevalue("tcplab_image")
        environment["DOCKER_HOST"] = dockerd.environment["DOCKER_HOST"]
    server = Server(tmp_path_factory.mktemp("con"), "--allow-code", **environment)
    with Controller(server.address) as controller:
        under = Under(backend, server, controller, Api(server.address), dockerd)
        (found,) = [one for one in controller.backends() if one.name == backend]
        assert found.available, found.reason
        under.capabilities = {one.name: one for one in found.capabilities}
        yield under
        assert under.left() == {}
        assert server.stop() == 0
        assert server.processes() == []
        assert list(server.private.iterdir()) == []


@pytest.fixture(scope="module")
def shared_pair(under: Under) -> Iterator[Pair]:
    with under.lab(PAIR, level="all") as lab:
        yield Pair(lab, under.api)


@pytest.fixture
def pair(shared_pair: Pair) -> Iterator[Pair]:
    """Two hosts and a link that is as without anything asked of it."""
    shared_pair.reset()
    yield shared_pair
    shared_pair.reset()

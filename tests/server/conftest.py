"""One controller for the tests that do not start their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tcplab.v1 import lab_pb2
from tests.server.api import Api, Server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("srv"))
    yield server
    assert server.stop() == 0
    assert server.processes() == []
    assert not server.socket.exists()
    assert list(server.private.iterdir()) == []


@pytest.fixture(scope="session")
def shared(server: Server) -> Api:
    return Api(server.address)


@pytest.fixture
def api(server: Server, shared: Api) -> Iterator[Api]:
    """A controller without labs; those that the test leaves are deleted, and no process of theirs stays."""
    before = server.processes()
    yield shared
    for lab in shared.labs.ListLabs(lab_pb2.ListLabsRequest()).labs:
        shared.delete(lab.name)
    assert server.processes() == before


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Server]:
    """A controller of one's own, to be treated badly."""
    server = Server(tmp_path)
    yield server
    if server.process.poll() is None:
        server.stop()
    else:
        assert server.process.stdin is not None and server.process.stdout is not None
        server.process.stdin.close()
        server.process.stdout.close()

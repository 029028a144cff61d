"""Opening between our TCP and Linux's, both ways: SYN cookies, Fast Open, simultaneous open."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.backends.base import Lab
from lab.backends.catalogue import make_lab
from lab.backends.until import Until
from lab.topology.loader import topology_from_mapping
from nodes.agent.payload import Payload
from nodes.base.clock import MILLISECOND, SECOND
from nodes.base.events import LEVEL_STATES

pytestmark = pytest.mark.requires("root")

OURS = "h1"
KERNEL = "h2"
NODES = (OURS, KERNEL)
PATIENCE = 30 * SECOND

Make = Callable[..., Lab]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes a lab of h1 (ours) and h2 (Linux) with these parameters at each."""
    labs: list[Lab] = []

    def make(ours: dict[str, int | str], kernel: dict[str, int | str]) -> Lab:
        description = {
            "nodes": {OURS: {"kind": "host", "parameters": ours}, KERNEL: {"kind": "linux", "parameters": kernel}},
            "links": [{"endpoints": f"{OURS}-{KERNEL}"}],
        }
        lab = make_lab(
            "netns", "opening", topology_from_mapping(description), 1, tmp_path / "spool", LEVEL_STATES, False
        )
        labs.append(lab)
        return lab

    yield make
    for lab in labs:
        lab.close_lab()


def other(node: str) -> str:
    return KERNEL if node == OURS else OURS


def transfer(lab: Lab, sender: str, sending: int, receiving: int, payload: Payload) -> None:
    """All of the payload arrives unaltered."""
    size = payload.length
    got = lab.receive(other(sender), receiving, max_bytes=size, min_bytes=size, keep=False, timeout_ns=PATIENCE)
    lab.wait(lab.send(sender, sending, payload, timeout_ns=PATIENCE), got)
    assert (got.result.length, got.result.sha256) == (size, payload.sha256())


@pytest.mark.parametrize("server", NODES)
@pytest.mark.parametrize("timestamps", [1, 0])
def test_syn_cookies(make: Make, server: str, timestamps: int) -> None:
    """With timestamps all options survive, without them only the MSS; every byte arrives both ways."""
    parameters: dict[str, dict[str, int | str]] = {
        server: {"tcp_syncookies": 2},
        other(server): {"tcp_timestamps": timestamps},
    }
    lab = make(parameters[OURS], parameters[KERNEL])
    listener = lab.listen(server, 80)
    accepted = lab.accept(server, listener.number, timeout_ns=PATIENCE)
    opened = lab.open(other(server), server, 80, timeout_ns=PATIENCE)
    lab.wait(opened, accepted)
    expected = {"timestamps", "sack", "wscale"} if timestamps else set()
    for node, number in ((server, accepted.connection), (other(server), opened.connection)):
        assert {"timestamps", "sack", "wscale"} & set(lab.status(node, number).options) == expected
    counters = lab.counters(server)
    assert (counters["TcpExtSyncookiesSent"], counters["TcpExtSyncookiesRecv"]) == (1, 1)
    payload = Payload(bytes(range(251)), 1_000_000)
    transfer(lab, server, accepted.connection, opened.connection, payload)
    transfer(lab, other(server), opened.connection, accepted.connection, payload)


@pytest.mark.parametrize("server", NODES)
def test_fast_open(make: Make, server: str) -> None:
    """The first connection brings a cookie, the second one's SYN the data, which the server takes."""
    lab = make({"tcp_fastopen": 3}, {"tcp_fastopen": 3})
    client = other(server)
    listener = lab.listen(server, 80, options={"TCP_FASTOPEN": 16})
    for number in (1, 2):
        accepted = lab.accept(server, listener.number, timeout_ns=PATIENCE)
        opened = lab.open(client, server, 80, options={"TCP_FASTOPEN_CONNECT": 1}, timeout_ns=PATIENCE)
        lab.wait(opened)
        sent = lab.send(client, opened.connection, Payload.of(b"request"), timeout_ns=PATIENCE)
        lab.wait(sent, accepted)
        got = lab.receive(server, accepted.connection, max_bytes=7, min_bytes=7, timeout_ns=PATIENCE)
        lab.wait(got)
        assert got.result.data == b"request"
        lab.advance(Until(time_ns=lab.now() + 50 * MILLISECOND))
        assert lab.counters(server)["TcpExtTCPFastOpenPassive"] == number - 1
        assert lab.counters(client)["TcpExtTCPFastOpenActive"] == number - 1
        transfer(lab, server, accepted.connection, opened.connection, Payload(b"response", 100_000))
        lab.close(client, opened.connection)
        lab.close(server, accepted.connection)

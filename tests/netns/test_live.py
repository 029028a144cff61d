"""A live stack on a real interface: what it asks of it, and what the kernel's programs see."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nodes.base.errors import FailedPrecondition, NotFound
from nodes.live.stack import LiveStack
from tests.namespaces import Namespace, veth

pytestmark = pytest.mark.requires("root")

OURS = "10.0.0.1"
THEIRS = "10.0.0.2"


@pytest.fixture
def ends() -> Iterator[tuple[Namespace, Namespace]]:
    """Two namespaces on one wire; the kernel has an address in the second."""
    ours, theirs = Namespace(), Namespace()
    veth(ours, theirs, mtu=1400)
    theirs.address("eth0", THEIRS, 24)
    yield ours, theirs
    ours.close()
    theirs.close()


def test_it_takes_mac_and_mtu_from_the_interface(ends: tuple[Namespace, Namespace]) -> None:
    ours, theirs = ends
    with (
        ours.call(LiveStack, "eth0", f"{OURS}/24") as net,
        net.create_server(("", 80)) as listener,
        theirs.call(socket.socket) as client,
        ThreadPoolExecutor() as pool,
    ):
        accepting = pool.submit(listener.accept)
        client.connect((OURS, 80))
        accepted, peer = accepting.result(10)
        with accepted:
            assert peer == client.getsockname()
            assert accepted.info().pmtu == 1400
            assert client.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) == 1400 - 40 - 12
            accepted.sendall(b"from ours")
            assert client.recv(100) == b"from ours"
    with theirs.entered():
        arp = Path("/proc/thread-self/net/arp").read_text()
    assert ours.mac("eth0").hex(":") in arp


def test_interfaces_it_cannot_be_on(ends: tuple[Namespace, Namespace]) -> None:
    ours, theirs = ends
    with pytest.raises(NotFound, match="eth0"):
        ours.call(LiveStack, "eth9", f"{OURS}/24")
    with pytest.raises(FailedPrecondition, match=rf"the kernel has the address {THEIRS} on eth0"):
        theirs.call(LiveStack, "eth0", "10.0.0.3/24")
    ours.up("eth0", False)
    with pytest.raises(FailedPrecondition, match="eth0 is down"):
        ours.call(LiveStack, "eth0", f"{OURS}/24")


def test_nothing_waits_for_a_wire_that_is_gone(ends: tuple[Namespace, Namespace]) -> None:
    ours, theirs = ends
    with ours.call(LiveStack, "eth0", f"{OURS}/24", parameters={"retrans_time_ms": 20}) as net:
        theirs.up("eth0", False)
        with net.socket() as client, pytest.raises(OSError, match=r"No route to host|timed out"):
            client.settimeout(10)
            client.connect((THEIRS, 80))

"""A live stack on a real interface: what it asks of it, and what the kernel's programs see."""

from __future__ import annotations

import fcntl
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from nodes.base.errors import FailedPrecondition, NotFound
from nodes.live.bsd import Socket
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


def _accepted(listener: Socket, client: socket.socket) -> tuple[Socket, Any]:
    """The kernel's `client` connects to us: our end, and what we take for the peer."""
    with ThreadPoolExecutor() as pool:
        accepting = pool.submit(listener.accept)
        client.connect((OURS, 80))
        return accepting.result(10)


def test_it_takes_mac_and_mtu_from_the_interface(ends: tuple[Namespace, Namespace]) -> None:
    ours, theirs = ends
    with (
        ours.call(LiveStack, "eth0", f"{OURS}/24") as net,
        net.create_server(("", 80)) as listener,
        theirs.call(socket.socket) as client,
    ):
        accepted, peer = _accepted(listener, client)
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


def test_urgent_data_both_ways(ends: tuple[Namespace, Namespace]) -> None:
    """Whatever the kernel says of what we send, we say of what it sends: each step is asked of both."""
    ours, theirs = ends
    with (
        ours.call(LiveStack, "eth0", f"{OURS}/24") as net,
        net.create_server(("", 80)) as listener,
        theirs.call(socket.socket) as client,
    ):
        accepted, _ = _accepted(listener, client)
        with accepted:
            for one in (client, accepted):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            told = [_urgent(client, accepted, lambda: accepted.sockatmark()), _urgent(accepted, client, _at(client))]
            assert told[0] == told[1]
            assert told[0][:4] == [b"abc", True, b"!", b"def"]


def _at(one: socket.socket) -> Callable[[], bool]:
    return lambda: fcntl.ioctl(one, 0x8905, bytes(4)) != bytes(4)


def _urgent(sender: Any, receiver: Any, at_mark: Callable[[], bool]) -> list[Any]:
    """What `receiver` sees of urgent data from `sender`, step by step."""
    found: list[Any] = []
    sender.sendall(b"abc")
    sender.send(b"!", socket.MSG_OOB)
    sender.sendall(b"def")
    _wait(receiver, 7)
    found += [receiver.recv(100), at_mark(), receiver.recv(1, socket.MSG_OOB), receiver.recv(100), at_mark()]
    sender.send(b"many?", socket.MSG_OOB)
    sender.sendall(b"end")
    _wait(receiver, 15)
    found += [receiver.recv(100), at_mark(), receiver.recv(100), at_mark()]
    with pytest.raises(OSError) as none:
        receiver.recv(1, socket.MSG_OOB)
    found.append(none.value.errno)
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    sender.sendall(b"in")
    sender.send(b"line", socket.MSG_OOB)
    sender.sendall(b".")
    parts: list[tuple[bytes, bool]] = []
    while sum(len(part) for part, _ in parts) < 7:
        parts.append((receiver.recv(100), at_mark()))
    found += [b"".join(part for part, _ in parts), any(mark for _, mark in parts)]
    return found


def _wait(receiver: Any, size: int) -> None:
    """Until so many bytes have come, in pieces that end at a mark."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and _unread(receiver) < size:
        time.sleep(0.005)


def _unread(receiver: Any) -> int:
    if isinstance(receiver, socket.socket):
        info = receiver.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 136)
        return int.from_bytes(info[128:136], "little")
    return int(receiver.info().bytes_received)

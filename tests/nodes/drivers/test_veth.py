"""Our stack on real interfaces: with itself and with the Linux kernel."""

from __future__ import annotations

import hashlib
import random
import socket

import pytest

from nodes.agent.payload import Payload
from nodes.base.errors import NotFound
from nodes.base.real import RealScheduler
from nodes.drivers.veth import attach
from tests.namespaces import Namespace, veth
from tests.nodes.drivers.conftest import Pair
from tests.nodes.drivers.live import InThread, LiveNet
from tests.nodes.net import ip

pytestmark = pytest.mark.requires("root")

SIZE = 3_000_000
DATA = random.Random(3).randbytes(SIZE)
DIGEST = hashlib.sha256(DATA).hexdigest()


def server(namespace: Namespace, address: str = "10.0.0.2") -> socket.socket:
    """A kernel socket that listens on port 80."""
    with namespace.entered():
        return socket.create_server((address, 80))


@pytest.mark.parametrize("mtu", [576, 1500, 9000])
def test_our_stacks_in_two_namespaces_move_bytes_both_ways_at_once(mtu: int) -> None:
    one, other = Namespace(), Namespace()
    veth(one, other, mtu=mtu)
    with LiveNet() as net:
        h1, h2 = net.host(one, "10.0.0.1/24", mtu), net.host(other, "10.0.0.2/24", mtu)
        listener = h2.listen(80)
        ours = h1.start_open(ip("10.0.0.2"), 80)
        theirs, _ = net.run(h2.accept(listener), h1.established(ours))
        sent, back, there, here = net.run(
            h1.send(ours, Payload.of(DATA)),
            h2.send(theirs, Payload.of(DATA[::-1])),
            h2.receive(theirs, max_bytes=SIZE, min_bytes=SIZE, keep=False),
            h1.receive(ours, max_bytes=SIZE, min_bytes=SIZE, keep=False),
        )
        assert sent == back == SIZE
        assert there.sha256 == DIGEST
        assert here.sha256 == hashlib.sha256(DATA[::-1]).hexdigest()
        h1.close(ours)
        (end,) = net.run(h2.receive(theirs))
        assert end.eof
        h2.close(theirs)
        net.run(h2.closed(theirs))
        for port in net.ports:
            assert port.packets.statistics().checksum_missing == 0
    one.close()
    other.close()


def test_our_stack_sends_to_the_kernel(pair: Pair) -> None:
    pair.other.address("eth0", "10.0.0.2", 24)
    with server(pair.other) as listening, LiveNet() as net:
        h1 = net.host(pair.one, "10.0.0.1/24")

        def read() -> str:
            digest = hashlib.sha256()
            with listening.accept()[0] as connection:
                while data := connection.recv(1 << 20):
                    digest.update(data)
                connection.sendall(b"done")
            return digest.hexdigest()

        reader = InThread(pair.other, read)
        c = h1.start_open(ip("10.0.0.2"), 80)
        net.run(h1.established(c))
        net.run(h1.send(c, Payload.of(DATA)))
        h1.shutdown(c)
        (answer,) = net.run(h1.receive(c, max_bytes=100, min_bytes=100))
        assert (answer.data, answer.eof) == (b"done", True)
        h1.close(c)
        assert reader.result() == DIGEST


def test_the_kernel_sends_to_our_stack(pair: Pair) -> None:
    pair.other.address("eth0", "10.0.0.2", 24)
    with LiveNet() as net:
        h1 = net.host(pair.one, "10.0.0.1/24")
        listener = h1.listen(80)

        def write() -> bytes:
            with socket.create_connection(("10.0.0.1", 80), timeout=10) as connection:
                connection.sendall(DATA)
                connection.shutdown(socket.SHUT_WR)
                return connection.recv(100)

        writer = InThread(pair.other, write)
        (c,) = net.run(h1.accept(listener))
        (got,) = net.run(h1.receive(c, max_bytes=SIZE + 1, min_bytes=SIZE + 1, keep=False))
        assert (got.sha256, got.length, got.eof) == (DIGEST, SIZE, True)
        net.run(h1.send(c, Payload.of(b"thanks")))
        h1.close(c)
        net.run(h1.closed(c))
        assert writer.result() == b"thanks"


def test_a_stack_is_attached_to_all_its_interfaces_or_to_none(pair: Pair) -> None:
    with LiveNet() as net:
        h1 = net.host(pair.one, "10.0.0.1/24")
        before = h1.driver.ports
        scheduler = RealScheduler(epoch_ns=0)
        with pytest.raises(NotFound, match="eth9"):
            pair.one.call(attach, h1.driver, scheduler, ["eth0", "eth9"])
        assert h1.driver.ports is before
        scheduler.close()


def test_the_kernel_answers_our_pings(pair: Pair) -> None:
    pair.other.address("eth0", "10.0.0.2", 24)
    with LiveNet() as net:
        h1 = net.host(pair.one, "10.0.0.1/24")
        results = net.run(h1.ping(ip("10.0.0.2"), count=3, interval_ns=1_000_000))[0]
        assert [one.error for one in results] == ["", "", ""]
        assert all(one.rtt_ns > 0 for one in results)

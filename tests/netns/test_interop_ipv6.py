"""Our TCP and Linux's over IPv6, both ways: every byte, both endings, pings, path MTU discovery through our router.

Written against `Lab`, for any backend with nodes of kind linux.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from lab.backends.base import Lab
from lab.backends.catalogue import make_lab
from lab.topology.loader import topology_from_mapping
from nodes.agent.payload import Payload
from nodes.base.clock import MILLISECOND, SECOND
from nodes.base.events import LEVEL_STATES
from nodes.kernel.interfaces import interfaces
from nodes.packet.address import parse_address
from tests.netns.test_interop_kernel import KERNEL, OURS, PATIENCE, await_states, connect, eventually, other, status

pytestmark = pytest.mark.requires("root")

SIXES: Final = {OURS: parse_address("fd00::1"), KERNEL: parse_address("fd00::2")}


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Lab]]:
    """Makes labs of h1 (ours) and h2 (Linux), joined by one link, or by our router in between."""
    labs: list[Lab] = []

    def make(mtu_behind_router: int = 0, family: str = "preferred", **link: Any) -> Lab:
        # Why 1337: test_interop_kernel.make.
        kernel = {"kind": "linux", "parameters": {"tcp_rfc1337": 1}}
        nodes: dict[str, Any] = {OURS: "host", KERNEL: kernel}
        links: list[dict[str, Any]] = [{"endpoints": f"{OURS}-{KERNEL}", **link}]
        if mtu_behind_router:
            nodes["r1"] = nodes["r2"] = "router"
            links = [{"endpoints": f"{OURS}-r1"}, {"endpoints": "r1-r2", "mtu": mtu_behind_router}]
            links.append({"endpoints": f"r2-{KERNEL}"})
        description = {"ipv6": family, "nodes": nodes, "links": links}
        spool = tmp_path / f"spool-{len(labs)}"
        lab = make_lab("netns", "interop6", topology_from_mapping(description), 1, spool, LEVEL_STATES, False)
        labs.append(lab)
        return lab

    yield make
    for lab in labs:
        lab.close_lab()


def transfer(lab: Lab, numbers: dict[str, int], sender: str, size: int) -> None:
    receiver = other(sender)
    payload = Payload(bytes(range(251)), size)
    received = lab.receive(receiver, numbers[receiver], max_bytes=size, min_bytes=size, keep=False, timeout_ns=PATIENCE)
    sent = lab.send(sender, numbers[sender], payload, timeout_ns=PATIENCE)
    lab.wait(sent, received)
    assert (received.result.length, received.result.sha256) == (size, payload.sha256())


@pytest.mark.parametrize("loss", ["0%", "1%"])
@pytest.mark.parametrize("sender", [OURS, KERNEL])
@pytest.mark.parametrize("opener", [OURS, KERNEL])
def test_every_byte_arrives(make: Callable[..., Lab], opener: str, sender: str, loss: str) -> None:
    lab = make(loss=loss)
    numbers = connect(lab, opener)
    transfer(lab, numbers, sender, 3_000_000)
    for node in numbers:
        info = status(lab, numbers, node)
        assert (info.local_address, info.remote_address) == (SIXES[node], SIXES[other(node)])
        assert info.snd_mss == 1500 - 40 - 20 - 12  # RFC 8200, RFC 9293, and timestamps
    receiver = other(sender)
    lab.shutdown(sender, numbers[sender])
    end = lab.receive(receiver, numbers[receiver], timeout_ns=PATIENCE)
    lab.wait(end)
    assert end.result.eof
    lab.close(receiver, numbers[receiver])
    await_states(lab, numbers, **{sender: "TIME-WAIT", receiver: "CLOSED"})


@pytest.mark.parametrize("aborter", [OURS, KERNEL])
def test_a_reset_ends_it(make: Callable[..., Lab], aborter: str) -> None:
    lab = make()
    numbers = connect(lab, OURS)
    lab.abort(aborter, numbers[aborter])
    await_states(lab, numbers, **{OURS: "CLOSED", KERNEL: "CLOSED"})
    assert status(lab, numbers, other(aborter)).error == "ECONNRESET"


@pytest.mark.parametrize("pinger", [OURS, KERNEL])
def test_pings(make: Callable[..., Lab], pinger: str) -> None:
    lab = make(mtu_behind_router=1400)
    target = other(pinger)
    good = lab.ping(pinger, target, count=2, interval_ns=10 * MILLISECOND, timeout_ns=10 * SECOND)
    short = lab.ping(pinger, target, ttl=1, timeout_ns=10 * SECOND)
    lab.wait(good, short)
    assert [(one.error, one.ttl) for one in good.result] == [("", 62)] * 2
    (answer,) = short.result
    router = "r1" if pinger == OURS else "r2"
    assert answer.error == "time exceeded" and answer.address in lab.topology.addresses(router)
    # larger than every link: fragments, both ways; one is lost each way, until the path's MTU is known there
    for _ in range(3):
        large = lab.ping(pinger, target, size=4000, timeout_ns=2 * SECOND)
        lab.wait(large)
    assert [(one.error, one.size) for one in large.result] == [("", 4000)]


def test_a_port_nobody_has(make: Callable[..., Lab]) -> None:
    lab = make()
    for opener in (OURS, KERNEL):
        opened = lab.open(opener, other(opener), 81, timeout_ns=PATIENCE)
        with pytest.raises(Exception, match="refused"):
            lab.wait(opened)


@pytest.mark.parametrize("sender", [OURS, KERNEL])
@pytest.mark.parametrize("family", ["preferred", "dual"])
def test_path_mtu_discovery_through_our_routers(make: Callable[..., Lab], family: str, sender: str) -> None:
    """1300 bytes pass between the routers; both ends' own links take 1500 (RFC 8201, and over IPv4 RFC 1191)."""
    lab = make(mtu_behind_router=1300, family=family)
    numbers = connect(lab, OURS)
    transfer(lab, numbers, sender, 2_000_000)
    info = status(lab, numbers, sender)
    headers = 60 if family == "preferred" else 40
    assert len(info.remote_address) == (16 if family == "preferred" else 4)
    assert (info.pmtu, info.snd_mss) == (1300, 1300 - headers - 12)
    near = "r1" if sender == OURS else "r2"
    counted = lab.counters(near)
    assert counted["Icmp6OutPktTooBigs" if family == "preferred" else "IcmpOutDestUnreachs"] >= 1


def test_one_listener_of_the_kernel_takes_both_families(make: Callable[..., Lab]) -> None:
    lab = make(family="dual")
    listener = lab.listen(KERNEL, 80)
    for remote, expected in (("10.0.0.2", 4), ("fd00::2", 16)):
        accepted = lab.accept(KERNEL, listener.number, timeout_ns=PATIENCE)
        opened = lab.open(OURS, remote, 80, timeout_ns=PATIENCE)
        lab.wait(opened, accepted)
        numbers = {OURS: opened.connection, KERNEL: accepted.connection}
        for node in numbers:
            assert len(status(lab, numbers, node).remote_address) == expected
        transfer(lab, numbers, KERNEL, 100_000)


def test_the_kernels_interfaces_counters_and_knobs(make: Callable[..., Lab]) -> None:
    lab = make()
    with lab.inside(KERNEL):
        (eth0,) = [one for one in interfaces() if one.name == "eth0"]
    assert [length for _, length in eth0.ipv6] == [64, 64]
    assert eth0.ipv6[0][0][:8] == parse_address("fe80::")[:8] and eth0.ipv6[1][0] == SIXES[KERNEL]
    pinged = lab.ping(OURS, KERNEL)
    lab.wait(pinged)
    assert lab.counters(KERNEL)["Icmp6InEchos"] == 1
    lab.set_parameters(KERNEL, {"hop_limit": 17})
    again = lab.ping(OURS, KERNEL)
    lab.wait(again)
    assert (pinged.result[0].ttl, again.result[0].ttl) == (64, 17)


def test_connections_of_the_kernels_programs_are_followed(make: Callable[..., Lab]) -> None:
    lab = make()
    listener = lab.listen(OURS, 80)
    accepted = lab.accept(OURS, listener.number, timeout_ns=PATIENCE)
    program = "import socket; s = socket.create_connection(('fd00::1', 80)); s.sendall(b'hi'); s.recv(1)"
    running = lab.execute(KERNEL, ["python3", "-c", program])
    lab.wait(accepted)
    eventually(lab, lambda: any(one.state_name == "ESTABLISHED" for one in lab.connections(KERNEL)))
    (seen,) = [one for one in lab.connections(KERNEL) if one.remote_port == 80]
    assert (seen.local_address, seen.remote_address) == (SIXES[KERNEL], SIXES[OURS])
    lab.close(OURS, accepted.connection)
    running.end()

"""A path that swallows large packets and says nothing, with our TCP at one end and Linux's at the other: whoever sends
finds out by himself what passes (RFC 4821, tcp_mtu_probing)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.backends.base import Lab
from lab.backends.catalogue import make_lab
from lab.topology.loader import topology_from_mapping
from nodes.base.events import LEVEL_STATES
from tests.netns.test_interop_ipv6 import transfer
from tests.netns.test_interop_kernel import KERNEL, OURS, connect, status

pytestmark = pytest.mark.requires("root")

#: What passes between the routers; timestamps and headers take 52 bytes.
MTU = 1300


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[[], Lab]]:
    labs: list[Lab] = []

    def make() -> Lab:
        nodes = {OURS: "host", KERNEL: "linux", "r1": "router", "r2": "router"}
        links = [f"{OURS}-r1", {"endpoints": "r1-r2", "mtu": MTU}, f"r2-{KERNEL}"]
        lab = make_lab(
            "netns",
            "hole",
            topology_from_mapping({"nodes": nodes, "links": links}),
            1,
            tmp_path / "spool",
            LEVEL_STATES,
            False,
        )
        labs.append(lab)
        for router in ("r1", "r2"):
            lab.set_parameters(router, {"icmp_errors": 0})
        return lab

    yield make
    for lab in labs:
        lab.close_lab()


@pytest.mark.parametrize("probing", [1, 2])
@pytest.mark.parametrize("sender", [OURS, KERNEL])
def test_the_sender_finds_what_passes(make: Callable[[], Lab], sender: str, probing: int) -> None:
    """Both end within tcp_probe_threshold of the truth. tcp_retries1 = 1: 0.6 s of timeouts hint at a black hole."""
    lab = make()
    lab.set_parameters(sender, {"tcp_mtu_probing": probing, "tcp_retries1": 1})
    numbers = connect(lab, sender)
    before = lab.counters(sender)
    assert status(lab, numbers, sender).snd_mss == (1024 if probing == 2 else 1448)
    transfer(lab, numbers, sender, 3_000_000)
    info = status(lab, numbers, sender)
    assert MTU - 8 < info.snd_mss + 52 <= MTU
    # What no router has said is not known.
    assert info.pmtu == 1500
    counted = lab.counters(sender)
    assert counted["TcpExtTCPMTUPSuccess"] > before.get("TcpExtTCPMTUPSuccess", 0)
    assert counted["TcpExtTCPMTUPFail"] > before.get("TcpExtTCPMTUPFail", 0)
    assert lab.counters("r1")["IcmpOutDestUnreachs"] == lab.counters("r2")["IcmpOutDestUnreachs"] == 0

"""ECN between our TCP and Linux's: agreed whoever opens, marked by the link both ways, obeyed without a loss."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.backends.catalogue import make_lab
from lab.topology.loader import topology_from_mapping
from nodes.agent.payload import Payload
from nodes.base.clock import SECOND
from nodes.base.errors import InvalidArgument
from nodes.base.events import LEVEL_STATES

pytestmark = pytest.mark.requires("root")

SIZE = 2_000_000


@pytest.mark.parametrize("opener", ["h1", "h2"])
@pytest.mark.parametrize(("control", "threshold"), [("cubic", 20_000), ("reno", 20_000), ("bbr", 3_000)])
def test_marks_in_both_directions(control: str, threshold: int, opener: str, tmp_path: Path) -> None:
    """A product of rate and round trip is 25 kB here. Controls by loss fill any queue; BBR leaves it empty but in
    STARTUP, which ends early where samples are noisy, and while it probes, with a quarter of that product: so its
    threshold is below 6 kB, or there may be no mark at all."""
    server = "h2" if opener == "h1" else "h1"
    description = {
        "nodes": {
            "h1": {"kind": "host", "parameters": {"tcp_ecn": 1, "tcp_congestion_control": control}},
            "h2": {"kind": "linux", "parameters": {"net.ipv4.tcp_ecn": 1, "net.ipv4.tcp_congestion_control": control}},
        },
        "links": [{"endpoints": "h1-h2", "rate": "20mbit", "delay": "5ms", "ecn_threshold": threshold}],
    }
    lab = make_lab("netns", "ecn", topology_from_mapping(description), 1, tmp_path / "spool", LEVEL_STATES, False)
    try:
        accepted = lab.accept(server, lab.listen(server, 80).number, timeout_ns=60 * SECOND)
        opened = lab.open(opener, server, 80, timeout_ns=60 * SECOND)
        lab.wait(opened, accepted)
        ends = {opener: opened.connection, server: accepted.connection}
        for source, sink in (("h1", "h2"), ("h2", "h1")):
            sent = lab.send(source, ends[source], Payload(b"x", SIZE))
            received = lab.receive(
                sink, ends[sink], max_bytes=SIZE, min_bytes=SIZE, keep=False, timeout_ns=120 * SECOND
            )
            lab.wait(sent, received)
            assert received.result.sha256 == Payload(b"x", SIZE).sha256()
        assert "ecn" in lab.status("h1", ends["h1"]).options
        for statistics in lab.link_statistics("h1-h2").values():
            assert statistics["marked"] > 0
            assert statistics["dropped_queue"] == 0
        assert lab.counters("h1")["TcpExtTCPDeliveredCE"] > 0
        for direction, node in (("h1->h2", "h2"), ("h2->h1", "h1")):  # the kernel and we count the same
            assert lab.counters(node)["IpExtInCEPkts"] == lab.link_statistics("h1-h2")[direction]["marked"]
    finally:
        lab.close_lab()


@pytest.mark.parametrize("opener", ["h1", "h2"])
@pytest.mark.parametrize(
    ("kernel", "agreed"), [(0, set()), (1, {"ecn"}), (2, {"ecn"}), (3, {"ecn", "accecn"}), (5, {"ecn", "accecn"})]
)
def test_accecn(opener: str, kernel: int, agreed: set[str], tmp_path: Path) -> None:
    """We ask for AccECN (RFC 9768), and grant what is asked for. A kernel that has it (7.0) agrees on it, and counts
    the same marks; one that has not refuses a tcp_ecn over 2 and takes our SYN for one that asks for ECN. Marks are
    obeyed both ways."""
    server = "h2" if opener == "h1" else "h1"
    description = {
        "nodes": {
            "h1": {"kind": "host", "parameters": {"tcp_ecn": 3}},
            "h2": {"kind": "linux", "parameters": {"net.ipv4.tcp_ecn": kernel}},
        },
        "links": [{"endpoints": "h1-h2", "rate": "5mbit", "delay": "20ms", "ecn_threshold": 10_000}],
    }
    # What a kernel asks for when it opens.
    if opener == "h2" and kernel in (2, 5):
        agreed = set()
    try:
        lab = make_lab("netns", "acc", topology_from_mapping(description), 1, tmp_path / "spool", LEVEL_STATES, False)
    except InvalidArgument as error:
        assert kernel > 2 and "tcp_ecn" in str(error)
        return
    try:
        accepted = lab.accept(server, lab.listen(server, 80).number, timeout_ns=60 * SECOND)
        opened = lab.open(opener, server, 80, timeout_ns=60 * SECOND)
        lab.wait(opened, accepted)
        ends = {opener: opened.connection, server: accepted.connection}
        for source, sink in (("h1", "h2"), ("h2", "h1")):
            payload = Payload(b"marks", 500_000)
            sent = lab.send(source, ends[source], payload)
            received = lab.receive(
                sink, ends[sink], max_bytes=500_000, min_bytes=500_000, keep=False, timeout_ns=120 * SECOND
            )
            lab.wait(sent, received)
            assert received.result.sha256 == payload.sha256()
        ours, theirs = lab.status("h1", ends["h1"]), lab.status("h2", ends["h2"])
        for status in (ours, theirs):
            assert {"ecn", "accecn"} & set(status.options) == agreed
        marked = {direction: one["marked"] for direction, one in lab.link_statistics("h1-h2").items()}
        assert all((count > 0) == bool(agreed) for count in marked.values())
        if "accecn" in agreed:
            for sender, receiver, count in ((ours, theirs, marked["h1->h2"]), (theirs, ours, marked["h2->h1"])):
                assert sender.delivered_ce_segs == receiver.received_ce == count
                assert sender.delivered_ce_bytes == receiver.received_ce_bytes
                assert sender.accecn_opt_seen == 2
                assert sender.accecn_fail_mode == 0
    finally:
        lab.close_lab()

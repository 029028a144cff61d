"""The counters of our TCP beside the kernel's: the same happens between two nodes of ours and between two of Linux, and
the same is counted."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from lab import spec
from lab.backends.base import Lab
from lab.backends.catalogue import make_lab
from lab.backends.until import Until
from lab.links.rules import RuleSpec
from lab.topology.loader import topology_from_mapping
from nodes.agent.payload import Payload
from nodes.base.clock import MILLISECOND, SECOND
from nodes.base.events import LEVEL_STATES
from nodes.tcp.counters import NAMES

pytestmark = pytest.mark.requires("root")

SIZE: Final = 100_000
PATIENCE: Final = 60 * SECOND
#: How many segments and ACKs that takes depends on the machine's pace, and so what follows from it.
DEPEND: Final = {
    *("TcpInSegs", "TcpOutSegs", "TcpExtTCPPureAcks", "TcpExtDelayedACKs", "TcpExtTCPOFOQueue", "TcpExtTCPSACKReorder"),
    *("TcpExtTCPDelivered", "TcpExtTCPOrigDataSent", "TcpExtTCPLossProbes"),
    *("TcpExtTCPDSACKUndo", "TcpExtTCPFullUndo", "TcpExtTCPPartialUndo"),
}


def pause(lab: Lab, milliseconds: int) -> None:
    lab.advance(Until(time_ns=lab.now() + milliseconds * MILLISECOND))


def connect(lab: Lab) -> tuple[int, int]:
    listener = lab.listen("h2", 80)
    accepted = lab.accept("h2", listener.number, timeout_ns=PATIENCE)
    opened = lab.open("h1", "h2", 80, timeout_ns=PATIENCE)
    lab.wait(opened, accepted)
    return opened.connection, accepted.connection


def transfer(lab: Lab, size: int = SIZE) -> None:
    """h1 sends, closes first, and goes into TIME-WAIT."""
    client, server = connect(lab)
    payload = Payload(b"counted", size)
    got = lab.receive("h2", server, max_bytes=size, min_bytes=size, keep=False, timeout_ns=PATIENCE)
    lab.wait(lab.send("h1", client, payload, timeout_ns=PATIENCE), got)
    assert got.result.sha256 == payload.sha256()
    pause(lab, 200)
    lab.close("h1", client)
    pause(lab, 100)
    lab.close("h2", server)
    pause(lab, 300)


def unread(lab: Lab) -> None:
    client, server = connect(lab)
    lab.wait(lab.send("h1", client, Payload(b"unread", 5000)))
    pause(lab, 100)
    lab.close("h2", server)
    pause(lab, 200)


def abort(lab: Lab) -> None:
    client, _ = connect(lab)
    lab.abort("h1", client)
    pause(lab, 200)


def late_data(lab: Lab) -> None:
    """For somebody who has closed, and waits in FIN-WAIT-2."""
    client, server = connect(lab)
    lab.close("h1", client)
    pause(lab, 100)
    lab.wait(lab.send("h2", server, Payload(b"late", 1000)))
    pause(lab, 200)


def rule(match: str, action: dict[str, Any], nth: str = "1", direction: str = "h1->h2") -> dict[str, Any]:
    return {"direction": direction, "match": match, "nth": nth, **action}


LOSE: Final[dict[str, Any]] = {"drop": None}
SCENES: Final[dict[str, tuple[Callable[[Lab], None], list[dict[str, Any]]]]] = {
    "transfer": (transfer, []),
    "lost-data": (transfer, [rule("tcp.len > 0", LOSE, "20")]),
    "lost-syn": (transfer, [rule("tcp.flags.syn", LOSE)]),
    # The SYN is sent again when the SYN-ACK is: it comes when nobody sends.
    "lost-syn-ack": (
        transfer,
        [rule("tcp.flags.syn", LOSE, direction="h2->h1"), rule("tcp.flags.syn", {"delay": "200ms"}, "2")],
    ),
    "corrupted": (transfer, [rule("tcp.len > 0", {"corrupt": None}, "20")]),
    # A kernel that is busy forgets a D-SACK when more data comes (tcp_backlog_ack_defer).
    "twice": (partial(transfer, size=1000), [rule("tcp.len > 0", {"duplicate": 1})]),
    "late-original": (transfer, [rule("tcp.len > 0", {"delay": "150ms"}, "30")]),
    "unread": (unread, []),
    "abort": (abort, []),
    "late-data": (late_data, []),
}


@pytest.mark.parametrize("scene", SCENES)
def test_the_same_is_counted(scene: str, tmp_path: Path) -> None:
    act, rules = SCENES[scene]
    counted: dict[str, dict[str, int]] = {}
    for kind in ("host", "linux"):
        reno = {"tcp_congestion_control" if kind == "host" else "net.ipv4.tcp_congestion_control": "reno"}
        description = {
            "nodes": {name: {"kind": kind, "parameters": reno} for name in ("h1", "h2")},
            "links": [{"endpoints": "h1-h2", "delay": "10ms"}],
        }
        topology = topology_from_mapping(description)
        lab = make_lab("netns", "counters", topology, 1, tmp_path / kind, LEVEL_STATES, False)
        try:
            for each in rules:
                lab.add_rule("h1-h2", spec.from_mapping(RuleSpec, each))
            act(lab)
            counted[kind] = {
                f"{node} {name}": lab.counters(node).get(name, 0)
                for node in ("h1", "h2")
                for name in NAMES
                if name not in DEPEND
            }
        finally:
            lab.close_lab()
    assert set(counted["host"].items()) == set(counted["linux"].items())

"""What a backend says that it can do, it does; what it cannot is refused in words: what is missing, what works instead.

`DEMANDS` has, for each capability that a request can need, such a request.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import grpc
import pytest

from lab.backends.catalogue import BACKENDS
from tcplab.v1 import backend_pb2, lab_pb2, link_pb2, node_pb2, trace_pb2
from tests.contract.under import PAIR, Under
from tests.server.api import failure

LINK: Final = "nodes: {{h1: host, h2: host}}\nlinks: [{{endpoints: h1-h2, {}}}]\n"


def make(topology: str) -> Callable[[Under], None]:
    """Have a lab, and see that its ends reach each other."""

    def demand(under: Under) -> None:
        name = under.api.lab(topology, backend=under.backend)
        try:
            under.api.wait(name, under.api.nodes.Ping(node_pb2.PingRequest(node=f"{name}/nodes/h1", remote="h2")))
        finally:
            under.api.delete(name)

    return demand


def in_a_lab(ask: Callable[[Under, str], None], topology: str = PAIR) -> Callable[[Under], None]:
    """Ask it of a lab."""

    def demand(under: Under) -> None:
        name = under.api.lab(topology, backend=under.backend)
        try:
            ask(under, name)
        finally:
            under.api.delete(name)

    return demand


def advance_faster(under: Under, lab: str) -> None:
    under.api.advance(lab, time_ns=under.api.get(lab).time_ns + 1000, pace=1e6)


def run_a_command(under: Under, lab: str) -> None:
    start = node_pb2.ExecStart(node=f"{lab}/nodes/h1", argv=["true"])
    answers = list(under.api.nodes.Exec(iter([node_pb2.ExecRequest(start=start)])))
    assert answers[-1].exit.code == 0


def capture_live(under: Under, lab: str) -> None:
    """Something passes while it is looked at."""
    answers = under.api.traces.Capture(trace_pb2.CaptureRequest(lab=lab, interface="h1:eth0", live=True))
    next(answers)
    pinging = under.api.nodes.Ping(node_pb2.PingRequest(node=f"{lab}/nodes/h1", remote="h2"))
    looking = ThreadPoolExecutor(1).submit(next, answers)
    under.api.wait(lab, pinging)
    assert looking.result(20).data
    answers.cancel()


def capture(under: Under, lab: str) -> None:
    under.api.wait(lab, under.api.nodes.Ping(node_pb2.PingRequest(node=f"{lab}/nodes/h1", remote="h2")))
    answers = under.api.traces.Capture(trace_pb2.CaptureRequest(lab=lab, interface="h1:eth0"))
    assert len(b"".join(one.data for one in answers)) > 4 * 42


def add_a_rule(under: Under, lab: str) -> None:
    rule = link_pb2.Rule(match="icmp", drop=link_pb2.DropAction())
    under.api.links.CreateRule(link_pb2.CreateRuleRequest(parent=f"{lab}/links/h1-h2", rule=rule))


def impair(under: Under, lab: str) -> None:
    link = link_pb2.Link(name=f"{lab}/links/h1-h2", forward=link_pb2.Impairments(loss=0.5))
    under.api.links.UpdateLink(link_pb2.UpdateLinkRequest(link=link))


def attack(under: Under, lab: str) -> None:
    under.controller.lab(lab.removeprefix("labs/")).attack_on_path_rst("h1-h2")


def same_bytes(under: Under) -> None:
    """The same seed, the same trace."""
    spools = []
    for _ in range(2):
        name = under.api.lab(LINK.format("delay: 1ms, loss: 5%"), backend=under.backend, lab_id="again")
        lab = under.controller.lab("again")
        listener = lab.node("h2").listen(80)
        client = lab.node("h1").open("h2", 80)
        listener.accept()
        client.send(b"x" * 20_000)
        lab.advance("1s")
        directory = under.api.get(name).directory
        under.api.delete(name)
        with open(f"{directory}/events.spool", "rb") as file:  # noqa: PTH123
            spools.append(file.read())
    assert spools[0] == spools[1]


DEMANDS: Final[dict[str, Callable[[Under], None]]] = {
    "virtual-time": in_a_lab(advance_faster),
    "deterministic": same_bytes,
    "real-interfaces": in_a_lab(capture_live),
    "engine-link": in_a_lab(impair, LINK.format("engine: link")),
    "engine-direct": make(LINK.format("engine: direct")),
    "engine-netem": make(LINK.format("engine: netem, delay: 1ms")),
    "packet-rules": in_a_lab(add_a_rule),
    "attacks": in_a_lab(attack),
    "capture": in_a_lab(capture),
    "linux-nodes": make("nodes: {h1: linux, h2: host}\nlinks: [h1-h2]\n"),
    "congestion-control": make(
        "nodes: {h1: {kind: linux, parameters: {tcp_congestion_control: reno}}, h2: host}\nlinks: [h1-h2]\n"
    ),
    "programs": in_a_lab(run_a_command, PAIR),
    "switch-linux-bridge": make(
        "nodes: {h1: host, h2: host, s1: {kind: switch, switch: linux-bridge}}\nlinks: [h1-s1, h2-s1]\n"
    ),
    "switch-open-vswitch": make(
        "nodes: {h1: host, h2: host, s1: {kind: switch, switch: open-vswitch}}\nlinks: [h1-s1, h2-s1]\n"
    ),
    "image": make(PAIR),
}
#: What makes a lab better where it is there, and is done another way where it is not: nothing is refused.
BETTER_WITH: Final = {"trace-sock-diag", "trace-tracefs", "real-time-priority"}
#: What every backend must say of itself: what somebody may ask of it.
COMMON: Final = set(DEMANDS) - {"switch-linux-bridge", "switch-open-vswitch", "image", "congestion-control"}
#: Properties that nothing can be asked for: there is no request that a backend without them could refuse.
NOT_ASKED_FOR: Final = {"deterministic"}


def test_backends_are_those_of_the_catalogue(under: Under) -> None:
    listed = under.api.backends.ListBackends(backend_pb2.ListBackendsRequest()).backends
    assert [one.name for one in listed] == list(BACKENDS)
    for one in listed:
        assert one.available != bool(one.reason)


def test_every_backend_says_what_it_can_do(under: Under) -> None:
    assert set(under.capabilities) >= COMMON
    assert set(under.capabilities) <= set(DEMANDS) | BETTER_WITH
    for one in under.capabilities.values():
        assert one.available or one.reason, one.name


@pytest.mark.parametrize("capability", DEMANDS)
def test_it_does_what_it_says_and_refuses_the_rest(under: Under, capability: str) -> None:
    if under.can(capability):
        DEMANDS[capability](under)
        return
    if capability in under.capabilities and capability not in NOT_ASKED_FOR:
        with pytest.raises(grpc.RpcError) as caught:
            DEMANDS[capability](under)
        found = failure(caught.value)
        assert (found.code, found.reason) == ("FAILED_PRECONDITION", "UNSUPPORTED")
        others = "|".join([one for one in BACKENDS if one != under.backend])
        assert re.search(rf"\b({others}|link engine|engine: auto)\b", found.message), found.message
    assert [one.name for one in under.api.labs.ListLabs(lab_pb2.ListLabsRequest()).labs] == []


def test_a_backend_that_does_not_exist(under: Under) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        under.api.lab(backend="no-such-backend")
    found = failure(caught.value)
    assert (found.code, list(found.fields)) == ("INVALID_ARGUMENT", ["backend"])
    assert all(name in found.message for name in BACKENDS)

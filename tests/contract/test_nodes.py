"""Nodes: what they say of themselves, their knobs and counters, who reaches whom, programs on them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tcplab.client import FailedPrecondition, InvalidArgument, Lab, NotFound
from tcplab.v1 import node_pb2
from tests.contract.under import SITE, Pair, Under

READY = node_pb2.Node.STATE_READY


@pytest.fixture(scope="module")
def site(under: Under) -> Iterator[Lab]:
    """Three hosts at a switch, one behind a router."""
    with under.lab(SITE) as lab:
        yield lab


def test_nodes_say_what_they_are(site: Lab) -> None:
    assert [one.name for one in site.nodes()] == ["h1", "h2", "h3", "r1", "h4"]
    h1, r1 = site.node("h1").info(), site.node("r1").info()
    assert (h1.kind, r1.kind, h1.state, h1.failure) == ("host", "router", READY, "")
    (port,) = h1.interfaces
    assert (port.name, port.address, port.prefix_length, port.mtu) == ("eth0", "10.0.1.1", 24, 1500)
    assert port.link == f"labs/{site.name}/links/h1-s1"
    assert [one.name for one in r1.interfaces] == ["eth0", "eth1"]
    macs = [one.mac for node in site.nodes() for one in node.info().interfaces]
    assert len(set(macs)) == len(macs) == 6
    with pytest.raises(NotFound):
        site.node("h9").info()


def test_everybody_reaches_everybody(site: Lab) -> None:
    hosts = [one.name for one in site.nodes()]
    pings = [site.node(one).start_ping(other, timeout="5s") for one in hosts for other in hosts if one != other]
    assert [one.ping.received for one in site.wait(*pings)] == [1] * 20


def test_a_router_is_a_hop(site: Lab) -> None:
    """What reaches h4 has passed r1, whose links count it."""
    before = site.link("r1-h4").statistics()["r1->h4"]["packets_in"]
    site.node("h2").ping("h4", 3)
    assert site.link("r1-h4").statistics()["r1->h4"]["packets_in"] >= before + 3
    (hop,) = [one for one in site.node("r1").info().interfaces if one.link.endswith("r1-h4")]
    assert site.node("h2").ping(hop.address).received == 1


def test_a_switch_learns(site: Lab) -> None:
    """What is for h2, and known to be there, does not come to h3."""
    for one, other in (("h1", "h2"), ("h3", "h1")):
        site.node(one).ping(other)
    before = site.link("h3-s1").statistics()["s1->h3"]["packets_in"]
    assert site.node("h1").ping("h2", 5, interval="2ms").received == 5
    assert site.link("h3-s1").statistics()["s1->h3"]["packets_in"] == before


def test_nobody_answers_for_an_address_that_is_not_there(site: Lab) -> None:
    assert site.node("h1").ping("10.0.1.99", timeout="300ms").received == 0


def test_knobs(pair: Pair) -> None:
    assert pair.h1.parameters()["tcp_msl_ms"] == "200"  # as the topology says
    pair.h1.set_parameters(tcp_syn_retries=3, tcp_retries2=7)
    assert (pair.h1.parameters()["tcp_syn_retries"], pair.h1.parameters()["tcp_retries2"]) == ("3", "7")
    assert pair.h2.parameters()["tcp_syn_retries"] != "3"
    for values in ({"tcp_syn_retries": 4, "tcp_nonsense": 1}, {"tcp_syn_retries": 4, "tcp_retries2": -1}):
        with pytest.raises(InvalidArgument):
            pair.h1.set_parameters(**values)
        assert pair.h1.parameters()["tcp_syn_retries"] == "3"  # all or none


def test_counters_count(pair: Pair) -> None:
    before = pair.h1.counters(), pair.h2.counters()
    pair.connect()
    after = pair.h1.counters(), pair.h2.counters()
    assert after[0]["TcpActiveOpens"] == before[0]["TcpActiveOpens"] + 1
    assert after[1]["TcpPassiveOpens"] == before[1]["TcpPassiveOpens"] + 1
    assert after[0]["TcpOutSegs"] - before[0]["TcpOutSegs"] == 2  # SYN, ACK


# The kernel's TCP, and programs, where there are any.


KERNEL = "nodes: {h1: host, h2: linux}\nlinks: [{endpoints: h1-h2, delay: 1ms}]\n"


@pytest.fixture(scope="module")
def kernel(under: Under) -> Iterator[Lab | None]:
    """A host with the kernel's TCP beside one with ours."""
    if not under.can("linux-nodes"):
        yield None
        return
    with under.lab(KERNEL) as lab:
        yield lab


def test_our_stack_and_the_kernel_s_talk(under: Under, kernel: Lab | None) -> None:
    if kernel is None:
        with pytest.raises(FailedPrecondition, match="kind linux"):
            under.lab(KERNEL)
        return
    for one, other in (("h1", "h2"), ("h2", "h1")):
        assert kernel.node(one).ping(other, 2, interval="10ms").received == 2
        listener = kernel.node(other).listen(80)
        client = kernel.node(one).open(other, 80)
        server = listener.accept()
        sending = client.start_send(pattern=b"x", length=300_000)
        receiving = server.start_receive(300_000, at_least=300_000, digest_only=True)
        _, received = kernel.wait(sending, receiving)
        assert received.received.length == 300_000
        client.close()
        assert server.receive() == b""
        server.close()
        flows = [flow for flow in kernel.flows() if flow.client.node == one]
        states = [event.event.state.new for event in flows[0].server.events if event.event.HasField("state")]
        assert 8 in states  # CLOSE-WAIT: seen on the kernel's node too


def test_programs_run_on_nodes(under: Under, site: Lab, kernel: Lab | None) -> None:
    if kernel is None or not under.can("programs"):
        with pytest.raises(FailedPrecondition, match="commands"):
            site.node("h1").run(["true"])
        return
    h2 = kernel.node("h2")
    done = h2.run(
        ["sh", "-c", "cat; cat /sys/class/net/eth0/address; echo $WORD >&2; exit 3"], stdin=b"in\n", env={"WORD": "hi"}
    )
    assert (done.code, done.stdout, done.stderr) == (3, f"in\n{h2.info().interfaces[0].mac}\n".encode(), b"hi\n")
    late = h2.run(["sleep", "1000"], timeout="100ms")
    assert late.timed_out
    with pytest.raises(NotFound, match="no program"):
        h2.run(["no-such-program"])
    with h2.exec(["cat"]) as command:
        output = command.output()
        command.write(b"one")
        assert next(output) == ("stdout", b"one")
        command.signal("TERM")
        assert command.wait().code == 143

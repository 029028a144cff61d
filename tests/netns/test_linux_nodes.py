"""Nodes of kind linux: calls, the states that the trace has held against those the kernel shows, commands."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab import spec
from lab.backends.catalogue import make_lab
from lab.backends.real.lab import RealLab
from lab.backends.until import Until
from lab.links.rules import RuleSpec
from lab.topology.loader import topology_from_text
from lab.trace.event import Event
from lab.trace.spool_reader import SpoolReader
from nodes.agent.payload import Payload
from nodes.base.clock import MILLISECOND, SECOND
from nodes.base.errors import FailedPrecondition, InvalidArgument, NotFound, SocketError
from nodes.base.events import (
    CONNECTION,
    CWND,
    LEVEL_ALL,
    LEVEL_OFF,
    LEVEL_STATES,
    RESET,
    RETRANSMIT,
    SEGMENT,
    SOURCES,
    STATE,
)
from nodes.kernel.exec import Exit

pytestmark = pytest.mark.requires("root")

PAIR = "nodes: {l1: linux, l2: linux}\nlinks: [l1-l2]\n"
MIXED = "nodes: {l1: linux, l2: host}\nlinks: [l1-l2]\n"
OPENED = ["SYN-SENT", "ESTABLISHED"]
ACCEPTED = ["SYN-RECEIVED", "ESTABLISHED"]
#: The kernel's numbers of states in /proc/net/tcp.
KERNEL = {
    "01": "ESTABLISHED",
    "02": "SYN-SENT",
    "03": "SYN-RECEIVED",
    "04": "FIN-WAIT-1",
    "05": "FIN-WAIT-2",
    "06": "TIME-WAIT",
    "07": "CLOSED",
    "08": "CLOSE-WAIT",
    "09": "LAST-ACK",
    "0B": "CLOSING",
    "0C": "SYN-RECEIVED",
}

MakeLab = Callable[..., RealLab]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[MakeLab]:
    made: list[RealLab] = []

    def make(text: str = PAIR, level: int = LEVEL_ALL) -> RealLab:
        name = f"lab-{len(made)}"
        lab = make_lab("netns", name, topology_from_text(text), 1, tmp_path / name, level, False)
        assert isinstance(lab, RealLab)
        made.append(lab)
        return lab

    yield make
    for lab in made:
        lab.close_lab()


def connected(lab: RealLab) -> tuple[int, int]:
    listener = lab.listen("l2", 80)
    accept = lab.accept("l2", listener.number)
    opened = lab.open("l1", "l2", 80)
    lab.wait(opened, accept)
    return opened.connection, accept.connection


def until(lab: RealLab, condition: Callable[[], bool]) -> None:
    """Wait for what must come, 20 s at most."""
    deadline = lab.now() + 20 * SECOND
    while not condition():
        assert lab.now() < deadline
        lab.advance(Until(time_ns=lab.now() + 5 * MILLISECOND))


def in_kernel(lab: RealLab, node: str) -> dict[tuple[int, int], str]:
    """State by local and remote port, in the kernel's own words."""
    with lab.inside(node):
        lines = Path("/proc/thread-self/net/tcp").read_text().splitlines()[1:]
    found = {}
    for line in lines:
        _, local, remote, state, *_ = line.split()
        if state in KERNEL:
            found[int(local.partition(":")[2], 16), int(remote.partition(":")[2], 16)] = KERNEL[state]
    return found


def reach(lab: RealLab, node: str, connection: int, state: str) -> None:
    """The kernel comes to be in this state, and we say so."""
    info = lab.status(node, connection)
    until(lab, lambda: in_kernel(lab, node).get((info.local_port, info.remote_port), "CLOSED") == state)
    until(lab, lambda: lab.status(node, connection).state_name == state)


def events(lab: RealLab, *kinds: int) -> list[Event]:
    lab.close_lab()
    return list(SpoolReader(lab.sink.path, kinds=kinds))


def cause_of(event: Event) -> str:
    return event.why.name


def path(traced: list[Event], node: str, connection: int) -> list[str]:
    """The states of a connection in the trace, in their order; each begins where the one before ended."""
    moves = [one for one in traced if one.kind == STATE and (one.node, one.connection) == (node, connection)]
    for before, after in itertools.pairwise(moves):
        assert before["new"] == after["old"]
    return [str(one["new"]) for one in moves]


def send(lab: RealLab, sender: str, connection: int, length: int) -> None:
    lab.wait(lab.send(sender, connection, Payload(b"0123456789abcdef", length)))


def test_what_follows_may_share_a_segment_or_not(make: MakeLab) -> None:
    """The same as on a node of ours, tests/contract/test_connections.py."""
    lab = make()
    client, server = connected(lab)
    lab.set_option("l1", client, "TCP_NODELAY", 1)
    before = lab.now()
    received = lab.receive("l2", server, max_bytes=4, min_bytes=4)
    lab.wait(lab.send("l1", client, Payload.of(b"held"), more=True), received)
    lab.set_option("l1", client, "TCP_CORK", 1)
    received = lab.receive("l2", server, max_bytes=7, min_bytes=7)
    lab.wait(lab.send("l1", client, Payload.of(b"end"), end=True))
    lab.wait(lab.send("l1", client, Payload.of(b"next")))
    lab.set_option("l1", client, "TCP_CORK", 0)
    lab.wait(received)
    sent = [
        one
        for one in events(lab, SEGMENT)
        if (one.node, one.connection) == ("l1", client) and one["direction"] == "SENT" and one["length"]
    ]
    assert [one["length"] for one in sent] == [4, 3, 4]
    assert sent[0].time_ns - before >= 200 * MILLISECOND


def test_both_ways_and_both_closes(make: MakeLab) -> None:
    lab = make()
    client, server = connected(lab)
    payload = Payload(b"kernel to kernel", 3_000_000)
    for sender, one, receiver, other in (("l1", client, "l2", server), ("l2", server, "l1", client)):
        received = lab.receive(receiver, other, max_bytes=payload.length, min_bytes=payload.length, keep=False)
        lab.wait(lab.send(sender, one, payload), received)
        assert (received.result.length, received.result.sha256) == (payload.length, payload.sha256())
    lab.shutdown("l1", client)
    reach(lab, "l2", server, "CLOSE-WAIT")
    reach(lab, "l1", client, "FIN-WAIT-2")
    info = lab.status("l2", server)
    assert (info.bytes_received, info.bytes_acked) == (payload.length, payload.length)
    info = lab.status("l1", client)
    assert (info.bytes_received, info.bytes_acked) == (payload.length, payload.length)
    send(lab, "l2", server, 1000)  # the other half is still open
    end = lab.receive("l1", client, max_bytes=2000, min_bytes=2000)
    lab.close("l2", server)
    lab.wait(end)
    assert (end.result.length, end.result.eof) == (1000, True)
    reach(lab, "l1", client, "TIME-WAIT")
    reach(lab, "l2", server, "CLOSED")
    ended = lab.status("l2", server)
    assert (ended.bytes_received, ended.bytes_acked) == (payload.length, payload.length + 1000)
    traced = events(lab, STATE, CONNECTION, SEGMENT)
    assert path(traced, "l1", client) == [*OPENED, "FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT"]
    assert path(traced, "l2", server) == [*ACCEPTED, "CLOSE-WAIT", "LAST-ACK", "CLOSED"]
    assert {one["origin"] for one in traced if one.kind == CONNECTION and one.node == "l2"} == {"PASSIVE"}
    # What one node sent the other received: the same numbers of the same bytes, whole.
    sent, came = (
        {(one["seq"], one["ack"], one["flags"], one["length"]) for one in traced if _is(one, node, direction)}
        for node, direction in (("l1", "SENT"), ("l2", "RECEIVED"))
    )
    assert sent == came
    assert all(SOURCES[one.source] == "CAPTURE" for one in traced if one.kind == SEGMENT)


def _is(event: Event, node: str, direction: str) -> bool:
    return event.kind == SEGMENT and event.node == node and event["direction"] == direction


def test_the_passive_end_closes_first(make: MakeLab) -> None:
    lab = make()
    client, server = connected(lab)
    lab.close("l2", server)
    reach(lab, "l1", client, "CLOSE-WAIT")
    reach(lab, "l2", server, "FIN-WAIT-2")
    lab.close("l1", client)
    reach(lab, "l1", client, "CLOSED")
    reach(lab, "l2", server, "TIME-WAIT")
    traced = events(lab, STATE)
    assert path(traced, "l1", client) == [*OPENED, "CLOSE-WAIT", "LAST-ACK", "CLOSED"]
    assert path(traced, "l2", server) == [*ACCEPTED, "FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT"]


def test_both_close_at_once(make: MakeLab) -> None:
    """There is time for both on a link so long, and a round trip is yet shorter than the first timeout."""
    lab = make(PAIR + "link_defaults: {delay: 450ms}\n")
    client, server = connected(lab)
    lab.close("l1", client)
    lab.close("l2", server)
    assert in_kernel(lab, "l1")[_ports(lab, "l1", client)] == "FIN-WAIT-1"
    reach(lab, "l1", client, "CLOSING")
    reach(lab, "l1", client, "TIME-WAIT")
    reach(lab, "l2", server, "TIME-WAIT")
    traced = events(lab, STATE)
    both = ["FIN-WAIT-1", "CLOSING", "TIME-WAIT"]
    assert path(traced, "l1", client) == [*OPENED, *both]
    assert path(traced, "l2", server) == [*ACCEPTED, *both]


def _ports(lab: RealLab, node: str, connection: int) -> tuple[int, int]:
    info = lab.status(node, connection)
    return info.local_port, info.remote_port


@pytest.mark.parametrize("how", ["abort", "linger", "unread"])
def test_a_reset_ends_both(make: MakeLab, how: str) -> None:
    lab = make()
    client, server = connected(lab)
    ports = _ports(lab, "l1", client), _ports(lab, "l2", server)
    if how == "abort":
        lab.abort("l1", client)
    elif how == "linger":
        lab.set_option("l1", client, "SO_LINGER", 0)
        lab.close("l1", client)
    else:
        send(lab, "l2", server, 100)
        lab.wait(lab.wait_ready("l1", client, read=True, write=False))
        lab.close("l1", client)
    received = lab.receive("l2", server)
    with pytest.raises(SocketError, match="ECONNRESET"):
        lab.wait(received)
    assert ports[0] not in in_kernel(lab, "l1")
    assert in_kernel(lab, "l2").get(ports[1], "CLOSED") == "CLOSED"
    until(lab, lambda: lab.status("l2", server).state_name == "CLOSED")
    traced = events(lab, STATE, RESET)
    assert path(traced, "l1", client) == [*OPENED, "CLOSED"]
    assert path(traced, "l2", server) == [*ACCEPTED, "CLOSED"]
    cause = {"abort": "USER_ABORT", "linger": "LINGER_ABORT", "unread": "UNREAD_DATA_AT_CLOSE"}[how]
    resets = [(one.node, one["direction"], one["accepted"], cause_of(one)) for one in traced if one.kind == RESET]
    assert resets == [("l1", "SENT", True, cause), ("l2", "RECEIVED", True, "RST_RECEIVED")]


def test_nobody_listens(make: MakeLab) -> None:
    lab = make()
    opened = lab.open("l1", "l2", 81)
    with pytest.raises(SocketError, match="ECONNREFUSED"):
        lab.wait(opened)
    until(lab, lambda: lab.status("l1", opened.connection).state_name == "CLOSED")
    traced = events(lab, STATE, CONNECTION)
    assert path(traced, "l1", opened.connection) == ["SYN-SENT", "CLOSED"]
    assert not [one for one in traced if one.node == "l2"]


def test_a_lost_syn_ack_and_a_lost_segment_are_sent_again(make: MakeLab) -> None:
    lab = make()
    for match in ("tcp.flags.syn && tcp.flags.ack", "tcp.len > 0"):
        lab.add_rule("l1-l2", spec.from_mapping(RuleSpec, {"match": match, "nth": 1, "drop": None}))
    client, server = connected(lab)
    received = lab.receive("l2", server, max_bytes=1000, min_bytes=1000)
    send(lab, "l1", client, 1000)
    lab.wait(received)
    retransmitted = {node: lab.counters(node)["TcpRetransSegs"] for node in ("l1", "l2")}
    again = [one for one in events(lab, RETRANSMIT) if SOURCES[one.source] == "INFERRED"]
    assert {node: sum(one.node == node for one in again) for node in ("l1", "l2")} == retransmitted
    assert next(cause_of(one) for one in again if one.node == "l2") == "RETRANSMIT_SYN_ACK"
    assert next(one["length"] for one in again if one["length"] > 1) == 1000


def test_keepalive_finds_that_the_peer_is_gone(make: MakeLab) -> None:
    lab = make()
    client, server = connected(lab)
    for name, value in (("TCP_KEEPIDLE", 1), ("TCP_KEEPINTVL", 1), ("TCP_KEEPCNT", 2), ("SO_KEEPALIVE", 1)):
        lab.set_option("l1", client, name, value)
        assert lab.get_option("l1", client, name) == value
    lab.set_link_up("l1-l2", False)
    received = lab.receive("l1", client)
    with pytest.raises(SocketError, match="ETIMEDOUT"):
        lab.wait(received)
    until(lab, lambda: lab.status("l1", client).state_name == "CLOSED")
    assert in_kernel(lab, "l2")[_ports(lab, "l2", server)] == "ESTABLISHED"
    traced = events(lab, STATE, SEGMENT)
    ends = [one for one in traced if one.kind == STATE and one["new"] == "CLOSED"]
    assert [(one.node, cause_of(one)) for one in ends] == [("l1", "KEEPALIVE_PROBES_EXHAUSTED")]
    assert sum(one.kind == SEGMENT and cause_of(one) == "KEEPALIVE_PROBE" for one in traced) == 2


def test_a_window_that_is_closed(make: MakeLab) -> None:
    lab = make()
    client, server = connected(lab)
    length = 20_000_000
    sent = lab.send("l1", client, Payload(b"x", length))
    until(lab, lambda: lab.status("l1", client).snd_wnd == 0 and lab.status("l1", client).probes > 0)
    assert not sent.done
    received = lab.receive("l2", server, max_bytes=length, min_bytes=length, keep=False)
    lab.wait(sent, received)
    assert received.result.length == length
    traced = events(lab, SEGMENT, STATE)
    assert any(one["window"] == 0 for one in traced if one.kind == SEGMENT and one.node == "l2")
    assert any(cause_of(one) == "WINDOW_PROBE" for one in traced if one.kind == SEGMENT and one.node == "l1")
    assert path(traced, "l1", client) == OPENED


def test_the_kernel_with_our_stack_has_its_numbers(make: MakeLab) -> None:
    lab = make(MIXED)
    client, server = connected(lab)
    received = lab.receive("l2", server, max_bytes=500_000, min_bytes=500_000, keep=False)
    send(lab, "l1", client, 500_000)
    lab.wait(received)
    until(lab, lambda: lab.status("l1", client).unacked == 0)
    kernel, ours = lab.status("l1", client), lab.status("l2", server)
    assert (kernel.iss, kernel.irs, kernel.snd_nxt) == (ours.irs, ours.iss, ours.rcv_nxt)
    assert kernel.snd_mss == 1448 and kernel.snd_cwnd % kernel.snd_mss == 0
    assert kernel.congestion == lab.parameters("l1")["tcp_congestion_control"]
    windows = [one for one in events(lab, CWND) if one.node == "l1"]
    assert windows and {SOURCES[one.source] for one in windows} == {"SOCK_DIAG", "TRACEFS"}
    # Whoever looks before the SYN-ACK has come sees what the kernel takes an MSS to be until then.
    sizes = [one["mss"] for one in windows]
    assert set(sizes[sizes.index(1448) :]) == {1448}


def test_connections_of_programs_are_followed_and_left_alone(make: MakeLab) -> None:
    lab = make()
    listener = lab.listen("l2", 80)
    accept = lab.accept("l2", listener.number)
    run = lab.execute("l1", ["/bin/bash", "-c", "exec 3<>/dev/tcp/l2/80; cat <&3 >/dev/null"])
    lab.wait(accept)
    until(lab, lambda: [one.state_name for one in lab.connections("l1")] == ["ESTABLISHED"])
    (theirs,) = lab.connections("l1")
    with pytest.raises(SocketError, match="another program of l1 has it"):
        lab.shutdown("l1", theirs.number)
    lab.close("l2", accept.connection)
    said = run.read()
    until(lab, lambda: said.done)
    run.end()
    reach(lab, "l1", theirs.number, "CLOSED")
    assert path(events(lab, STATE), "l1", theirs.number) == [*OPENED, "CLOSE-WAIT", "LAST-ACK", "CLOSED"]


@pytest.mark.parametrize("level", [LEVEL_OFF, LEVEL_STATES])
def test_states_are_known_whatever_is_traced(make: MakeLab, level: int) -> None:
    lab = make(level=level)
    client, server = connected(lab)
    assert lab.status("l2", server).state_name == "ESTABLISHED"
    lab.close("l1", client)
    reach(lab, "l2", server, "CLOSE-WAIT")
    reach(lab, "l1", client, "FIN-WAIT-2")
    assert {one.kind for one in events(lab, STATE, SEGMENT)} == ({STATE} if level else set())


def test_parameters_are_sysctls(make: MakeLab) -> None:
    parameters = "{tcp_sack: 0, net.ipv4.tcp_retries2: 5, tcp_rmem: 100000, tcp_congestion_control: cubic}"
    lab = make(f"nodes: {{l1: {{kind: linux, parameters: {parameters}}}, l2: linux}}\nlinks: [l1-l2]\n")
    shown = lab.parameters("l1")
    assert {name: shown[name] for name in ("tcp_sack", "tcp_retries2", "tcp_rmem")} == {
        "tcp_sack": 0,
        "tcp_retries2": 5,
        "tcp_rmem": "4096 100000 100000",
    }
    client, _ = connected(lab)
    assert lab.get_option("l1", client, "TCP_CONGESTION") == shown["tcp_congestion_control"] == "cubic"
    with pytest.raises(InvalidArgument, match="does not take 'many'"):
        lab.set_parameters("l1", {"tcp_sack": 1, "tcp_retries2": "many"})
    assert lab.parameters("l1")["tcp_sack"] == 0  # all or none
    with pytest.raises(InvalidArgument, match=r"this kernel has no net\.ipv4\.tcp_nonsense"):
        lab.set_parameters("l1", {"tcp_nonsense": 1})
    lab.set_parameters("l1", {"mcast_solicit": 1})
    assert lab.parameters("l1")["mcast_solicit"] == 1
    assert lab.parameters("l2")["mcast_solicit"] == 3


def test_a_router_of_the_kernel(make: MakeLab) -> None:
    router = "{kind: linux, parameters: {ip_forward: 1}}"
    lab = make(f"nodes: {{l1: linux, r1: {router}, l2: host}}\nlinks: [l1-r1, r1-l2]\n")
    ping = lab.ping("l1", "l2")
    lab.wait(ping)
    assert (ping.result[0].error, ping.result[0].ttl) == ("", 63)
    ping = lab.ping("l1", "l2", ttl=1)
    lab.wait(ping)
    assert (ping.result[0].error, ping.result[0].address) == ("time exceeded", lab.resolve("r1"))


def outcome(lab: RealLab, *argv: str, timeout_ns: int = 60 * SECOND) -> tuple[bytes, bytes, Exit]:
    run = lab.execute("l1", list(argv), timeout_ns=timeout_ns)
    out = err = b""
    try:
        while True:
            said = run.read()
            until(lab, lambda: said.done)  # noqa: B023
            assert said.error is None
            out += said.result.stdout
            err += said.result.stderr
            if said.result.exit is not None:
                return out, err, said.result.exit
    finally:
        run.end()


def test_commands(make: MakeLab) -> None:
    lab = make()
    assert outcome(lab, "sh", "-c", "echo out; echo err >&2; exit 7") == (b"out\n", b"err\n", Exit(7, "", False))
    out, _, done = outcome(lab, "head", "-c", "3000000", "/dev/zero")
    assert (out, done.code) == (bytes(3_000_000), 0)
    assert outcome(lab, "sh", "-c", "kill -SEGV $$")[2] == Exit(139, "SIGSEGV", False)
    assert outcome(lab, "sleep", "60", timeout_ns=50 * MILLISECOND)[2] == Exit(143, "SIGTERM", True)
    names = outcome(lab, "sh", "-c", "ls /sys/class/net; echo /proc/[0-9]*")[0].split()
    assert names[:2] == [b"eth0", b"lo"]
    assert len(names) == 4  # pid 1 and the shell are all there is
    assert b"10.0.0.2 l2" in outcome(lab, "cat", "/etc/hosts")[0]
    with pytest.raises(NotFound, match="no program 'no-such-program'"):
        lab.execute("l1", ["no-such-program"])
    with pytest.raises(NotFound, match="no directory /no/such"):
        lab.execute("l1", ["true"], cwd="/no/such")


def test_a_command_is_fed_and_told(make: MakeLab) -> None:
    lab = make()
    run = lab.execute("l1", ["cat"])
    fed = run.write(b"x" * 1_000_000)  # more than pipes hold: only as it is read
    length = 0
    while length < 1_000_000:
        said = run.read()
        until(lab, lambda: said.done)  # noqa: B023
        length += len(said.result.stdout)
    until(lab, lambda: fed.done)
    run.end_input()
    said = run.read()
    until(lab, lambda: said.done)
    assert (length, said.result.exit) == (1_000_000, Exit(0, "", False))
    run.end()
    run = lab.execute("l1", ["sleep", "60"])
    with pytest.raises(InvalidArgument, match="'NONE' is none"):
        run.signal("NONE")
    run.signal("INT")
    said = run.read()
    until(lab, lambda: said.done)
    assert said.result.exit == Exit(130, "SIGINT", False)
    run.end()


def programs(lab: RealLab) -> set[int]:
    """Processes in the namespace of l1, the member itself left out."""
    member = lab.processes["l1"]
    here = Path(f"/proc/{member}/ns/net").readlink()
    found = set()
    for one in Path("/proc").iterdir():
        if one.name.isdecimal() and int(one.name) != member:
            try:
                if (one / "ns/net").readlink() == here:
                    found.add(int(one.name))
            except OSError:
                continue
    return found


def test_programs_die_with_their_node(make: MakeLab) -> None:
    lab = make()
    outcome(lab, "sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 & setsid sleep 1000 >/dev/null 2>&1 &")
    left = programs(lab)
    assert len(left) == 3  # pid 1 and two that left their session
    os.kill(lab.processes["l1"], signal.SIGKILL)
    until(lab, lambda: not any(Path(f"/proc/{one}").exists() for one in left))
    until(lab, lambda: lab.node_failure("l1") != "")
    with pytest.raises(FailedPrecondition):
        lab.execute("l1", ["true"])


def test_applications_run_on_it(make: MakeLab) -> None:
    lab = make(MIXED)
    lab.start_app("l1", "echo", {"port": 7}, "echo")
    lab.start_app("l2", "heartbeat", {"to": "l1", "port": 7, "interval": "10ms", "count": 5}, "beats")
    lab.start_app("l2", "udp_sink", {"port": 9, "idle": "200ms"}, "datagrams")
    lab.start_app("l1", "udp_source", {"to": "l2", "port": 9, "duration": "100ms"}, "source")
    until(lab, lambda: all(lab.apps[name].done for name in ("beats", "datagrams", "echo")))
    assert lab.apps["beats"].results["answered"] == 5
    assert lab.apps["echo"].results["echoed_bytes"] == 5 * 16
    assert lab.apps["datagrams"].results["received_datagrams"] == lab.apps["source"].results["sent_datagrams"] > 0

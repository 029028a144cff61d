"""Our TCP and Linux's, both ways, over every pair of what matters: congestion control, MTU, loss, reordering, options.

Written against `Lab`, for any backend with nodes of kind linux.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from lab.backends.base import Lab
from lab.backends.catalogue import make_lab
from lab.backends.until import Until
from lab.topology.loader import topology_from_mapping
from nodes.agent.payload import Payload
from nodes.base.clock import MILLISECOND, SECOND
from nodes.base.events import LEVEL_STATES
from nodes.tcp.congestion import CONTROLS
from nodes.tcp.info import TcpInfo
from tests.netns.pairwise import Case, all_pairs, pairs_of

pytestmark = pytest.mark.requires("root")

OURS: Final = "h1"
KERNEL: Final = "h2"
#: Longest that anything here may take, lab time.
PATIENCE: Final = 240 * SECOND

FACTORS: Final = {
    "loss": ("5%", "1%", "0%"),
    "mtu": (1500, 576, 9000),
    "control": ("cubic", "reno", "bbr"),
    "without": ("", "tcp_timestamps", "tcp_sack", "tcp_window_scaling"),
    "reorder": (False, True),
    "sender": (OURS, KERNEL),
    "opener": (KERNEL, OURS),
}
CASES: Final = all_pairs(FACTORS)


def size_of(case: Case) -> int:
    """Bytes to transfer: timeouts of at least 200 ms each are what a transfer at 5 % consists of."""
    return 2_000_000 if case["loss"] == "5%" else 50_000_000


def name_of(case: Case) -> str:
    words = [
        f"{case['sender']}-sends",
        f"{case['opener']}-opens",
        case["control"],
        case["mtu"],
        f"loss-{case['loss']}",
    ]
    words += ["reorder"] if case["reorder"] else []
    words += [f"no-{case['without']}"] if case["without"] else []
    return "-".join(map(str, words))


@pytest.fixture(params=["netns"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def make(backend: str, tmp_path: Path) -> Iterator[Callable[..., Lab]]:
    """Makes labs of h1 (ours) and h2 (Linux) with one link."""
    labs: list[Lab] = []

    def make(parameters: dict[str, int | str] | None = None, mtu: int = 1500, **impairments: Any) -> Lab:
        # On a busy machine the FIN is sent again before its ACK is read, and the RST for the second ACK would end the
        # kernel's TIME-WAIT (RFC 1337).
        description = {
            "nodes": {OURS: "host", KERNEL: {"kind": "linux", "parameters": {"tcp_rfc1337": 1, **(parameters or {})}}},
            "links": [{"endpoints": f"{OURS}-{KERNEL}", "mtu": mtu, **impairments}],
        }
        spool = tmp_path / f"spool-{len(labs)}"
        lab = make_lab(backend, "interop", topology_from_mapping(description), 1, spool, LEVEL_STATES, False)
        labs.append(lab)
        return lab

    yield make
    for lab in labs:
        lab.close_lab()


def other(node: str) -> str:
    return KERNEL if node == OURS else OURS


def connect(lab: Lab, opener: str, options: dict[str, dict[str, int | str]] | None = None) -> dict[str, int]:
    """A connection, opened by `opener`: its number at each end. `options` are by node."""
    chosen = options or {}
    server = other(opener)
    listener = lab.listen(server, 80, options=chosen.get(server))
    accepted = lab.accept(server, listener.number, timeout_ns=PATIENCE)
    opened = lab.open(opener, server, 80, options=chosen.get(opener), timeout_ns=PATIENCE)
    lab.wait(opened, accepted)
    lab.close_listener(server, listener.number)
    return {opener: opened.connection, server: accepted.connection}


def eventually(lab: Lab, what: Callable[[], bool]) -> None:
    """Let time pass until something holds."""
    deadline = lab.now() + PATIENCE
    while not what():
        assert lab.now() < deadline, "it never was so"
        lab.advance(Until(time_ns=lab.now() + 5 * MILLISECOND))


def await_states(lab: Lab, numbers: dict[str, int], **states: str) -> None:
    """Wait for the state of each node's end."""
    seen: dict[str, str] = {}

    def reached() -> bool:
        seen.update({node: lab.status(node, numbers[node]).state_name for node in states})
        return seen == states

    try:
        eventually(lab, reached)
    except AssertionError:
        assert seen == states
        raise


def status(lab: Lab, numbers: dict[str, int], node: str) -> TcpInfo:
    return lab.status(node, numbers[node])


def test_every_pair_of_values_meets() -> None:
    covered = set().union(*map(pairs_of, CASES))
    for one, values in FACTORS.items():
        for two, others in FACTORS.items():
            if one < two:
                assert {((one, a), (two, b)) for a in values for b in others} <= covered
    long = {(case["sender"], case["loss"]) for case in CASES if size_of(case) == 50_000_000}
    assert long == {(sender, loss) for sender in (OURS, KERNEL) for loss in ("0%", "1%")}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_every_byte_arrives(make: Callable[..., Lab], case: Case) -> None:
    impairments: dict[str, Any] = {"loss": case["loss"]}
    if case["reorder"]:
        # One in a hundred skips the delay, and so overtakes all that entered in the last millisecond.
        impairments |= {"delay": "1ms", "reorder": "1%"}
    lab = make({str(case["without"]): 0} if case["without"] else {}, mtu=case["mtu"], **impairments)
    numbers = connect(lab, str(case["opener"]), {KERNEL: {"TCP_CONGESTION": str(case["control"])}})
    sender, receiver = str(case["sender"]), other(str(case["sender"]))
    size = size_of(case)
    payload = Payload(bytes(range(251)), size)

    received = lab.receive(receiver, numbers[receiver], max_bytes=size, min_bytes=size, keep=False, timeout_ns=PATIENCE)
    sent = lab.send(sender, numbers[sender], payload, timeout_ns=PATIENCE)
    lab.wait(sent, received)
    assert sent.result == size
    assert (received.result.length, received.result.sha256) == (size, payload.sha256())
    _agreed_options(lab, numbers, str(case["without"]))
    assert status(lab, numbers, KERNEL).congestion == case["control"]

    lab.shutdown(sender, numbers[sender])
    end = lab.receive(receiver, numbers[receiver], timeout_ns=PATIENCE)
    lab.wait(end)
    assert (end.result.length, end.result.eof) == (0, True)
    assert status(lab, numbers, receiver).state_name == "CLOSE-WAIT"
    lab.close(receiver, numbers[receiver])
    await_states(lab, numbers, **{sender: "TIME-WAIT", receiver: "CLOSED"})
    assert status(lab, numbers, receiver).bytes_received in (size, size + 1)  # Linux counts a FIN

    counted = lab.link_statistics(f"{OURS}-{KERNEL}")[f"{sender}->{receiver}"]
    if case["loss"] != "0%":
        assert counted["dropped_loss"] > 0
        assert status(lab, numbers, sender).total_retrans > 0
    if case["reorder"]:
        assert counted["reordered"] > 0


def _agreed_options(lab: Lab, numbers: dict[str, int], without: str) -> None:
    everything = {"tcp_timestamps": "timestamps", "tcp_window_scaling": "wscale", "tcp_sack": "sack"}
    expected = set(everything.values()) - {everything.get(without)}
    for node in numbers:
        assert expected == set(everything.values()) & set(status(lab, numbers, node).options)


@pytest.mark.parametrize("control", sorted(CONTROLS))
def test_every_congestion_control_of_ours(make: Callable[..., Lab], control: str) -> None:
    lab = make(loss="1%", delay="2ms", rate="200mbit")
    numbers = connect(lab, KERNEL, {OURS: {"TCP_CONGESTION": control}})
    payload = Payload(bytes(range(251)), 5_000_000)
    received = lab.receive(KERNEL, numbers[KERNEL], max_bytes=payload.length, min_bytes=payload.length, keep=False)
    sent = lab.send(OURS, numbers[OURS], payload, timeout_ns=PATIENCE)
    lab.wait(sent, received)
    assert received.result.sha256 == payload.sha256()
    assert status(lab, numbers, OURS).congestion == control
    assert status(lab, numbers, OURS).total_retrans > 0


@pytest.mark.parametrize("sender", [OURS, KERNEL])
def test_what_comes_twice_is_reported(make: Callable[..., Lab], sender: str) -> None:
    """RFC 2883: the receiver of a duplicate says so in its ACK, and the sender counts it."""
    lab = make(duplicate="5%")
    numbers = connect(lab, OURS)
    payload = Payload(b"twice", 2_000_000)
    receiver = other(sender)
    received = lab.receive(receiver, numbers[receiver], max_bytes=payload.length, min_bytes=payload.length, keep=False)
    lab.wait(lab.send(sender, numbers[sender], payload, timeout_ns=PATIENCE), received)
    assert received.result.sha256 == payload.sha256()
    assert lab.counters(receiver)["TcpExtTCPDSACKOldSent"] > 0
    assert lab.counters(sender)["TcpExtTCPDSACKRecv"] > 0


# Closing, both ways.


@pytest.mark.parametrize("first", [OURS, KERNEL])
def test_half_close(make: Callable[..., Lab], first: str) -> None:
    """One end says FIN and still receives 1 MB."""
    lab, second = make(), other(first)
    numbers = connect(lab, OURS)
    lab.wait(lab.send(first, numbers[first], Payload.of(b"question")))
    lab.shutdown(first, numbers[first])
    question = lab.receive(second, numbers[second], max_bytes=100, min_bytes=100, timeout_ns=PATIENCE)
    lab.wait(question)
    assert (question.result.data, question.result.eof) == (b"question", True)
    await_states(lab, numbers, **{first: "FIN-WAIT-2", second: "CLOSE-WAIT"})

    answer = Payload(b"answer", 1_000_000)
    received = lab.receive(first, numbers[first], max_bytes=answer.length + 1, min_bytes=answer.length + 1, keep=False)
    lab.wait(lab.send(second, numbers[second], answer))
    lab.close(second, numbers[second])
    lab.wait(received)
    assert (received.result.sha256, received.result.eof) == (answer.sha256(), True)
    await_states(lab, numbers, **{first: "TIME-WAIT", second: "CLOSED"})


def test_simultaneous_close(make: Callable[..., Lab]) -> None:
    """Both FINs are on the wire at once: CLOSING, then TIME-WAIT, at both ends."""
    lab = make(delay="100ms")
    numbers = connect(lab, OURS)
    lab.shutdown(OURS, numbers[OURS])
    lab.shutdown(KERNEL, numbers[KERNEL])
    await_states(lab, numbers, h1="CLOSING", h2="CLOSING")
    await_states(lab, numbers, h1="TIME-WAIT", h2="TIME-WAIT")


def test_simultaneous_open(make: Callable[..., Lab]) -> None:
    """Both SYNs are on the wire at once, and nobody listens: one connection, opened actively at both ends."""
    lab = make(delay="100ms")
    opening = {node: lab.open(node, other(node), 2000, local_port=2000, timeout_ns=PATIENCE) for node in (OURS, KERNEL)}
    lab.wait(*opening.values())
    numbers = {node: operation.connection for node, operation in opening.items()}
    await_states(lab, numbers, h1="ESTABLISHED", h2="ESTABLISHED")
    received = {
        node: lab.receive(node, numbers[node], max_bytes=100_000, min_bytes=100_000, keep=False) for node in numbers
    }
    sent = [lab.send(node, numbers[node], Payload(b"both", 100_000)) for node in numbers]
    lab.wait(*sent, *received.values())
    for operation in received.values():
        assert operation.result.sha256 == Payload(b"both", 100_000).sha256()


@pytest.mark.parametrize("resetting", [OURS, KERNEL])
def test_abort_resets_the_peer(make: Callable[..., Lab], resetting: str) -> None:
    lab, victim = make(), other(resetting)
    numbers = connect(lab, KERNEL)
    reading = lab.receive(victim, numbers[victim], timeout_ns=PATIENCE)
    lab.abort(resetting, numbers[resetting])
    lab.advance(Until(operations=(reading.name,)))
    assert getattr(reading.error, "errno_name", None) == "ECONNRESET"
    await_states(lab, numbers, h1="CLOSED", h2="CLOSED")


@pytest.mark.parametrize("resetting", [OURS, KERNEL])
def test_close_with_unread_data_resets_the_peer(make: Callable[..., Lab], resetting: str) -> None:
    lab, victim = make(), other(resetting)
    numbers = connect(lab, OURS)
    lab.wait(lab.send(victim, numbers[victim], Payload.of(b"never read")))
    eventually(lab, lambda: status(lab, numbers, resetting).rcv_queue == len(b"never read"))
    reading = lab.receive(victim, numbers[victim], timeout_ns=PATIENCE)
    lab.close(resetting, numbers[resetting])
    lab.advance(Until(operations=(reading.name,)))
    assert getattr(reading.error, "errno_name", None) == "ECONNRESET"
    await_states(lab, numbers, h1="CLOSED", h2="CLOSED")


@pytest.mark.parametrize("lingering", [OURS, KERNEL])
def test_linger_of_zero_resets_the_peer(make: Callable[..., Lab], lingering: str) -> None:
    lab, victim = make(), other(lingering)
    numbers = connect(lab, OURS)
    lab.set_option(lingering, numbers[lingering], "SO_LINGER", 0)
    reading = lab.receive(victim, numbers[victim], timeout_ns=PATIENCE)
    lab.close(lingering, numbers[lingering])
    lab.advance(Until(operations=(reading.name,)))
    assert getattr(reading.error, "errno_name", None) == "ECONNRESET"
    await_states(lab, numbers, h1="CLOSED", h2="CLOSED")


@pytest.mark.parametrize("lingering", [OURS, KERNEL])
def test_linger_of_seconds_delivers_and_closes_in_order(make: Callable[..., Lab], lingering: str) -> None:
    lab, reader = make(delay="5ms"), other(lingering)
    numbers = connect(lab, OURS)
    lab.set_option(lingering, numbers[lingering], "SO_LINGER", 10)
    data = Payload(b"linger", 300_000)
    received = lab.receive(reader, numbers[reader], max_bytes=400_000, min_bytes=400_000, keep=False)
    lab.wait(lab.send(lingering, numbers[lingering], data))
    lab.close(lingering, numbers[lingering])
    lab.wait(received)
    assert (received.result.sha256, received.result.eof) == (data.sha256(), True)
    await_states(lab, numbers, **{lingering: "FIN-WAIT-2", reader: "CLOSE-WAIT"})


# Refused, and waiting.


@pytest.mark.parametrize("opener", [OURS, KERNEL])
def test_nobody_listens(make: Callable[..., Lab], opener: str) -> None:
    lab = make()
    opening = lab.open(opener, other(opener), 81, timeout_ns=PATIENCE)
    lab.advance(Until(operations=(opening.name,)))
    assert getattr(opening.error, "errno_name", None) == "ECONNREFUSED"


@pytest.mark.parametrize("keeper", [OURS, KERNEL])
def test_keepalive(make: Callable[..., Lab], keeper: str) -> None:
    """Probes are answered while the peer is there; when it is not, the third unanswered one ends the connection."""
    lab = make()
    options: dict[str, int | str] = {"SO_KEEPALIVE": 1, "TCP_KEEPIDLE": 1, "TCP_KEEPINTVL": 1, "TCP_KEEPCNT": 3}
    numbers = connect(lab, OURS, {keeper: options})
    peer = other(keeper)
    before = status(lab, numbers, peer).segs_in
    lab.advance(Until(time_ns=lab.now() + 2500 * MILLISECOND))
    assert status(lab, numbers, keeper).state_name == "ESTABLISHED"
    assert status(lab, numbers, peer).segs_in > before
    lab.set_link_up(f"{OURS}-{KERNEL}", False)
    reading = lab.receive(keeper, numbers[keeper], timeout_ns=PATIENCE)
    lab.advance(Until(operations=(reading.name,)))
    assert getattr(reading.error, "errno_name", None) == "ETIMEDOUT"
    assert status(lab, numbers, keeper).state_name == "CLOSED"
    assert status(lab, numbers, peer).state_name == "ESTABLISHED"


@pytest.mark.parametrize("receiver", [OURS, KERNEL])
def test_zero_window(make: Callable[..., Lab], receiver: str) -> None:
    """A reader that does not read closes its window; the sender probes; then all arrives."""
    lab, sender = make(), other(receiver)
    numbers = connect(lab, sender, {receiver: {"SO_RCVBUF": 16_384}})
    data = Payload(b"window", 1_000_000)
    sending = lab.send(sender, numbers[sender], data, timeout_ns=PATIENCE)
    eventually(lab, lambda: status(lab, numbers, sender).snd_wnd == 0 and status(lab, numbers, sender).unacked == 0)
    stuck = status(lab, numbers, sender)
    queued = status(lab, numbers, receiver).rcv_queue
    assert 0 < queued <= 32_768
    assert stuck.notsent_bytes > 0
    eventually(lab, lambda: status(lab, numbers, sender).segs_out >= stuck.segs_out + 3)
    assert status(lab, numbers, receiver).rcv_queue == queued, "probes, no data"
    received = lab.receive(
        receiver, numbers[receiver], max_bytes=data.length, min_bytes=data.length, keep=False, timeout_ns=PATIENCE
    )
    lab.wait(received, sending)
    assert received.result.sha256 == data.sha256()

"""Applications on two hosts: what they report, and what they leave behind."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.apps.base import App
from nodes.apps.catalogue import APPS
from nodes.apps.pattern import Pattern
from nodes.apps.sockets import StackSockets
from nodes.base.clock import MILLISECOND, SECOND
from nodes.base.errors import InvalidArgument, SocketError
from nodes.base.tasks import Task
from tests.nodes.net import Net, ip, pair


def start(net: Net, node: str, kind: str, **settings: Any) -> tuple[App[Any], Task]:
    host = net.hosts[node]
    cls = APPS[kind]
    app = cls(
        f"{node}-{kind}",
        StackSockets(host.driver),
        host.order,
        cls.Settings(**settings),
        lambda name: ip(f"10.0.0.{name[1]}"),
    )
    return app, app.start()


def finish(net: Net, *tasks: Task, within_ns: int = 1000 * SECOND) -> None:
    net_end = net.scheduler.now() + within_ns
    while not all(task.done for task in tasks) and net.scheduler.next_time() <= net_end:
        net.scheduler.run_next()
    assert all(task.done for task in tasks)


def states(net: Net, node: str) -> list[str]:
    host = net.hosts[node]
    return [status.state_name for status in host.statuses()]


@given(st.integers(0, 300_000), st.binary(min_size=1, max_size=9), st.integers(1000, 100_000))
def test_a_pattern_in_parts_is_the_pattern_repeated(length: int, text: bytes, size: int) -> None:
    pattern = Pattern(length, text)
    whole = (text * (length // len(text) + 1))[:length]
    assert b"".join(pattern.part(at, size) for at in range(0, length, size)) == whole
    assert pattern.part(length, size) == b""
    assert pattern.sha256() == hashlib.sha256(whole).hexdigest()


def test_a_pattern_longer_than_a_block() -> None:
    text = bytes(range(256)) * 1000
    assert Pattern(600_000, text).part(255_999, 70_000) == (text * 3)[255_999:325_999]
    with pytest.raises(InvalidArgument):
        Pattern(5, b"")


def test_bulk_to_sink() -> None:
    net = pair()
    sink, sink_task = start(net, "h2", "sink")
    bulk, bulk_task = start(
        net, "h1", "bulk", to="h2", bytes_=500_000, pattern="abc", local_port=4000, close_after_ns=SECOND
    )
    finish(net, sink_task, bulk_task)
    assert sink_task.error is None and bulk_task.error is None
    digest = hashlib.sha256((b"abc" * 166_667)[:500_000]).hexdigest()
    assert sink.results == {
        "accepted": 1,
        "received_bytes": 500_000,
        "received_sha256": digest,
        "connection_1": f"500000 bytes, sha256 {digest}",
    }
    assert (bulk.results["sent_bytes"], bulk.results["sent_sha256"]) == (500_000, digest)
    assert int(bulk.results["duration_ns"]) > SECOND and bulk.connections == [1]
    assert net.hosts["h1"].status(1).local_port == 4000


def test_bulk_to_sink_without_digests() -> None:
    net = pair()
    sink, sink_task = start(net, "h2", "sink", digest=False)
    bulk, bulk_task = start(net, "h1", "bulk", to="h2", bytes_=500_000, digest=False)
    finish(net, sink_task, bulk_task)
    assert sink.results == {"accepted": 1, "received_bytes": 500_000, "connection_1": "500000 bytes"}
    assert bulk.results["sent_bytes"] == 500_000 and "sent_sha256" not in bulk.results
    assert (states(net, "h1"), states(net, "h2")) == (["TIME-WAIT"], ["LAST-ACK"])
    assert net.hosts["h2"].listeners() == []


def test_a_sink_of_several_connections_outlives_one_that_is_reset() -> None:
    net = pair()
    sink, sink_task = start(net, "h2", "sink", connections=2)
    one, _ = start(net, "h1", "bulk", to="h2", bytes_=10_000, close_after_ns=9 * SECOND)
    net.settle(SECOND)
    net.hosts["h1"].abort(one.connections[0])
    _, bulk_task = start(net, "h1", "bulk", to="h2", bytes_=20_000)
    finish(net, sink_task, bulk_task)
    assert (sink.results["accepted"], sink.results["failed"], sink.results["received_bytes"]) == (2, 1, 30_000)
    assert isinstance(sink_task.error, SocketError) and sink_task.error.errno_name == "ECONNRESET"


def test_bulk_stops_sending_when_its_time_is_over() -> None:
    net = pair()
    sink, sink_task = start(net, "h2", "sink")
    bulk, bulk_task = start(net, "h1", "bulk", to="h2", bytes_=1 << 40, chunk_bytes=1000, stop_after_ns=SECOND // 10)
    finish(net, sink_task, bulk_task)
    assert bulk_task.error is None
    assert 0 < int(bulk.results["sent_bytes"]) == sink.results["received_bytes"]
    assert SECOND // 10 <= int(bulk.results["duration_ns"]) < SECOND


def test_bulk_to_nobody_fails_as_a_socket_does() -> None:
    net = pair()
    _, task = start(net, "h1", "bulk", to="h2")
    finish(net, task)
    assert isinstance(task.error, SocketError) and task.error.errno_name == "ECONNREFUSED"


def test_heartbeat_of_a_living_and_of_a_dead_peer() -> None:
    net = pair()
    echo, echo_task = start(net, "h2", "echo")
    heartbeat, task = start(net, "h1", "heartbeat", to="h2", count=3)
    finish(net, task, echo_task)
    assert heartbeat.results == {"sent": 3, "answered": 3, "peer": "alive"}
    assert echo.results == {"accepted": 1, "echoed_bytes": 48}

    start(net, "h2", "echo")
    heartbeat, task = start(net, "h1", "heartbeat", to="h2", timeout_ns=2 * SECOND)
    begun = net.scheduler.now()
    net.settle(2500 * MILLISECOND)
    net.cut.add("h2:0")
    finish(net, task)
    assert task.error is None
    assert heartbeat.results["peer"] == "dead" and heartbeat.results["reason"] == "timeout"
    assert begun + 5 * SECOND <= int(heartbeat.results["dead_at_ns"]) < begun + 6 * SECOND
    assert states(net, "h1")[-1] == "CLOSED"


def test_a_slow_reader_closes_the_window_and_still_gets_all() -> None:
    net = pair()
    reader, reader_task = start(
        net,
        "h2",
        "slow_reader",
        start_ns=5 * SECOND,
        read_bytes=10_000,
        interval_ns=10 * MILLISECOND,
        options={"SO_RCVBUF": 20_000},
    )
    bulk, bulk_task = start(net, "h1", "bulk", to="h2", bytes_=200_000)
    net.settle(3 * SECOND)
    assert net.hosts["h1"].status(1).snd_wnd == 0
    finish(net, reader_task, bulk_task)
    assert reader.results["received_sha256"] == bulk.results["sent_sha256"]


@pytest.mark.parametrize(("persistent", "connections"), [(True, 1), (False, 4)])
def test_requests(persistent: bool, connections: int) -> None:
    net = pair()
    server, server_task = start(net, "h2", "responder", connections=connections)
    client, task = start(net, "h1", "requests", to="h2", count=4, persistent=persistent, response_bytes=70_000)
    finish(net, task, server_task)
    assert task.error is None and server_task.error is None
    assert (client.results["answered"], server.results) == (4, {"accepted": connections, "served": 4})
    assert int(client.results["shortest_ns"]) <= int(client.results["longest_ns"]) <= int(client.results["total_ns"])


def test_udp_at_a_constant_rate() -> None:
    net = pair()
    sink, sink_task = start(net, "h2", "udp_sink")
    source, task = start(net, "h1", "udp_source", to="h2", rate_bps=80_000, size_bytes=100, duration_ns=SECOND)
    finish(net, task, sink_task)
    assert source.results == {"sent_datagrams": 100, "sent_bytes": 10_000, "refused": 0}
    assert sink.results == {"received_datagrams": 100, "received_bytes": 10_000, "reordered": 0}
    times = [time for time, end, frame in net.captured if end == "h1:0" and frame[23:24] == b"\x11"]
    assert times[5:] == [number * 10 * MILLISECOND for number in range(5, 100)]


def test_a_stopped_app_closes_what_it_holds() -> None:
    net = pair()
    _, sink_task = start(net, "h2", "sink", connections=0)
    _, bulk_task = start(net, "h1", "bulk", to="h2", bytes_=1000, close_after_ns=1000 * SECOND)
    net.settle(SECOND)
    sink_task.cancel()
    bulk_task.cancel()
    net.settle(SECOND)
    assert sink_task.done and bulk_task.done
    assert net.hosts["h2"].listeners() == []
    net.settle(100 * SECOND)
    assert states(net, "h1") == states(net, "h2") == ["CLOSED"]


@pytest.mark.parametrize(
    ("kind", "settings", "field"),
    [
        ("bulk", {"to": "h2", "port": 0}, "port"),
        ("bulk", {"to": "h2", "chunk_bytes": 0}, "chunk"),
        ("sink", {"port": 65536}, "port"),
        ("heartbeat", {"to": "h2", "interval_ns": 0}, "interval"),
        ("udp_source", {"to": "h2", "size_bytes": 65508}, "size"),
        ("requests", {"to": "h2", "count": 0}, "count"),
    ],
)
def test_impossible_settings(kind: str, settings: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgument, match=f"{field}: .* is not allowed") as error:
        APPS[kind].Settings(**settings)
    assert error.value.field == field

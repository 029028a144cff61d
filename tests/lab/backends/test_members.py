"""Members of a lab: processes that offer calls over a line, as the lab's process sees them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab import spec
from lab.backends.real.crew import Crew
from lab.backends.real.member import RunningMember
from lab.backends.real.merge import Merge
from lab.backends.real.settings import read_settings
from lab.trace.spool import SpoolWriter
from lab.trace.spool_reader import SpoolReader
from nodes.agent.host_calls import RemoteHost, offer_host
from nodes.agent.member import Member
from nodes.agent.payload import Payload
from nodes.agent.stack_host import StackHost
from nodes.apps.catalogue import APPS
from nodes.base.clock import NEVER, SECOND
from nodes.base.errors import Cancelled, FailedPrecondition, InvalidArgument, NotFound, SocketError
from nodes.base.events import LEVEL_ALL, STATE
from nodes.base.random import Randomness
from nodes.base.real import RealScheduler
from nodes.base.tasks import Task, TaskRunner
from nodes.packet.address import parse_address
from nodes.stack import Stack
from nodes.tcp.parameters import Parameters

HERE = parse_address("10.0.0.1")


def serve(member: Member) -> None:
    """A node that has nothing but itself to talk to."""
    stack = Stack("h1", Parameters(), Randomness(1), member.sink)
    stack.add_interface("eth0", b"\2\0\0\0\0\1", HERE, 24, 1500)
    host = StackHost(stack, member.scheduler, member.runner, 0, [lambda frame: None], parse_address)
    offer_host(member, host, read_settings)
    member.tell("ready")
    member.run()


class Node:
    def __init__(self, member: RunningMember, scheduler: RealScheduler, sink: SpoolWriter, merge: Merge) -> None:
        self.member = member
        self.sink = sink
        self.merge = merge
        self.scheduler = scheduler
        self.runner = TaskRunner(scheduler)
        self.host = RemoteHost("h1", 0, member.remote, self.runner, spec.plain)

    def run(self, *work: Coroutine[Any, None, Any]) -> list[Any]:
        tasks = [self.runner.spawn(0, "test", one) for one in work]
        self.until(tasks)
        for task in tasks:
            if task.error is not None:
                raise task.error
        return [task.result for task in tasks]

    def until(self, tasks: list[Task]) -> None:
        deadline = self.scheduler.real_now() + 30 * SECOND
        while any(not task.done for task in tasks):
            assert self.scheduler.real_now() < deadline
            self.scheduler.run_once(SECOND)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    scheduler = RealScheduler(time.monotonic_ns())
    sink = SpoolWriter(tmp_path / "spool")
    merge = Merge(sink, scheduler)
    crew = Crew(scheduler, merge, LEVEL_ALL, False)
    member = crew.add("node h1", lambda: None, serve)
    crew.await_ready(lambda done, of: None)
    member.remote.on_end = lambda: member.remote.close(member.reap(SECOND))
    yield Node(member, scheduler, sink, merge)
    crew.disband()
    scheduler.close()
    sink.close()


def test_a_connection_by_calls_over_the_line(node: Node) -> None:
    host = node.host
    listener = host.listen(80)
    client, server = node.run(host.open(HERE, 80), host.accept(listener))
    payload = Payload(b"0123456789", 300_000)
    sent, received = node.run(
        host.send(client, payload), host.receive(server, payload.length, payload.length, keep=False)
    )
    assert (sent, received.length, received.sha256) == (payload.length, payload.length, payload.sha256())
    assert host.status(client).state_name == "ESTABLISHED"
    assert [one.number for one in host.statuses()] == [client, server]
    host.close(client)
    (rest,) = node.run(host.receive(server))
    assert (rest.data, rest.eof) == (b"", True)
    assert host.counters()["TcpActiveOpens"] == 1


def test_errors_cross_as_what_they_are(node: Node) -> None:
    host = node.host
    with pytest.raises(NotFound, match="h1 has no connection 99"):
        host.status(99)
    with pytest.raises(InvalidArgument) as wrong:
        host.set_parameters({"tcp_syn_retries": 1000})
    assert wrong.value.field == "tcp_syn_retries"
    with pytest.raises(SocketError) as refused:
        node.run(host.open(HERE, 81))
    assert refused.value.errno_name == "ECONNREFUSED"
    with pytest.raises(TimeoutError):
        node.run(host.accept(host.listen(82), timeout_ns=1000))
    with pytest.raises(NotFound, match="offers no call"):
        host.remote.call("nothing")


def test_a_call_that_waits_can_be_cancelled(node: Node) -> None:
    host = node.host
    listener = host.listen(80)
    task = node.runner.spawn(0, "accept", host.accept(listener))
    node.scheduler.run_once(0)
    task.cancel()
    node.until([task])
    assert isinstance(task.error, Cancelled)
    # The member has given it up too: the next connection goes to the next accept.
    client, server = node.run(host.open(HERE, 80), host.accept(listener))
    assert {one.number for one in host.statuses()} == {client, server}


def test_applications_run_there_and_report_here(node: Node) -> None:
    sink = spec.from_mapping(APPS["sink"].Settings, {"port": 5001, "connections": 1})
    bulk = spec.from_mapping(APPS["bulk"].Settings, {"to": "10.0.0.1", "port": 5001, "bytes": "100kb"})
    tasks = [node.host.start_app("s", "sink", sink), node.host.start_app("b", "bulk", bulk)]
    node.until(tasks)
    assert [task.error for task in tasks] == [None, None]
    sent, received = node.host.app("b").results, node.host.app("s").results
    assert sent["sent_bytes"] == 100 * 1024
    assert sent["sent_sha256"] == received["received_sha256"]


def test_events_come_with_their_names(node: Node, tmp_path: Path) -> None:
    node.run(node.host.open(HERE, node_port(node)))
    node.merge.write(NEVER)
    node.sink.flush()
    states = list(SpoolReader(tmp_path / "spool", kinds=(STATE,)))
    assert {event.node for event in states} == {"h1"}
    assert [event["new"] for event in states if event.connection == 1][:2] == ["SYN-SENT", "ESTABLISHED"]
    assert [event.time_ns for event in states] == sorted(event.time_ns for event in states)


def node_port(node: Node) -> int:
    node.host.listen(80)
    return 80


def test_a_killed_member_fails_calls_and_leaves_what_was_known(node: Node) -> None:
    host = node.host
    listener = host.listen(80)
    (client,) = node.run(host.open(HERE, 80))
    known = host.statuses()
    waiting = node.runner.spawn(0, "receive", host.receive(client))
    os.kill(node.member.pid, signal.SIGKILL)
    node.until([waiting])
    assert isinstance(waiting.error, FailedPrecondition)
    assert "SIGKILL" in str(waiting.error)
    with pytest.raises(FailedPrecondition, match="node h1 has FAILED: its process was killed by SIGKILL"):
        host.close_listener(listener)
    assert host.statuses() == known

"""The door of a node's agent, where programs of the node come in."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import Any

import msgpack
import pytest

from lab.backends.real.lab import RealLab
from nodes.agent.door import Door
from nodes.agent.stack_host import StackHost
from nodes.base.errors import AlreadyExists
from nodes.base.event_sink import EventSink
from nodes.base.random import Randomness
from nodes.base.real import RealScheduler
from nodes.base.tasks import TaskRunner
from nodes.stack import Stack
from nodes.tcp.parameters import Parameters
from tests.netns.programs import OURS_AND_LINUX, agents_descriptors

pytestmark = pytest.mark.requires("root")

TEXT = OURS_AND_LINUX


def test_a_namespace_has_one_door(lab: RealLab) -> None:
    scheduler = RealScheduler(0)
    runner = TaskRunner(scheduler)
    stack = Stack("h1", Parameters(), Randomness(1), EventSink())
    host = StackHost(stack, scheduler, runner, 0, [], lambda name: b"")
    with lab.inside("h1"), pytest.raises(AlreadyExists, match="agent already"):
        Door(host, scheduler, runner, {})
    scheduler.close()


def test_whoever_speaks_nonsense_at_the_door_is_sent_away_and_nobody_else_notices(lab: RealLab) -> None:
    def door() -> socket.socket:
        with lab.inside("h1"):
            one = socket.socket(socket.AF_UNIX)
        one.settimeout(20)
        with lab.inside("h1"):
            one.connect("\0tcplab")
        return one

    def ask(one: socket.socket, message: object) -> Any:
        one.sendall(msgpack.packb(message))
        return msgpack.unpackb(one.recv(1 << 16))

    before = agents_descriptors(lab, "h1")
    for nonsense in (b"\xc1", b"\x07", msgpack.packb({"call": 7, "id": 1}), msgpack.packb(["id"]), os.urandom(100_000)):
        with door() as one, contextlib.suppress(OSError):
            one.sendall(nonsense)
            one.shutdown(socket.SHUT_WR)
            assert one.recv(1) == b""
    with door() as one:
        for call, arguments in (
            ("no-such-call", {}),
            ("bind", {}),
            ("bind", {"number": 1_000_000, "host": "", "port": 1}),
            ("socket", {"kind": "stream", "inode": 1, "owner": "me"}),
            ("resolve", {"name": "h9"}),
            ("echo", {"series": 3, "sequence": 1, "size": 1, "ttl": 1, "timeout_ns": 1}),
            ("send", {"connection": 1}),
        ):
            answer = ask(one, {"id": 5, "call": call, "args": arguments})
            assert answer["id"] == 5
            assert "error" in answer
        # A descriptor that is no socket; one that nobody asked for goes with the line.
        read, write = os.pipe()
        message = {"id": 6, "call": "socket", "args": {"kind": "stream", "family": 2, "inode": 1, "owner": "me"}}
        socket.send_fds(one, [msgpack.packb(message)], [read])
        assert "no socket" in msgpack.unpackb(one.recv(1 << 16))["error"]["message"]
        socket.send_fds(one, [msgpack.packb({"id": 7, "call": "counters"})], [read, write])
        assert "value" in msgpack.unpackb(one.recv(1 << 16))
        os.close(read)
        os.close(write)
    with door() as one:
        assert ask(one, {"id": 1, "call": "resolve", "args": {"name": "h2"}})["value"] == ["10.0.0.2"]
    with door() as one:
        # Until the agent has heard of the end of the others.
        for _ in range(100):
            ask(one, {"id": 1, "call": "counters"})
        assert agents_descriptors(lab, "h1") == before + 1

"""What is killed is said to be, with its reason; the rest goes on; and nothing stays behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.trace.bundle import Bundle
from lab.trace.spool_reader import SpoolReader
from tcplab.client import Controller, FailedPrecondition, InvalidArgument, Lab
from tcplab.v1 import lab_pb2, node_pb2, run_pb2
from tests.contract.under import PAIR, Pair, Under, kill
from tests.server.api import Api, Server
from tests.server.test_processes import wait_for

READY, FAILED = lab_pb2.Lab.STATE_READY, lab_pb2.Lab.STATE_FAILED


def until(lab: Lab, wanted: Callable[[lab_pb2.Lab], bool]) -> lab_pb2.Lab:
    """The lab as soon as it is so."""
    return next(one for one in lab.watch() if wanted(one))


def check_run(under: Under, lab: Lab, why: str) -> None:
    """What a killed lab leaves: a run that says so, whose trace can be read."""
    run = under.api.runs.GetRun(run_pb2.GetRunRequest(name=lab.run))
    assert (run.state, run.error) == (run_pb2.Run.STATE_ERROR, why)
    bundle = Bundle.open(lab.run_directory)
    assert bundle.manifest["failure"] == why
    assert sum(1 for _ in SpoolReader(bundle.spool)) > 0


def test_a_killed_lab_has_failed_and_says_how(under: Under) -> None:
    with under.lab() as other:
        before = under.server.processes()
        lab = under.lab()
        client, _ = Pair(lab, under.api).connect()
        list(lab.trace())  # and so it is in the file
        (process,) = [under.process(lab)] if under.real_time else set(under.server.processes()) - set(before)
        kill(process)
        failed = until(lab, lambda one: one.state == FAILED)
        assert "its process was killed by SIGKILL" in failed.failure
        with pytest.raises(FailedPrecondition, match="SIGKILL") as caught:
            client.status()
        assert caught.value.reason == "LAB_FAILED"
        assert Pair(other, under.api).rtts(1)  # nobody else has noticed
        check_run(under, lab, failed.failure)
        lab.delete()
    assert under.left() == {}


# Labs of several processes. A lab in virtual time is one: it is whole, or it is gone.


def test_a_killed_node_has_failed_and_the_lab_goes_on(under: Under) -> None:
    if not under.real_time:
        assert under.lone_processes()
        return
    topology = "nodes: {h1: host, h2: host, h3: linux, s1: switch}\nlinks: [h1-s1, h2-s1, h3-s1]\n"
    with under.lab(topology) as lab:
        kill(under.member(lab, "h1"))
        now = until(lab, lambda one: bool(one.failed_nodes))
        assert (now.state, list(now.failed_nodes)) == (READY, ["h1"])
        assert "killed" in now.failed_nodes["h1"]
        states = {one.name: one.info().state for one in lab.nodes()}
        failed, ready = node_pb2.Node.STATE_FAILED, node_pb2.Node.STATE_READY
        assert states == {"h1": failed, "h2": ready, "h3": ready}
        assert lab.node("h1").info().failure == now.failed_nodes["h1"]
        with pytest.raises(FailedPrecondition, match="killed"):
            lab.node("h1").listen(80)
        assert lab.node("h2").ping("h3", timeout="5s").received == 1
        assert lab.node("h2").ping("h1", timeout="200ms").received == 0
        directory = lab.run_directory
    assert list(Bundle.open(directory).manifest["failures"]) == ["h1"]
    assert under.left() == {}


def test_without_its_link_engine_a_lab_has_failed(under: Under) -> None:
    if not under.real_time:
        assert under.lone_processes()
        return
    lab = under.lab("nodes: {h1: host, h2: host}\nlinks: [{endpoints: h1-h2, delay: 1ms}]\n")
    Pair(lab, under.api).rtts(1)
    list(lab.trace())
    kill(under.member(lab, "engine"))
    now = until(lab, lambda one: one.state == FAILED)
    assert now.failure == "link engine: its process was killed by SIGKILL"
    check_run(under, lab, now.failure)
    lab.delete()
    assert under.left() == {}


@pytest.fixture
def fresh(under: Under, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Under]]:
    """Controllers on one socket and one journal, one after the other; to be killed."""
    directory = tmp_path_factory.mktemp("own")
    environment = {"DOCKER_HOST": under.dockerd.environment["DOCKER_HOST"]} if under.dockerd is not None else {}
    made: list[tuple[Server, Controller]] = []

    def start() -> Under:
        server = Server(directory, **environment)
        controller = Controller(server.address)
        controller.open()
        made.append((server, controller))
        return Under(under.backend, server, controller, Api(server.address), under.dockerd, under.capabilities)

    yield start
    for server, controller in made:
        controller.close()
        if server.process.poll() is None:
            assert server.stop() == 0
        else:
            assert server.process.stdin is not None and server.process.stdout is not None
            server.process.stdin.close()
            server.process.stdout.close()
    assert Server.processes_marked(str(directory)) == []
    assert list((directory / "tmp").iterdir()) == []
    if under.dockerd is not None:
        assert under.dockerd.docker("ps", "--all", "--quiet") == ""


def make(one: Under, keep: str) -> tuple[Lab, Pair]:
    lab = one.lab(PAIR, on_controller_loss=keep)
    return lab, Pair(lab, one.api)


def test_a_lab_outlives_its_controller_and_is_adopted(under: Under, fresh: Callable[[], Under]) -> None:
    first = fresh()
    if not under.real_time:
        with pytest.raises(InvalidArgument) as caught:
            make(first, "keep")
        assert caught.value.field == "on_controller_loss"
        return
    lab, pair = make(first, "keep")
    client, server = pair.connect()
    waiting = server.start_receive(timeout="60s")
    was = lab.info()
    events = [one.seq for one in lab.trace()]
    kill(first.server.process.pid)
    second = fresh()
    adopted = second.controller.lab(lab.name)
    now = adopted.info()
    assert (now.state, now.run, now.create_time) == (READY, was.run, was.create_time)
    assert now.time_ns > was.time_ns
    pair = Pair(adopted, second.api)
    ends = [adopted.node(one.node).connection(one.number) for one in (client, server)]
    ends[0].send(b"hello")
    (operation,) = [one for one in adopted.operations() if one.name == waiting.name]
    assert operation.wait().received.data == b"hello"  # who waited before waits still
    digest, _ = pair.transfer(ends[0], ends[1], 100_000)
    assert digest
    after = [one.seq for one in adopted.trace()]
    assert after[: len(events)] == events
    adopted.delete()
    run = second.api.runs.GetRun(run_pb2.GetRunRequest(name=now.run))
    assert run.state == run_pb2.Run.STATE_PASSED
    assert second.left() == {}


def test_a_lab_ends_with_its_controller_when_that_is_asked(under: Under, fresh: Callable[[], Under]) -> None:
    first = fresh()
    if under.real_time:
        lab, pair = make(first, "remove")
    else:
        lab = first.lab()
        pair = Pair(lab, first.api)
    pair.connect()
    directory = Path(lab.run_directory)
    processes = first.server.processes()
    kill(first.server.process.pid)
    for pid in processes:
        wait_for(pid)
    assert "finished" in Bundle.open(directory).manifest
    second = fresh()
    assert second.controller.labs() == []
    assert second.left() == {}

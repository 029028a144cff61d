"""Who owns what a real-time lab is made of.

SIGKILL to anything, at any moment, leaves nothing that the next controller or `tcplab reap` does not adopt or remove;
and nothing foreign is touched.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import grpc
import pytest

from lab.fabric.libc import open_filesystem
from lab.trace.bundle import Bundle
from lab.trace.spool_reader import SpoolReader
from nodes.base.processes import Process
from tcplab.v1 import lab_pb2, node_pb2, run_pb2, tcp_pb2, trace_pb2
from tests.namespaces import Namespace, veth
from tests.server.api import Api, Server, fails, failure
from tests.server.test_processes import wait_for

pytestmark = pytest.mark.requires("root")

KEEP = lab_pb2.CONTROLLER_LOSS_KEEP
REMOVE = lab_pb2.CONTROLLER_LOSS_REMOVE
STAR = """
nodes: {h1: host, h2: host, h3: linux, s1: switch}
links: [{endpoints: h1-s1, delay: 1ms}, h2-s1, h3-s1]
"""
ROUNDS = 50
ROUNDS_FOR_EACH = 10


class Machine:
    """A controller, again and again, on one socket and one journal; and what must not be touched beside it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.server: Server | None = None
        self.seen: set[Process] = set()

    def start(self) -> Api:
        """A controller, the one that runs or a new one."""
        if self.server is None or self.server.process.poll() is not None:
            self.close()
            self.server = Server(self.directory)
            assert self.server.address, self.server.log.read_text()
        return Api(self.server.address)

    def close(self) -> None:
        """Let go of a controller that has ended, or end it in order."""
        if self.server is not None:
            process, self.server = self.server.process, None
            assert process.stdin is not None and process.stdout is not None
            process.stdin.close()
            process.wait(30)
            process.stdout.close()

    def kill_controller(self) -> None:
        assert self.server is not None
        self.server.process.kill()
        self.server.process.wait()

    def labs(self) -> list[int]:
        """Processes of labs, by the journal."""
        with contextlib.suppress(FileNotFoundError):
            names = [path.name for path in (self.directory / "state").iterdir()]
            return [int(name.partition("-")[0]) for name in names if name[0].isdigit()]
        return []

    def remember(self) -> None:
        """Note who is in the network namespaces of our processes now, programs on nodes included."""
        assert self.server is not None
        ours = {namespace_of(pid) for pid in self.server.processes()} - {namespace_of("self"), ""}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and namespace_of(entry.name) in ours:
                found = Process.of(int(entry.name))
                if found is not None:
                    self.seen.add(found)

    def reap(self, *options: str) -> list[dict[str, Any]]:
        """What `tcplab reap` says, but for instances of the kernel's tracer: these are the machine's, and may be of
        another test's processes."""
        return [one for one in self.reap_all(*options) if one["what"] != "tracefs instance"]

    def reap_all(self, *options: str) -> Any:
        """What `tcplab reap` says."""
        where = ["--state", str(self.directory / "state"), "--socket", str(self.directory / "s")]
        done = subprocess.run(
            [sys.executable, "-P", "-m", "lab.cli.main", "reap", *where, "--json", *options],
            env={**os.environ, "TMPDIR": str(self.directory / "tmp")},
            capture_output=True,
            check=True,
            text=True,
        )
        return json.loads(done.stdout)

    def left(self) -> dict[str, list[str]]:
        """What there still is of ours, where nothing should be."""
        mark = Server.processes_marked(str(self.directory))
        state = self.directory / "state"
        return {
            "processes": [str(pid) for pid in mark],
            "processes in our namespaces": [str(one.pid) for one in self.seen if one.running],
            "journal": [path.name for path in state.iterdir()] if state.exists() else [],
            "private directories": [path.name for path in (self.directory / "tmp").iterdir()],
            "mounts": [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if "tcplab" in line],
            "sockets": [str(path) for path in (self.directory / "s",) if path.exists()],
        }


NOTHING: dict[str, list[str]] = {
    "processes": [],
    "processes in our namespaces": [],
    "journal": [],
    "private directories": [],
    "mounts": [],
    "sockets": [],
}


@pytest.fixture
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    machine = Machine(tmp_path_factory.mktemp("own"))
    yield machine
    machine.close()
    for pid in Server.processes_marked(str(machine.directory)):  # of a test that failed
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def bystanders(machine: Machine) -> Iterator[None]:
    """A process, a network namespace with a veth in it, and directories that look like ours and are not."""
    foreign = machine.directory / "state" / "precious"
    foreign.mkdir(parents=True)
    (foreign / "file").write_text("precious")
    (machine.directory / "tmp").mkdir(exist_ok=True)
    one, other = Namespace(), Namespace()
    veth(one, other)
    script = "import sys; sys.stdin.read()  # tcplab lab lab-1"
    process = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE)
    yield
    assert process.poll() is None
    assert one.call(interfaces) == other.call(interfaces) == ["eth0", "lo"]
    assert (foreign / "file").read_text() == "precious"
    assert process.stdin is not None
    process.stdin.close()
    process.wait()
    one.close()
    other.close()


def namespace_of(pid: int | str) -> str:
    """The network namespace of a process; "" when it has ended."""
    try:
        return str(Path(f"/proc/{pid}/ns/net").readlink())
    except OSError:
        return ""


def interfaces() -> list[str]:
    return sorted(name for _, name in socket.if_nameindex())


def make(api: Api, **more: Any) -> str:
    return api.lab(STAR, backend="netns", trace_level=trace_pb2.TRACE_LEVEL_STATES, capture=False, **more)


def members(process: int) -> list[int]:
    """Children of a process; of a lab's the link engine first, then the nodes."""
    return [int(pid) for pid in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


@contextlib.contextmanager
def busy(api: Api, lab: str) -> Iterator[None]:
    """Meanwhile something goes on: a transfer, and a program with a child on the kernel's node."""
    client, _ = api.connect(lab)
    api.tcp.Send(tcp_pb2.SendRequest(connection=client, pattern=tcp_pb2.Pattern(pattern=b"x", length=1 << 30)))
    requests: SimpleQueue[node_pb2.ExecRequest | None] = SimpleQueue()
    argv = ["sh", "-c", "setsid sleep 1000 & echo; wait"]
    requests.put(node_pb2.ExecRequest(start=node_pb2.ExecStart(node=f"{lab}/nodes/h3", argv=argv)))
    running = api.nodes.Exec(iter(requests.get, None))
    assert next(running).HasField("started")
    assert next(running).stdout == b"\n"
    yield
    requests.put(None)
    running.cancel()


def await_state(api: Api, lab: str, wanted: Any) -> lab_pb2.Lab:
    """The lab as soon as `wanted(message)`."""
    watching = api.labs.WatchLabs(lab_pb2.WatchLabsRequest(name=lab), timeout=30)
    for news in watching:
        if news.HasField("lab") and wanted(news.lab):
            watching.cancel()
            found: lab_pb2.Lab = news.lab
            return found
    raise AssertionError("it never came to that")


def check_run(directory: str, why: str) -> None:
    """What a killed lab leaves: a run that says so, whose trace can be read."""
    assert why in Bundle.open(directory).manifest["failure"]
    assert sum(1 for _ in SpoolReader(Path(directory) / "events.spool")) > 0


def test_a_lab_goes_on_without_its_controller_and_is_adopted(machine: Machine) -> None:
    api = machine.start()
    assert machine.server is not None
    before = machine.server.processes()
    lab = make(api, on_controller_loss=KEEP)
    client, server = api.connect(lab)
    was = api.get(lab)
    (pid,) = machine.labs()
    following = api.traces.FollowTrace(trace_pb2.FollowTraceRequest(lab=lab))
    last = next(following).next_seq - 1
    machine.kill_controller()
    for other in before:
        wait_for(other)
    api = machine.start()
    now = api.get(lab)
    assert (now.state, now.run, now.directory, now.create_time) == (was.state, was.run, was.directory, was.create_time)
    assert now.time_ns > was.time_ns
    assert machine.labs() == [pid]
    receiving = api.tcp.Receive(tcp_pb2.ReceiveRequest(connection=server, min_length=5))
    sending = api.tcp.Send(tcp_pb2.SendRequest(connection=client, data=b"hello"))
    _, received = api.wait(lab, sending, receiving)
    assert received.received.data == b"hello"
    following = api.traces.FollowTrace(trace_pb2.FollowTraceRequest(lab=lab, start_seq=last + 1))
    assert next(following).events[0].seq == last + 1  # and so on, from the lab's one file
    assert api.runs.GetRun(run_pb2.GetRunRequest(name=now.run)).state == run_pb2.Run.STATE_RUNNING
    api.delete(lab)
    run = api.runs.GetRun(run_pb2.GetRunRequest(name=now.run))
    assert (run.state, run.fidelity.sent > 0) == (run_pb2.Run.STATE_PASSED, True)
    machine.close()
    assert machine.left() == NOTHING


def test_a_lab_that_is_to_be_removed_ends_with_its_controller(machine: Machine) -> None:
    api = machine.start()
    lab = make(api, on_controller_loss=REMOVE)
    directory = api.get(lab).directory
    assert machine.server is not None
    machine.remember()
    pids = machine.server.processes()
    machine.kill_controller()
    for pid in pids:
        wait_for(pid)
    assert "finished" in Bundle.open(directory).manifest
    assert machine.left() == {**NOTHING, "sockets": [str(machine.directory / "s")]}
    assert [one["what"] for one in machine.reap()] == ["socket"]
    api = machine.start()
    assert not api.labs.ListLabs(lab_pb2.ListLabsRequest()).labs
    machine.close()
    assert machine.left() == NOTHING


def test_a_lab_that_died_without_a_controller_is_failed_and_says_so(machine: Machine) -> None:
    api = machine.start()
    lab = make(api, on_controller_loss=KEEP)
    was = api.get(lab)
    machine.kill_controller()
    (pid,) = machine.labs()
    os.kill(pid, signal.SIGKILL)
    wait_for(pid)
    api = machine.start()
    now = api.get(lab)
    assert (now.state, now.backend, now.topology) == (lab_pb2.Lab.STATE_FAILED, "netns", was.topology)
    assert "ended while there was no controller" in now.failure
    found = fails(api.nodes.GetNode, node_pb2.GetNodeRequest(name=f"{lab}/nodes/h1"))
    assert (found.code, found.reason) == ("FAILED_PRECONDITION", "LAB_FAILED")
    run = api.runs.GetRun(run_pb2.GetRunRequest(name=was.run))
    assert (run.state, run.error) == (run_pb2.Run.STATE_ERROR, now.failure)
    assert api.traces.QueryTrace(trace_pb2.QueryTraceRequest(parent=was.run)).events
    check_run(was.directory, "no controller")
    api.delete(lab)
    machine.close()
    assert machine.left() == NOTHING


def test_a_killed_node_is_failed_and_the_lab_goes_on(machine: Machine) -> None:
    api = machine.start()
    lab = make(api)
    (pid,) = machine.labs()
    os.kill(members(pid)[1], signal.SIGKILL)
    now = await_state(api, lab, lambda message: message.failed_nodes)
    assert (now.state, dict(now.failed_nodes)) == (
        lab_pb2.Lab.STATE_READY,
        {"h1": "its process was killed by SIGKILL"},
    )
    nodes = api.nodes.ListNodes(node_pb2.ListNodesRequest(parent=lab)).nodes
    assert [(one.name.rpartition("/")[2], one.state) for one in nodes] == [
        ("h1", node_pb2.Node.STATE_FAILED),
        ("h2", node_pb2.Node.STATE_READY),
        ("h3", node_pb2.Node.STATE_READY),
    ]
    found = fails(api.tcp.Listen, tcp_pb2.ListenRequest(node=f"{lab}/nodes/h1", local_port=80))
    assert (found.code, "killed by SIGKILL" in found.message) == ("FAILED_PRECONDITION", True)
    api.tcp.Listen(tcp_pb2.ListenRequest(node=f"{lab}/nodes/h2", local_port=80))
    api.delete(lab)
    machine.close()
    assert machine.left() == NOTHING


def test_without_its_link_engine_a_lab_has_failed(machine: Machine) -> None:
    api = machine.start()
    lab = make(api)
    was = api.get(lab)
    (pid,) = machine.labs()
    os.kill(members(pid)[0], signal.SIGKILL)
    now = await_state(api, lab, lambda message: message.state == lab_pb2.Lab.STATE_FAILED)
    assert now.failure == "link engine: its process was killed by SIGKILL"
    assert api.runs.GetRun(run_pb2.GetRunRequest(name=was.run)).error == now.failure
    check_run(was.directory, "link engine")
    wait_for(pid)
    api.delete(lab)
    machine.close()
    assert machine.left() == NOTHING


def test_without_its_nursery_a_controller_keeps_its_labs(machine: Machine) -> None:
    api = machine.start()
    real, sim = make(api), api.lab()
    assert machine.server is not None
    (nursery,) = members(machine.server.process.pid)
    os.kill(nursery, signal.SIGKILL)
    found = fails(api.labs.CreateLab, lab_pb2.CreateLabRequest(topology="pair"))
    assert (found.code, "restart the controller" in found.message) == ("RESOURCE_EXHAUSTED", True)
    api.connect(real)
    api.connect(sim)
    api.delete(real)
    machine.close()
    assert machine.left() == NOTHING


def test_reap_leaves_what_a_controller_holds(machine: Machine, bystanders: None) -> None:
    api = machine.start()
    lab = make(api, on_controller_loss=KEEP)
    (one,) = machine.reap()
    assert (one["what"], one["name"], one["stays"]) == ("lab", lab.removeprefix("labs/"), True)
    api.connect(lab)
    directory = api.get(lab).directory
    machine.remember()
    assert machine.server is not None
    pids = machine.server.processes()
    machine.kill_controller()
    found = machine.reap("--dry-run")
    assert [(one["what"], one["stays"]) for one in found] == [("lab", False), ("socket", False)]
    assert len(machine.labs()) == 1  # nothing was done
    assert [one["what"] for one in machine.reap()] == ["lab", "socket"]
    for pid in pids:
        wait_for(pid)
    assert Bundle.open(directory).manifest["finished"]
    assert machine.left() == {**NOTHING, "journal": ["precious"]}
    assert machine.reap() == []


@pytest.mark.parametrize(
    "inside", [(), ("unshare", "--pid", "--fork", "--mount-proc")], ids=["here", "in a pid namespace"]
)
def test_reap_removes_tracer_instances_of_the_dead_alone(machine: Machine, inside: tuple[str, ...]) -> None:
    program = (
        "import sys; from nodes.base.processes import owned_name; print(owned_name(), flush=True); sys.stdin.read()"
    )
    names, root = [], open_filesystem("tracefs")

    def there() -> set[str]:
        return {one.name for one in Path(f"/proc/self/fd/{root}/instances").iterdir()} & {dead, living, foreign}

    with contextlib.ExitStack() as stack:
        stack.callback(os.close, root)
        makers = [
            stack.enter_context(
                subprocess.Popen(
                    [*inside, sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
                )
            )
            for _ in range(2)
        ]
        for maker in makers:
            assert maker.stdout is not None
            names.append(f"{maker.stdout.readline().strip()}-test")
        (dead, living), foreign = names, "not-tcplabs-1-2-3"
        makers[0].communicate()
        for name in (living, foreign):
            os.mkdir(f"instances/{name}", dir_fd=root)
        try:
            # These directories are the machine's, where another test may reap at this moment: then once more.
            for _ in range(20):
                os.mkdir(f"instances/{dead}", dir_fd=root)
                reaped = [one["name"] for one in machine.reap_all() if one["what"] == "tracefs instance"]
                if dead in reaped or dead in there():
                    break
        finally:
            left = sorted(there())
            for name in left:
                os.rmdir(f"instances/{name}", dir_fd=root)
    assert dead in reaped
    assert left == sorted([living, foreign])


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, ROUNDS, ROUNDS_FOR_EACH))
def test_killing_anything_at_any_moment(machine: Machine, bystanders: None, first: int) -> None:
    for seed in range(first, first + ROUNDS_FOR_EACH):
        one_round(machine, random.Random(seed))
    machine.close()
    machine.reap()
    assert machine.left() == {**NOTHING, "journal": ["precious"]}


VICTIMS = ("controller", "lab", "engine", "node", "lab being made", "controller while a lab is made")


def one_round(machine: Machine, draw: random.Random) -> None:
    """Make a lab, kill something of it, see what the API and then reap say of it."""
    api = machine.start()
    assert machine.server is not None
    policy = draw.choice((KEEP, REMOVE))
    victim = draw.choice(VICTIMS)
    known = set(machine.labs())
    if "ma" in victim.partition(" ")[2]:
        making = api.labs.CreateLab.future(
            lab_pb2.CreateLabRequest(topology_yaml=STAR, backend="netns", on_controller_loss=policy), timeout=60
        )
        until(lambda: set(machine.labs()) - known or making.done())
        pause(draw.uniform(0, 0.25))
        machine.remember()
        if victim == "lab being made":
            for pid in set(machine.labs()) - known:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            error = making.exception()
            if error is not None:
                assert isinstance(error, grpc.RpcError)
                assert failure(error).code == "FAILED_PRECONDITION"
                assert not api.labs.ListLabs(lab_pb2.ListLabsRequest()).labs
        else:
            machine.kill_controller()
            with contextlib.suppress(grpc.RpcError):
                making.result()
    else:
        lab = make(api, on_controller_loss=policy)
        going_on = contextlib.ExitStack()
        going_on.enter_context(busy(api, lab))
        info = api.get(lab)
        (pid,) = set(machine.labs()) - known
        machine.remember()
        pause(draw.uniform(0, 0.1))
        if victim == "controller":
            machine.kill_controller()
        elif victim == "node":
            os.kill(draw.choice(members(pid)[1:]), signal.SIGKILL)
            await_state(api, lab, lambda message: message.failed_nodes)
        else:
            os.kill(pid if victim == "lab" else members(pid)[0], signal.SIGKILL)
            failed = await_state(api, lab, lambda message: message.state == lab_pb2.Lab.STATE_FAILED)
            assert "killed by SIGKILL" in failed.failure
            assert api.runs.GetRun(run_pb2.GetRunRequest(name=info.run)).state == run_pb2.Run.STATE_ERROR
            check_run(info.directory, "killed by SIGKILL")
        if victim == "controller" and draw.random() < 0.5:
            api = machine.start()
            states = {one.name: one.state for one in api.labs.ListLabs(lab_pb2.ListLabsRequest()).labs}
            assert states == ({lab: lab_pb2.Lab.STATE_READY} if policy == KEEP else {})
        going_on.close()
        list(SpoolReader(Path(info.directory) / "events.spool"))
    if machine.server.process.poll() is None:
        for one in api.labs.ListLabs(lab_pb2.ListLabsRequest()).labs:
            api.delete(one.name)
        until(lambda: len(Server.processes_marked(str(machine.directory))) == 2)  # the controller and its nursery
        until(lambda: not machine.left()["processes in our namespaces"])
        assert machine.left()["journal"] == ["precious"]
        return
    machine.reap()
    until(lambda: not Server.processes_marked(str(machine.directory)))
    until(lambda: not machine.left()["processes in our namespaces"])
    machine.reap()
    assert machine.left() == {**NOTHING, "journal": ["precious"]}


def pause(seconds: float) -> None:
    """Until another moment."""
    select.select([], [], [], seconds)


def until(holds: Any) -> None:
    """Until that is so."""
    for _ in range(3000):
        if holds():
            return
        pause(0.01)
    raise AssertionError("it never came to that")

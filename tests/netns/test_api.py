"""What the API, the SDK and the command line have for labs in real time: making them, waiting in them, commands on
their nodes, captures of their interfaces, runs."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from tcplab.client import Completed, Controller, FailedPrecondition, InvalidArgument, Lab, NotFound, aio
from tcplab.v1 import backend_pb2, lab_pb2, node_pb2, run_pb2
from tests.server.api import Api, Server, fails, failure

pytestmark = pytest.mark.requires("root")

MIXED = """
nodes: {h1: linux, h2: host}
links: [{endpoints: h1-h2, delay: 2ms}]
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("api"))
    yield server
    assert server.stop() == 0
    assert server.processes() == []
    assert not server.state.exists() or list(server.state.iterdir()) == []


@pytest.fixture(scope="module")
def controller(server: Server) -> Iterator[Controller]:
    with Controller(server.address) as controller:
        yield controller


@pytest.fixture(scope="module")
def mixed(controller: Controller) -> Iterator[Lab]:
    """A lab with a node of each stack."""
    with controller.create_lab(MIXED, backend="netns") as lab:
        yield lab


def tcplab_command(server: Server, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "lab.cli.main", *arguments],
        env={**os.environ, "TCPLAB_ADDRESS": server.address},
        input=stdin,
        capture_output=True,
        check=False,
    )


# Making labs.


def test_netns_is_a_backend_that_says_what_it_can_do(server: Server) -> None:
    _, netns, *_ = Api(server.address).backends.ListBackends(backend_pb2.ListBackendsRequest()).backends
    assert (netns.name, netns.available, netns.reason) == ("netns", True, "")
    assert netns.capabilities


def test_making_a_lab_shows_its_progress(server: Server) -> None:
    api = Api(server.address)
    watching = api.labs.WatchLabs(lab_pb2.WatchLabsRequest())
    while not next(watching).snapshot_done:
        pass
    name = api.lab("nodes: {h1: host, h2: host}\nlinks: [h1-h2]\n", backend="netns", lab_id="watched")
    seen: list[lab_pb2.Lab] = []
    for news in watching:
        if news.lab.name == name:
            seen.append(news.lab)
            if news.lab.state == lab_pb2.Lab.STATE_READY:
                break
    *creating, ready = seen
    assert creating
    assert {one.state for one in creating} == {lab_pb2.Lab.STATE_CREATING}
    assert all(one.progress.what and 0 < one.progress.done <= one.progress.total for one in creating)
    assert (ready.real_time, ready.backend, ready.HasField("next_time_ns")) == (True, "netns", False)
    api.delete(name)
    deleted = next(news for news in watching if news.lab.name == name)
    assert deleted.deleted
    watching.cancel()


def test_a_lab_that_cannot_be_made_leaves_nothing(server: Server) -> None:
    api = Api(server.address)
    before = server.processes(), list(server.state.iterdir()), list(server.runs.iterdir())
    bad = "nodes: {h1: {kind: linux, parameters: {tcp_nonsense: 1}}, h2: host}\nlinks: [h1-h2]\n"
    found = fails(api.labs.CreateLab, lab_pb2.CreateLabRequest(topology_yaml=bad, backend="netns"))
    assert (found.code, "tcp_nonsense" in found.message) == ("INVALID_ARGUMENT", True)
    assert (server.processes(), list(server.state.iterdir()), list(server.runs.iterdir())) == before


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        ({"backend": "sim", "on_controller_loss": lab_pb2.CONTROLLER_LOSS_KEEP}, "on_controller_loss"),
        ({"backend": "netns", "on_controller_loss": 9}, "on_controller_loss"),
    ],
)
def test_who_keeps_a_lab_is_checked(server: Server, wanted: dict[str, Any], field: str) -> None:
    found = fails(Api(server.address).labs.CreateLab, lab_pb2.CreateLabRequest(topology="pair", **wanted))
    assert (found.code, list(found.fields)) == ("INVALID_ARGUMENT", [field])


# Waiting.


def test_many_can_wait_at_once(mixed: Lab) -> None:
    """As programs do whose ends each have a thread."""
    listener = mixed.node("h2").listen(81)
    received = []

    def serve() -> None:
        connection = listener.accept()
        received.append(connection.receive_digest("1mb"))

    serving = threading.Thread(target=serve)
    serving.start()
    client = mixed.node("h1").open("h2", 81)
    client.send(pattern=b"x", length="1mb")
    serving.join(60)
    assert received[0].sha256 == hashlib.sha256(b"x" * (1 << 20)).hexdigest()


def test_real_time_has_no_pace(mixed: Lab) -> None:
    before = mixed.now_ns()
    assert mixed.advance("50ms").time_ns >= before + 50_000_000
    with pytest.raises(FailedPrecondition, match="it passes by itself"):
        mixed.advance("50ms", pace=2.0)


# Commands.


def test_a_command_sees_its_node_and_says_how_it_ended(mixed: Lab) -> None:
    h1 = mixed.node("h1")
    done = h1.run(
        ["sh", "-c", "cat /sys/class/net/eth0/address; pwd; echo $WORD >&2; exit 3"], env={"WORD": "hi"}, cwd="/tmp"
    )
    assert done == Completed(3, "", False, f"{h1.info().interfaces[0].mac}\n/tmp\n".encode(), b"hi\n")
    assert h1.run(["sh", "-c", "kill -9 $$"]) == Completed(137, "SIGKILL", False)
    late = h1.run(["sleep", "1000"], timeout="100ms")
    assert (late.code, late.signal, late.timed_out) == (143, "SIGTERM", True)


def test_what_goes_in_comes_out(mixed: Lab) -> None:
    """More than any pipe or window on the way holds."""
    data = os.urandom(1 << 20) * 4
    assert mixed.node("h1").run(["cat"], stdin=data).stdout == data


def test_a_command_can_be_talked_to(mixed: Lab) -> None:
    script = (
        "trap 'echo bye; exit 5' TERM; while read line; do echo got $line; done; echo end; while :; do sleep 0.01; done"
    )
    with mixed.node("h1").exec(["sh", "-c", script]) as command:
        output = command.output()
        command.write(b"one\n")
        assert next(output) == ("stdout", b"got one\n")
        command.end_input()
        assert next(output) == ("stdout", b"end\n")
        command.signal("TERM")
        done = command.wait()
    assert (done.code, done.stdout) == (5, b"bye\n")


def test_giving_a_command_up_kills_it(mixed: Lab) -> None:
    h1 = mixed.node("h1")
    with h1.exec(["sh", "-c", "echo $$; exec sleep 1000"]) as command:
        _, pid = next(command.output())
        assert h1.run(["kill", "-0", pid.decode().strip()]).code == 0
    while h1.run(["kill", "-0", pid.decode().strip()]).code == 0:
        pass


def test_what_cannot_be_run_is_said(mixed: Lab, controller: Controller) -> None:
    h1 = mixed.node("h1")
    with pytest.raises(NotFound, match="no program 'no-such-program'"):
        h1.run(["no-such-program"])
    with pytest.raises(InvalidArgument) as caught:
        h1.run([])
    assert caught.value.field == "start.argv"
    with pytest.raises(NotFound):
        mixed.node("h9").run(["true"])
    with controller.create_lab("pair") as sim, pytest.raises(FailedPrecondition, match="such as netns"):
        sim.node("h1").run(["true"])
    with h1.exec(["sleep", "1000"]) as command, pytest.raises(InvalidArgument, match="NOSUCH"):
        command.signal("NOSUCH")
        command.wait()


def test_the_first_request_starts_a_command(server: Server, mixed: Lab) -> None:
    api = Api(server.address)
    start = node_pb2.ExecRequest(start=node_pb2.ExecStart(node=f"labs/{mixed.name}/nodes/h1", argv=["cat"]))
    for requests, field in (((), "start.node"), ((start, start), "start")):
        with pytest.raises(grpc.RpcError) as caught:
            list(api.nodes.Exec(iter(requests)))
        found = failure(caught.value)
        assert (found.code, list(found.fields)) == ("INVALID_ARGUMENT", [field])


def test_asyncio_runs_commands_too(server: Server, mixed: Lab) -> None:
    async def both() -> list[Completed]:
        async with aio.Controller(server.address) as controller:
            node = (await controller.lab(mixed.name)).node("h1")
            return list(await asyncio.gather(*(node.run(["sh", "-c", f"cat; exit {n}"], stdin=b"x") for n in (1, 2))))

    assert asyncio.run(both()) == [Completed(1, stdout=b"x"), Completed(2, stdout=b"x")]


def test_the_command_line_runs_commands(server: Server, mixed: Lab) -> None:
    done = tcplab_command(
        server, "exec", "--env", "A=b", mixed.name, "h1", "--", "sh", "-c", "cat; echo $A >&2; exit 4", stdin=b"in"
    )
    assert (done.returncode, done.stdout, done.stderr) == (4, b"in", b"b\n")
    done = tcplab_command(server, "exec", "--json", mixed.name, "h1", "--", "echo", "--json")
    assert json.loads(done.stdout) == {"code": 0, "signal": "", "timed_out": False, "stdout": "--json\n", "stderr": ""}


def test_ctrl_c_is_the_commands(server: Server, mixed: Lab) -> None:
    command = [sys.executable, "-P", "-m", "lab.cli.main", "exec", mixed.name, "h2", "--", "ping", "-i", "0.1", "h1"]
    environment = {**os.environ, "TCPLAB_ADDRESS": server.address}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as ping:
        assert ping.stdout is not None
        said = [ping.stdout.readline() for _ in range(2)]
        assert "64 bytes from h1 (10.0.0.1): icmp_seq=1 " in said[1]
        ping.send_signal(signal.SIGINT)
        assert "rtt min/avg/max/mdev = " in ping.stdout.read()
    assert ping.returncode == 0


@pytest.mark.parametrize("node", ["h1", "h2"])
def test_a_python_program_runs_on_a_node_of_either_stack(server: Server, mixed: Lab, tmp_path: Path, node: str) -> None:
    script = tmp_path / "program.py"
    script.write_text(
        "import socket, sys\n"
        "one = socket.create_server(('', int(sys.argv[1])))\n"
        "other = socket.create_connection((sys.argv[2], int(sys.argv[1])))\n"
        "other.sendall(sys.stdin.buffer.read())\n"
        "print(one.accept()[0].recv(100), len(sys.argv), __name__)\n"
        "sys.exit(5)\n"
    )
    address = {"h1": "10.0.0.1", "h2": "10.0.0.2"}[node]
    done = tcplab_command(server, "py", mixed.name, node, str(script), "7000", address, "--x", stdin=b"in")
    assert (done.returncode, done.stdout, done.stderr) == (5, b"b'in' 4 __main__\n", b"")


def test_where_no_program_can_run_is_said(server: Server, mixed: Lab, tmp_path: Path) -> None:
    for arguments, says in (
        (("py", mixed.name, "h2", "none.py"), b"none.py: there is no such file"),
        (("py", mixed.name, "h2"), b"is a file that ends in .py"),
        (("py", str(tmp_path / "here.py")), b"this is no node of a lab"),
        (("ss",), b"this is no node of a lab; from outside: tcplab ss LAB NODE"),
    ):
        done = tcplab_command(server, *arguments)
        assert done.returncode in (2, 3)
        assert says in done.stderr.replace(b"\n", b" ")


# Captures.


def dissect(path: Path) -> list[dict[str, str]]:
    """Frames as Wireshark reads them."""
    fields = ("frame.time_epoch", "frame.interface_name", "frame.packet_flags_direction", "ip.src", "tcp.flags.str")
    command = ["tshark", "-r", str(path), "-Y", "tcp.port == 90", "-T", "fields", *(f"-e{field}" for field in fields)]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    return [dict(zip(fields, line.split("\t"), strict=True)) for line in done.stdout.splitlines()]


@pytest.mark.requires("tshark")
@pytest.mark.parametrize("node", ["h1", "h2"])
def test_a_capture_goes_on_while_the_lab_does(controller: Controller, tmp_path: Path, node: str) -> None:
    """Both ways, in lab time, of a lab that keeps no frames itself."""
    lab = controller.create_lab(MIXED, backend="netns", capture=False, level="states")
    pieces: list[bytes] = []
    begun = threading.Event()

    def follow() -> None:
        for piece in lab.capture(f"{node}:eth0", live=True):
            pieces.append(piece)
            begun.set()

    following = threading.Thread(target=follow)
    following.start()
    assert begun.wait(30)
    before = lab.now_ns()
    listener = lab.node("h2").listen(90)
    lab.node("h1").open("h2", 90)
    listener.accept()
    after = lab.now_ns()
    lab.delete()
    following.join(30)
    path = tmp_path / "live.pcapng"
    path.write_bytes(b"".join(pieces))
    syn, syn_ack, ack, *_ = dissect(path)
    assert [one["tcp.flags.str"][-5:].strip("·") for one in (syn, syn_ack, ack)] == ["S", "A··S", "A"]
    ways = {"h1": ["0x00000002", "0x00000001"], "h2": ["0x00000001", "0x00000002"]}[node]
    assert [one["frame.packet_flags_direction"] for one in (syn, syn_ack)] == ways
    times = [int(one["frame.time_epoch"].replace(".", "")) for one in (syn, syn_ack, ack)]
    assert before <= times[0] < times[1] < times[2] <= after
    assert times[2] - times[0] >= 4_000_000 - 100_000  # there and back: the link's delay twice
    assert syn["frame.interface_name"] == f"{node}:eth0"


def test_virtual_time_has_no_live_capture(controller: Controller) -> None:
    with controller.create_lab("pair") as sim, pytest.raises(FailedPrecondition, match="backend netns has"):
        list(sim.capture("h1:eth0", live=True))


@pytest.mark.requires("tshark")
def test_the_command_line_captures(server: Server, controller: Controller, tmp_path: Path) -> None:
    lab = controller.create_lab(MIXED, backend="netns")
    path = tmp_path / "cli.pcapng"
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "lab.cli.main", "capture", lab.name, "h1:eth0", "-w", "-"],
        env={**os.environ, "TCPLAB_ADDRESS": server.address},
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        head = process.stdout.read(4)  # it has begun
        listener = lab.node("h2").listen(90)
        lab.node("h1").open("h2", 90)
        listener.accept()
        lab.delete()  # which ends it
        path.write_bytes(head + process.stdout.read())
        assert process.wait(30) == 0
    assert len(dissect(path)) >= 3


# Runs.


def test_an_experiment_runs_in_real_time_on_the_server(controller: Controller) -> None:
    run = controller.run("handshake", backend="netns")
    assert (run.state, run.message.backend, run.message.error) == ("PASSED", "netns", "")
    assert (run.message.fidelity.sent > 0, run.message.fidelity.cores) == (True, os.cpu_count())
    assert json.loads(run.read("manifest.json"))["backend"] == "netns"


def test_a_run_that_is_deleted_takes_its_lab_along(server: Server) -> None:
    api = Api(server.address)
    before = server.processes()
    endless = (
        "name: endless\nbackends: [sim, netns]\ntopology: pair\ntrace: states\napps:\n- {node: h2, sink: {port: 80}}\n"
        "- {node: h1, bulk: {to: h2, port: 80, bytes: 100gb}}\nstop: {time: 100h}\n"
    )
    run = api.runs.CreateRun(run_pb2.CreateRunRequest(experiment_yaml=endless, backend="netns"))
    assert len(server.processes()) == len(before) + 4  # the run, the link engine, two nodes
    api.runs.DeleteRun(run_pb2.DeleteRunRequest(name=run.name))
    while server.processes() != before:
        pass
    assert not Path(run.directory).exists()

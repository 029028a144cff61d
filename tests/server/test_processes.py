"""Each lab is a process: what becomes of calls, and of everybody else, when one ends; and how a controller ends."""

from __future__ import annotations

import os
import resource
import select
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from lab.trace.bundle import Bundle
from lab.trace.spool_reader import SpoolReader
from tcplab.v1 import lab_pb2, operation_pb2, run_pb2, tcp_pb2, trace_pb2
from tests.server.api import Api, Server, fails, failure

HOUR = 3600 * 10**9


def process_of(server: Server, api: Api) -> tuple[str, int]:
    """A new lab and its process."""
    before = server.processes()
    lab = api.lab()
    (pid,) = set(server.processes()) - set(before)
    return lab, pid


def wait_for(pid: int) -> None:
    """Until a process has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    assert poll.poll(20_000), f"{pid} goes on"
    os.close(descriptor)


def test_a_killed_lab_is_failed_and_says_so(api: Api, server: Server) -> None:
    other = api.lab(lab_id="other")
    lab, pid = process_of(server, api)
    client, _ = api.connect(lab)
    run, directory = api.get(lab).run, Path(api.get(lab).directory)
    changes = api.labs.WatchLabs(lab_pb2.WatchLabsRequest(name=lab))
    assert next(changes).lab.state == lab_pb2.Lab.STATE_READY
    assert next(changes).snapshot_done
    advancing = api.labs.Advance.future(lab_pb2.AdvanceRequest(lab=lab, time_ns=HOUR, pace=1.0))
    api.until_held(lab, advancing)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(grpc.RpcError) as caught:
        advancing.result()
    during = failure(caught.value)
    after = fails(api.tcp.GetConnection, tcp_pb2.GetConnectionRequest(name=client))
    for found in (during, after):
        assert (found.code, found.reason, found.precondition) == ("FAILED_PRECONDITION", "LAB_FAILED", "LAB_FAILED")
        assert f"{lab} has FAILED: its process was killed by SIGKILL" in found.message
    failed = next(changes).lab
    assert (failed.state, failed.failure) == (lab_pb2.Lab.STATE_FAILED, "its process was killed by SIGKILL")
    assert api.get(lab) == failed
    assert [one.state for one in api.labs.ListLabs(lab_pb2.ListLabsRequest()).labs] == [
        lab_pb2.Lab.STATE_READY,
        lab_pb2.Lab.STATE_FAILED,
    ]
    assert api.runs.GetRun(run_pb2.GetRunRequest(name=run)).state == run_pb2.Run.STATE_ERROR
    assert Bundle.open(directory).manifest["failure"] == "its process was killed by SIGKILL"
    api.connect(other)  # nobody else has noticed
    api.delete(lab)
    assert fails(api.labs.GetLab, lab_pb2.GetLabRequest(name=lab)).code == "NOT_FOUND"
    list(SpoolReader(directory / "events.spool"))  # what was flushed can be read


def test_every_call_to_killed_labs_ends(api: Api, server: Server) -> None:
    """However the end of the process and that of the connection come together."""
    labs = [process_of(server, api) for _ in range(6)]
    advancing = [api.labs.Advance.future(lab_pb2.AdvanceRequest(lab=lab, time_ns=HOUR, pace=1.0)) for lab, _ in labs]
    following = [api.traces.FollowTrace(trace_pb2.FollowTraceRequest(lab=lab)) for lab, _ in labs]
    for (lab, pid), advance, follow in zip(labs, advancing, following, strict=True):
        api.until_held(lab, advance)
        next(follow)
        os.kill(pid, signal.SIGKILL)
    for (lab, _), advance, follow in zip(labs, advancing, following, strict=True):
        for end in (lambda: advance.result(timeout=20), lambda: list(follow)):  # noqa: B023 - called at once
            with pytest.raises(grpc.RpcError) as caught:
                end()
            assert failure(caught.value).reason == "LAB_FAILED"
            assert lab in failure(caught.value).message


def test_one_busy_lab_does_not_stall_another(api: Api) -> None:
    busy, other = api.lab(), api.lab()
    client, server = api.connect(busy)
    length = 1 << 34
    api.tcp.Send(tcp_pb2.SendRequest(connection=client, pattern=tcp_pb2.Pattern(pattern=b"x", length=length)))
    receiving = api.tcp.Receive(
        tcp_pb2.ReceiveRequest(connection=server, min_length=length, max_length=length, digest_only=True)
    )
    running = api.labs.Advance.future(lab_pb2.AdvanceRequest(lab=busy, operations=[receiving.name]))
    api.until_held(busy, running)
    api.connect(other)
    reached = api.get(busy).time_ns  # the busy one answers too
    assert api.get(busy).time_ns >= reached
    waiting = api.operations.GetOperation(operation_pb2.GetOperationRequest(name=receiving.name))
    assert not waiting.done
    assert running.cancel()


def test_the_end_of_a_controller_is_in_order(fresh: Server) -> None:
    """No process, socket or directory is left; runs are complete up to then."""
    api = Api(fresh.address)
    lab, _ = process_of(fresh, api)
    api.connect(lab)
    directory = Path(api.get(lab).directory)
    run = api.runs.CreateRun(run_pb2.CreateRunRequest(experiment_yaml=ENDLESS))
    assert oct(fresh.socket.stat().st_mode & 0o777) == "0o600"
    assert fresh.stop() == 0
    assert fresh.processes() == []
    assert not fresh.socket.exists()
    assert list(fresh.private.iterdir()) == []
    assert "finished" in Bundle.open(directory).manifest
    assert Bundle.open(Path(run.directory)).manifest["cancelled"]


ENDLESS = """
name: endless
topology: pair
trace: states
apps:
- {node: h2, sink: {port: 80}}
- {node: h1, bulk: {to: h2, port: 80, bytes: 100gb}}
stop: {time: 100h}
"""


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it_in_order(fresh: Server, signum: signal.Signals) -> None:
    api = Api(fresh.address)
    process_of(fresh, api)
    fresh.process.send_signal(signum)
    assert fresh.process.wait(20) == 0
    assert (fresh.processes(), fresh.socket.exists(), list(fresh.private.iterdir())) == ([], False, [])


def test_a_killed_controller_takes_its_processes_along(fresh: Server) -> None:
    api = Api(fresh.address)
    process_of(fresh, api)
    process_of(fresh, api)
    api.runs.CreateRun(run_pb2.CreateRunRequest(experiment_yaml=ENDLESS))
    pids = fresh.processes()
    assert len(pids) == 5  # controller, nursery, two labs, a run
    fresh.process.kill()
    for pid in pids:
        wait_for(pid)
    assert list(fresh.private.iterdir()) == []


@pytest.mark.parametrize("whose", ["controller", "nursery"])
def test_without_descriptors_there_is_no_new_lab_and_nothing_else_is_lost(fresh: Server, whose: str) -> None:
    """Those that are left are too few for one more process, in the one that asks and in the one that forks."""
    api = Api(fresh.address)
    controller = fresh.process.pid
    (nursery,) = [one for one in fresh.processes() if one != controller]
    first = api.lab()
    pid = controller if whose == "controller" else nursery
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    used = max(int(one.name) for one in Path(f"/proc/{pid}/fd").iterdir()) + 1
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + 1, before[1]))
    found = fails(api.labs.CreateLab, lab_pb2.CreateLabRequest(topology="pair"))
    assert (found.code, "Too many open files" in found.message) == ("RESOURCE_EXHAUSTED", True)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    assert {api.get(one).state for one in (first, api.lab())} == {lab_pb2.Lab.STATE_READY}


def test_files_that_cannot_be_written_are_said(fresh: Server) -> None:
    """As on a full disk; here by the largest size of a file that a process may write."""

    def allow(pid: int, size: int) -> None:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    api = Api(fresh.address)
    (nursery,) = [one for one in fresh.processes() if one != fresh.process.pid]
    allow(nursery, 0)
    found = fails(api.labs.CreateLab, lab_pb2.CreateLabRequest(topology="pair", lab_id="never"))
    words = f"{fresh.runs}/never/manifest.json: cannot be written: File too large"
    assert (found.code, found.message, list(fresh.runs.iterdir())) == ("RESOURCE_EXHAUSTED", words, [])
    allow(nursery, resource.RLIM_INFINITY)
    lab, pid = process_of(fresh, api)
    run = api.get(lab).run
    allow(pid, 0)
    api.delete(lab)
    ended = api.runs.GetRun(run_pb2.GetRunRequest(name=run))
    assert (ended.state, ended.error.rpartition(": ")[2]) == (run_pb2.Run.STATE_ERROR, "File too large")


def test_a_stale_socket_is_taken_over_and_a_live_one_is_not(fresh: Server, tmp_path: Path) -> None:
    second = Server(tmp_path)  # the same directory, so the same socket
    assert (second.address, second.process.wait(20)) != ("", 0)
    assert "a controller serves there already" in second.log.read_text()
    close(second)
    Api(fresh.address).lab()  # the first is as it was
    pids = fresh.processes()
    fresh.process.kill()
    for pid in pids:
        wait_for(pid)
    assert fresh.socket.exists()  # stale now
    third = Server(tmp_path)
    Api(third.address).lab()
    assert third.stop() == 0


def close(server: Server) -> None:
    assert server.process.stdin is not None and server.process.stdout is not None
    server.process.stdin.close()
    server.process.stdout.close()


def test_a_path_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("precious")
    server = Server(tmp_path)
    assert (server.address, server.process.wait(20) != 0) == ("", True)
    close(server)
    assert "is no socket" in server.log.read_text()
    assert (tmp_path / "s").read_text() == "precious"


# Ways in.


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_tcp_on_loopback_may_be_plain(tmp_path: Path) -> None:
    port = free_port()
    server = Server(tmp_path, "--listen", f"127.0.0.1:{port}")
    assert Api(f"127.0.0.1:{port}").lab(lab_id="one") == "labs/one"
    assert Api(server.address).get("labs/one").name == "labs/one"
    assert server.stop() == 0


def test_beyond_this_machine_tls_and_a_token_are_needed(tmp_path: Path) -> None:
    bare = Server(tmp_path, "--listen", "0.0.0.0:0")
    assert (bare.address, bare.process.wait(20) != 0) == ("", True)
    close(bare)
    assert "a certificate with its key and a token" in bare.log.read_text()
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost",
            "-keyout",
            str(key),
            "-out",
            str(certificate),
        ],
        check=True,
        capture_output=True,
    )
    port = free_port()
    server = Server(
        tmp_path, "--listen", f"0.0.0.0:{port}", "--cert", str(certificate), "--key", str(key), TCPLAB_TOKEN="secret"
    )
    credentials = grpc.ssl_channel_credentials(certificate.read_bytes())
    api = Api("", grpc.secure_channel(f"localhost:{port}", credentials))
    request = lab_pb2.ListLabsRequest()
    assert fails(api.labs.ListLabs, request).code == "UNAUTHENTICATED"
    with pytest.raises(grpc.RpcError) as caught:
        api.labs.ListLabs(request, metadata=(("authorization", "Bearer wrong"),))
    assert failure(caught.value).code == "UNAUTHENTICATED"
    assert not api.labs.ListLabs(request, metadata=(("authorization", "Bearer secret"),)).labs
    assert not Api(server.address).labs.ListLabs(request).labs  # the owner of the socket needs none
    assert server.stop() == 0


def test_health_and_reflection(api: Api) -> None:
    checks: Any = health_pb2_grpc.HealthStub(api.channel)
    for service in ("", "tcplab.v1.LabService"):
        answer = checks.Check(health_pb2.HealthCheckRequest(service=service))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(api.channel)  # type: ignore[no-untyped-call,unused-ignore]
    ask: Any = reflection_pb2.ServerReflectionRequest
    (listed,) = stub.ServerReflectionInfo(iter([ask(list_services="")]))
    names = {one.name for one in listed.list_services_response.service}
    assert names >= {
        f"tcplab.v1.{name}Service"
        for name in (
            "Lab",
            "Backend",
            "Link",
            "Node",
            "Tcp",
            "Operation",
            "App",
            "Attack",
            "Trace",
            "Run",
            "Experiment",
        )
    }
    (found,) = stub.ServerReflectionInfo(iter([ask(file_containing_symbol="tcplab.v1.TcpService")]))
    assert b"tcplab/v1/tcp.proto" in found.file_descriptor_response.file_descriptor_proto[0]


def test_followers_of_a_failed_lab_are_told(api: Api, server: Server) -> None:
    lab, pid = process_of(server, api)
    following = api.traces.FollowTrace(trace_pb2.FollowTraceRequest(lab=lab))
    assert next(following).snapshot_done
    os.kill(pid, signal.SIGTERM)
    with pytest.raises(grpc.RpcError) as caught:
        list(following)
    assert failure(caught.value).reason == "LAB_FAILED"

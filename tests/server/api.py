"""A controller in a process of its own, and the stubs to talk to it: what any gRPC client has, and no SDK."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2

from tcplab.v1 import (
    app_pb2_grpc,
    attack_pb2_grpc,
    backend_pb2_grpc,
    lab_pb2,
    lab_pb2_grpc,
    link_pb2_grpc,
    node_pb2_grpc,
    operation_pb2,
    operation_pb2_grpc,
    run_pb2_grpc,
    tcp_pb2,
    tcp_pb2_grpc,
    trace_pb2_grpc,
)

PAIR = "nodes: {h1: host, h2: host}\nlinks: [{endpoints: h1-h2, delay: 5ms}]\n"


class Server:
    """`tcplab serve` in a process of its own, which ends when its standard input does."""

    def __init__(self, directory: Path, *arguments: str, **environment: str) -> None:
        self.socket = directory / "s"
        self.runs = directory / "runs"
        self.log = directory / "log"
        self.state = directory / "state"
        #: Every process of this controller has it in its environment.
        self.mark = str(directory)
        (directory / "tmp").mkdir(exist_ok=True)
        self.private = directory / "tmp"
        command = [
            sys.executable,
            "-P",
            "-m",
            "lab.cli.main",
            "serve",
            "--socket",
            str(self.socket),
            "--runs",
            str(self.runs),
            "--state",
            str(self.state),
            "--until-eof",
            *arguments,
        ]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, "TMPDIR": str(self.private), "TCPLAB_TEST_MARK": self.mark, **environment},
            )
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().decode().strip()

    def processes(self) -> list[int]:
        """Those there are, the controller's own and the nursery included."""
        return self.processes_marked(self.mark)

    @staticmethod
    def processes_marked(mark: str) -> list[int]:
        """Those of all controllers that were started with this directory."""
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and f"TCPLAB_TEST_MARK={mark}\0".encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:  # it has just ended
                continue
        return sorted(found)

    def stop(self) -> int:
        """Close its standard input and wait; its exit code."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        code = self.process.wait(30)
        self.process.stdout.close()
        return code


class Api:
    """The services of a controller."""

    def __init__(self, address: str, channel: grpc.Channel | None = None) -> None:
        self.channel = channel or grpc.insecure_channel(address, (("grpc.max_receive_message_length", -1),))
        self.labs = lab_pb2_grpc.LabServiceStub(self.channel)
        self.backends = backend_pb2_grpc.BackendServiceStub(self.channel)
        self.links = link_pb2_grpc.LinkServiceStub(self.channel)
        self.nodes = node_pb2_grpc.NodeServiceStub(self.channel)
        self.tcp = tcp_pb2_grpc.TcpServiceStub(self.channel)
        self.operations = operation_pb2_grpc.OperationServiceStub(self.channel)
        self.apps = app_pb2_grpc.AppServiceStub(self.channel)
        self.attacks = attack_pb2_grpc.AttackServiceStub(self.channel)
        self.traces = trace_pb2_grpc.TraceServiceStub(self.channel)
        self.experiments = run_pb2_grpc.ExperimentServiceStub(self.channel)
        self.runs = run_pb2_grpc.RunServiceStub(self.channel)

    def lab(self, yaml: str = PAIR, **more: Any) -> str:
        """The name of a new lab."""
        return self.labs.CreateLab(lab_pb2.CreateLabRequest(topology_yaml=yaml, **more)).name

    def get(self, lab: str) -> lab_pb2.Lab:
        return self.labs.GetLab(lab_pb2.GetLabRequest(name=lab))

    def delete(self, lab: str) -> None:
        self.labs.DeleteLab(lab_pb2.DeleteLabRequest(name=lab))

    def advance(self, lab: str, **until: Any) -> lab_pb2.AdvanceResponse:
        return self.labs.Advance(lab_pb2.AdvanceRequest(lab=lab, **until))

    def wait(self, lab: str, *operations: operation_pb2.Operation) -> list[operation_pb2.Operation]:
        """Advance until they are done; how they ended."""
        self.advance(lab, operations=[one.name for one in operations])
        return [self.operations.GetOperation(operation_pb2.GetOperationRequest(name=one.name)) for one in operations]

    def until_held(self, lab: str, advancing: Any) -> None:
        """Until the clock is held by an Advance that is under way (a future)."""
        while not self.get(lab).advancing:
            assert not advancing.done(), advancing.exception()

    def until_free(self, lab: str) -> None:
        """Until nobody holds the clock."""
        while self.get(lab).advancing:
            pass

    def connect(self, lab: str, port: int = 80) -> tuple[str, str]:
        """A connection from h1 to h2: the names of its ends."""
        listener = self.tcp.Listen(tcp_pb2.ListenRequest(node=f"{lab}/nodes/h2", local_port=port))
        opening = self.tcp.Open(tcp_pb2.OpenRequest(node=f"{lab}/nodes/h1", remote="h2", remote_port=port))
        accepting = self.tcp.Accept(tcp_pb2.AcceptRequest(listener=listener.name))
        opened, accepted = self.wait(lab, opening, accepting)
        return opened.established.name, accepted.established.name


@dataclass
class Failure:
    """What a call failed with."""

    code: str = ""
    message: str = ""
    #: Violations of a BadRequest by field.
    fields: dict[str, str] = field(default_factory=dict)
    #: Of the ErrorInfo.
    reason: str = ""
    #: Of the PreconditionFailure.
    precondition: str = ""
    #: Of the ResourceInfo.
    resource: str = ""


def failure(error: grpc.RpcError) -> Failure:
    """The status with its details."""
    call: Any = error
    found = Failure(call.code().name, call.details())
    for key, value in call.trailing_metadata() or ():
        if key != "grpc-status-details-bin":
            continue
        status = status_pb2.Status.FromString(value)
        assert (status.code, status.message) == (call.code().value[0], call.details())
        for detail in status.details:
            bad, info = error_details_pb2.BadRequest(), error_details_pb2.ErrorInfo()
            state, resource = error_details_pb2.PreconditionFailure(), error_details_pb2.ResourceInfo()
            if detail.Unpack(bad):
                found.fields = {one.field: one.description for one in bad.field_violations}
            if detail.Unpack(info):
                assert info.domain == "tcplab"
                found.reason = info.reason
            if detail.Unpack(state):
                found.precondition = state.violations[0].type
            if detail.Unpack(resource):
                found.resource = resource.resource_name
    return found


def fails(method: Any, request: Any) -> Failure:
    """What a unary call fails with."""
    try:
        method(request)
    except grpc.RpcError as error:
        return failure(error)
    raise AssertionError("it did not fail")


def stream_fails(method: Any, request: Any) -> Failure:
    """What a stream fails with."""
    try:
        for _ in method(request):
            pass
    except grpc.RpcError as error:
        return failure(error)
    raise AssertionError("it did not fail")


def spool(api: Api, lab: str) -> bytes:
    """Delete a lab; its spool."""
    directory = api.get(lab).directory
    api.delete(lab)
    return (Path(directory) / "events.spool").read_bytes()

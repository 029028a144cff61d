"""What the API costs, over a unix socket, with one client: prints one JSON object of name -> number.

Times are wall time; each call goes client -> controller -> process of the lab and back.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import grpc

from tcplab.client.process import PrivateController
from tcplab.v1 import (
    lab_pb2,
    lab_pb2_grpc,
    run_pb2,
    run_pb2_grpc,
    tcp_pb2,
    tcp_pb2_grpc,
    trace_pb2,
    trace_pb2_grpc,
)

CALLS = 1000
LABS = 20
LENGTH = 4_000_000


def median_ms(call: Callable[[], object], times: int) -> float:
    """Median duration of a call, ms."""
    found = []
    for _ in range(times):
        started = time.perf_counter()
        call()
        found.append(time.perf_counter() - started)
    return statistics.median(found) * 1000


def measure(address: str) -> dict[str, float]:
    channel = grpc.insecure_channel(address)
    labs = lab_pb2_grpc.LabServiceStub(channel)
    tcp = tcp_pb2_grpc.TcpServiceStub(channel)
    traces = trace_pb2_grpc.TraceServiceStub(channel)
    names: list[str] = []

    def create() -> None:
        names.append(labs.CreateLab(lab_pb2.CreateLabRequest(topology="dumbbell")).name)

    create_ms = median_ms(create, LABS)
    lab = names[0]
    listener = tcp.Listen(tcp_pb2.ListenRequest(node=f"{lab}/nodes/h3", local_port=80))
    opening = tcp.Open(tcp_pb2.OpenRequest(node=f"{lab}/nodes/h1", remote="h3", remote_port=80))
    accepting = tcp.Accept(tcp_pb2.AcceptRequest(listener=listener.name))
    labs.Advance(lab_pb2.AdvanceRequest(lab=lab, operations=[opening.name, accepting.name]))
    get_lab = lab_pb2.GetLabRequest(name=lab)
    status = tcp_pb2.GetConnectionRequest(name=opening.connection)
    step = lab_pb2.AdvanceRequest(lab=lab, duration={"nanos": 1000})  # type: ignore[arg-type]
    figures = {
        "create lab, ms": create_ms,
        "GetLab p50, ms": median_ms(lambda: labs.GetLab(get_lab), CALLS),
        "GetConnection p50, ms": median_ms(lambda: tcp.GetConnection(status), CALLS),
        "Advance 1 us p50, ms": median_ms(lambda: labs.Advance(step), CALLS),
    }
    payload = tcp_pb2.Pattern(pattern=b"x", length=LENGTH)
    sending = tcp.Send(tcp_pb2.SendRequest(connection=opening.connection, pattern=payload))
    labs.Advance(lab_pb2.AdvanceRequest(lab=lab, operations=[sending.name]))
    started = time.perf_counter()
    events = 0
    for answer in traces.FollowTrace(trace_pb2.FollowTraceRequest(lab=lab)):
        events += len(answer.events)
        if answer.snapshot_done:
            break
    figures["events streamed per s"] = events / (time.perf_counter() - started)
    remove = iter(names)
    figures["delete lab, ms"] = median_ms(lambda: labs.DeleteLab(lab_pb2.DeleteLabRequest(name=next(remove))), LABS)
    runs = run_pb2_grpc.RunServiceStub(channel)

    def run() -> None:
        made = runs.CreateRun(run_pb2.CreateRunRequest(experiment="handshake"))
        for _ in runs.WatchRun(run_pb2.WatchRunRequest(name=made.name)):
            pass

    figures["run of handshake, ms"] = median_ms(run, 5)
    return figures


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        controller = PrivateController(Path(directory) / "runs")
        try:
            print(json.dumps(measure(controller.address)))
        finally:
            controller.stop()

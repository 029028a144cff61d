"""Traces over the API: complete, resumable, the same events as in the spool."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.trace.event import Event
from lab.trace.spool_reader import SpoolReader
from nodes.base.events import KIND_BY_NUMBER, UNKNOWN
from tcplab.v1 import run_pb2, tcp_pb2, trace_pb2
from tcplab.v1.cause_pb2 import Cause
from tcplab.v1.connection_pb2 import TcpState
from tests.server.api import Api, fails

LENGTH = 50_000


def transfer(api: Api, lab: str, port: int = 80) -> None:
    """Bytes from h1 to h2, then both close."""
    client, server = api.connect(lab, port)
    sending = api.tcp.Send(
        tcp_pb2.SendRequest(connection=client, pattern=tcp_pb2.Pattern(pattern=b"0123456789", length=LENGTH))
    )
    receiving = api.tcp.Receive(
        tcp_pb2.ReceiveRequest(connection=server, min_length=LENGTH, max_length=LENGTH, digest_only=True)
    )
    api.wait(lab, sending, receiving)
    api.tcp.Close(tcp_pb2.CloseRequest(connection=client))
    api.wait(lab, api.tcp.Receive(tcp_pb2.ReceiveRequest(connection=server)))
    api.tcp.Close(tcp_pb2.CloseRequest(connection=server))
    api.advance(lab, idle=True)


def on_file(api: Api, lab: str) -> list[Event]:
    """What the spool has, after the lab's end."""
    directory = Path(api.get(lab).directory)
    api.delete(lab)
    return list(SpoolReader(directory / "events.spool"))


def same(message: trace_pb2.TraceEvent, event: Event) -> bool:
    """Whether a message says all that the spool does."""
    kind = KIND_BY_NUMBER[event.kind]
    body = getattr(message.event, kind.name)
    head = (message.seq, message.time_ns, message.node, message.connection, message.cause)
    if head != (event.seq, event.time_ns, event.node, event.connection, event.cause):
        return False
    for field, value in zip(kind.fields, event.values, strict=True):
        if field.code == "q" and value == UNKNOWN:
            if body.HasField(field.name):
                return False
        elif field.type == "name":
            if getattr(body, field.name) != event[field.name]:
                return False
        elif getattr(body, field.name) != value:
            return False
    return not kind.tail or getattr(body, kind.tail) in (event.tail, event.text)


def follow(api: Api, lab: str, start: int = 1, **wanted: object) -> Iterator[trace_pb2.FollowTraceResponse]:
    request = trace_pb2.FollowTraceRequest(lab=lab, start_seq=start, filter=trace_pb2.EventFilter(**wanted))  # type: ignore[arg-type]
    yield from api.traces.FollowTrace(request)


def test_following_gives_every_event_as_it_is_on_file(api: Api) -> None:
    lab = api.lab(trace_level=trace_pb2.TRACE_LEVEL_ALL)
    answers = follow(api, lab)
    first = next(answers)
    assert first.snapshot_done
    transfer(api, lab)
    events = on_file(api, lab)
    followed = [*first.events, *(event for answer in answers for event in answer.events)]
    assert len(followed) == len(events) > 500
    assert all(same(message, event) for message, event in zip(followed, events, strict=True))


def test_following_resumes_where_it_was_left(api: Api) -> None:
    lab = api.lab()
    transfer(api, lab)
    left: list[trace_pb2.TraceEvent] = []
    answers = api.traces.FollowTrace(trace_pb2.FollowTraceRequest(lab=lab))
    answer = next(answers)
    left += answer.events
    answers.cancel()
    assert answer.next_seq > 1
    resumed = follow(api, lab, start=answer.next_seq)
    done = 0
    for answer in resumed:
        left += answer.events
        done += answer.snapshot_done
        if answer.snapshot_done:
            break
    transfer(api, lab, 81)
    events = on_file(api, lab)
    left += [event for answer in resumed for event in answer.events]
    assert done == 1
    assert [event.seq for event in left] == [event.seq for event in events]


def test_filters_choose(api: Api) -> None:
    lab = api.lab()
    transfer(api, lab)

    def query(**wanted: object) -> list[trace_pb2.TraceEvent]:
        filter_ = trace_pb2.EventFilter(**wanted)  # type: ignore[arg-type]
        answer = api.traces.QueryTrace(trace_pb2.QueryTraceRequest(parent=lab, filter=filter_))
        assert not answer.next_page_token
        return list(answer.events)

    assert [(one.node, one.event.state.new) for one in query(kinds=["state"], fields={"new": "ESTABLISHED"})] == [
        ("h1", 1),
        ("h2", 1),
    ]
    assert {one.node for one in query(kinds=["state", "call"], node="h2")} == {"h2"}
    assert {one.cause for one in query(cause=Cause.CAUSE_FIN_RECEIVED)} == {Cause.CAUSE_FIN_RECEIVED}
    big = query(kinds=["segment"], node="h1", fields={"length": ">= 1000", "direction": "SENT"})
    assert sum(one.event.segment.length for one in big) > LENGTH // 2
    assert query(kinds=["state"], connection=7) == []


def test_queries_have_pages(api: Api) -> None:
    lab = api.lab()
    transfer(api, lab)
    request = trace_pb2.QueryTraceRequest(parent=lab, page_size=7)
    seen: list[int] = []
    while True:
        page = api.traces.QueryTrace(request)
        assert len(page.events) <= 7
        seen += [event.seq for event in page.events]
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    whole = api.traces.QueryTrace(trace_pb2.QueryTraceRequest(parent=lab, page_size=10_000))
    assert seen == [event.seq for event in whole.events]
    run = api.get(lab).run
    api.delete(lab)
    later = api.traces.QueryTrace(trace_pb2.QueryTraceRequest(parent=run, page_size=10_000))
    assert list(later.events)[: len(seen)] == list(whole.events)


def test_flows_show_both_ends(api: Api) -> None:
    lab = api.lab()
    transfer(api, lab)
    run = api.get(lab).run
    for parent in (lab, run):
        (flow,) = api.traces.ListFlows(trace_pb2.ListFlowsRequest(parent=parent)).flows
        assert (flow.client.node, flow.server.node, flow.server.local_port) == ("h1", "h2", 80)
        paths = [
            [tcp_state(event) for event in end.events if event.event.WhichOneof("kind") == "state"]
            for end in (flow.client, flow.server)
        ]
        assert paths == [
            ["SYN_SENT", "ESTABLISHED", "FIN_WAIT_1", "FIN_WAIT_2", "TIME_WAIT", "CLOSED"],
            ["LISTEN", "SYN_RECEIVED", "ESTABLISHED", "CLOSE_WAIT", "LAST_ACK", "CLOSED"][-len(paths[1]) :],
        ]
        if parent == lab:
            api.delete(lab)


def tcp_state(event: trace_pb2.TraceEvent) -> str:
    return TcpState.Name(event.event.state.new).removeprefix("TCP_STATE_")


def packets(data: bytes) -> list[tuple[int, bytes, int]]:
    """Time, frame and direction of each packet of a pcapng file with one section of one interface."""
    found = []
    at = 0
    while at < len(data):
        kind, length = struct.unpack_from("<II", data, at)
        assert struct.unpack_from("<I", data, at + length - 4)[0] == length
        if kind == 6:
            _, high, low, captured, _ = struct.unpack_from("<IIIII", data, at + 8)
            options = at + 28 + captured + -captured % 4
            direction = 0
            while options < at + length - 4:
                code, size = struct.unpack_from("<HH", data, options)
                if code == 2:
                    direction = struct.unpack_from("<I", data, options + 4)[0]
                options += 4 + size + -size % 4
            found.append((high << 32 | low, data[at + 28 : at + 28 + captured], direction))
        at += length
    return found


def test_captures_so_far_and_live_are_the_run_s_own(api: Api) -> None:
    yaml = "nodes: {h1: host, h2: host}\nlinks: [{endpoints: h1-h2, delay: 5ms, loss: 3%, duplicate: 2%}]\n"
    lab = api.lab(yaml)
    live = {
        name: api.traces.Capture(trace_pb2.CaptureRequest(lab=lab, interface=name, follow=True))
        for name in ("h1:eth0", "h2:eth0")
    }
    transfer(api, lab)
    so_far = {
        name: b"".join(answer.data for answer in api.traces.Capture(trace_pb2.CaptureRequest(lab=lab, interface=name)))
        for name in live
    }
    directory = Path(api.get(lab).directory)
    api.delete(lab)
    for name, answers in live.items():
        final = (directory / "pcap" / f"{name.replace(':', '-')}.pcapng").read_bytes()
        assert so_far[name] == final
        streamed = b"".join(answer.data for answer in answers)
        assert packets(streamed) == packets(final)
        assert len(packets(final)) > 50


def test_a_quiet_interface_has_an_empty_capture(api: Api) -> None:
    lab = api.lab()
    data = b"".join(
        answer.data for answer in api.traces.Capture(trace_pb2.CaptureRequest(lab=lab, interface="h1:eth0"))
    )
    assert data[:4] == b"\x0a\x0d\x0d\x0a"
    assert packets(data) == []


def test_a_slow_reader_does_not_slow_the_lab(api: Api) -> None:
    """It reads nothing while 5 MB pass, and loses nothing."""
    lab = api.lab()
    answers = api.traces.FollowTrace(trace_pb2.FollowTraceRequest(lab=lab))
    assert next(answers).snapshot_done
    client, server = api.connect(lab)
    length = 5_000_000
    api.tcp.Send(tcp_pb2.SendRequest(connection=client, pattern=tcp_pb2.Pattern(pattern=b"x", length=length)))
    receiving = api.tcp.Receive(
        tcp_pb2.ReceiveRequest(connection=server, min_length=length, max_length=length, digest_only=True)
    )
    (received,) = api.wait(lab, receiving)
    assert received.received.length == length
    last = api.traces.QueryTrace(trace_pb2.QueryTraceRequest(parent=lab, page_size=1))
    assert last.events
    expected = 0
    for answer in answers:
        for event in answer.events:
            assert event.seq > expected
            expected = event.seq
        if expected > 10_000:
            break
    answers.cancel()


@pytest.mark.parametrize("name", ["lost-syn-ack", "handshake"])
def test_runs_are_watched_to_their_verdict_and_have_files(api: Api, name: str, tmp_path: Path) -> None:
    run = api.runs.CreateRun(run_pb2.CreateRunRequest(experiment=name, seed=3, request_id=f"run-{name}"))
    again = run_pb2.CreateRunRequest(experiment=name, seed=3, request_id=f"run-{name}")
    assert api.runs.CreateRun(again).name == run.name
    *_, last = api.runs.WatchRun(run_pb2.WatchRunRequest(name=run.name))
    assert (last.state, last.seed, last.experiment) == (run_pb2.Run.STATE_PASSED, 3, name)
    assert last.results and all(one.passed for one in last.results)
    assert last.time_ns > 0
    assert run.name in [one.name for one in api.runs.ListRuns(run_pb2.ListRunsRequest()).runs]
    files = {one.path: one.size for one in api.runs.ListFiles(run_pb2.ListFilesRequest(parent=run.name)).files}
    assert {"manifest.json", "events.spool", "verdicts.jsonl"} <= set(files)
    assert any(path.startswith("pcap/") for path in files)
    assert any(path.startswith("tables/") for path in files)
    for path, size in files.items():
        read = api.runs.ReadFile(run_pb2.ReadFileRequest(run=run.name, path=path, offset=min(size, 5)))
        assert b"".join(one.data for one in read) == (Path(last.directory) / path).read_bytes()[5:]
    api.runs.DeleteRun(run_pb2.DeleteRunRequest(name=run.name))
    assert not Path(last.directory).exists()
    assert fails(api.runs.GetRun, run_pb2.GetRunRequest(name=run.name)).code == "NOT_FOUND"


def test_a_run_that_fails_says_what_was_found(api: Api) -> None:
    shipped = {one.name: one for one in api.experiments.ListExperiments(run_pb2.ListExperimentsRequest()).experiments}
    assert "demo" in shipped and shipped["handshake"].description
    text = shipped["handshake"].yaml
    checked = api.experiments.ValidateExperiment(run_pb2.ValidateExperimentRequest(yaml=text))
    assert checked.experiment.name == "handshake"
    run = api.runs.CreateRun(run_pb2.CreateRunRequest(experiment_yaml=text, set={"expect": "[{resets: {sent: 3}}]"}))
    *_, last = api.runs.WatchRun(run_pb2.WatchRunRequest(name=run.name))
    assert (last.state, last.error) == (run_pb2.Run.STATE_FAILED, "")
    ((passed, found),) = [(one.passed, one.found) for one in last.results]
    assert not passed
    assert "0" in found or "no" in found


def test_the_run_of_a_lab_cannot_go_before_it(api: Api) -> None:
    lab = api.lab()
    run = api.get(lab).run
    assert fails(api.runs.DeleteRun, run_pb2.DeleteRunRequest(name=run)).code == "FAILED_PRECONDITION"
    assert api.runs.GetRun(run_pb2.GetRunRequest(name=run)).state == run_pb2.Run.STATE_RUNNING
    for path in ("../../etc/passwd", "/etc/passwd", "nothing"):
        with pytest.raises(Exception, match="no file"):
            list(api.runs.ReadFile(run_pb2.ReadFileRequest(run=run, path=path)))
    api.delete(lab)
    assert api.runs.GetRun(run_pb2.GetRunRequest(name=run)).state == run_pb2.Run.STATE_PASSED
    api.runs.DeleteRun(run_pb2.DeleteRunRequest(name=run))

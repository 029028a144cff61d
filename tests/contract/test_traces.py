"""Traces and captures: what happened in a lab, in order, whole, wherever a reader begins; and what a run leaves."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.trace.bundle import Bundle
from lab.trace.spool_reader import SpoolReader
from tcplab.client import InvalidArgument, Run
from tcplab.v1 import run_pb2, trace_pb2
from tests.contract.under import MS, Pair, Under, tshark

#: What the levels add to each other.
LEVELS = {
    "states": ({"connection", "state", "call"}, {"rtt", "segment", "frame"}),
    "congestion": ({"state", "rtt", "cwnd"}, {"segment", "queue"}),
    "segments": ({"state", "rtt", "segment"}, set()),
    "all": ({"state", "rtt", "segment", "timer"}, set()),
}


def exchange(pair: Pair, length: int = 30_000) -> tuple[int, int]:
    """A connection, bytes, an orderly close; the numbers of its ends."""
    client, server = pair.connect()
    pair.transfer(client, server, length)
    client.close()
    assert server.receive() == b""
    server.close()
    client.wait_state("CLOSED")
    return client.number, server.number


@pytest.mark.parametrize("level", LEVELS)
def test_a_level_records_what_it_says(under: Under, level: str) -> None:
    there, absent = LEVELS[level]
    with under.lab(level=level, capture=False) as lab:
        exchange(Pair(lab, under.api))
        kinds = {event.kind for event in lab.trace()}
    assert there <= kinds
    assert not absent & kinds
    assert "frame" not in kinds  # capture is off


def test_events_are_numbered_and_in_order(under: Under) -> None:
    """But for those that the lab itself says came too late (docs/real-time.md)."""
    with under.lab(level="all") as lab:
        exchange(Pair(lab, under.api))
        events = list(lab.trace())
        assert events[-1].time_ns <= lab.now_ns()
        directory = lab.run_directory
    assert [one.seq for one in events] == sorted({one.seq for one in events})
    manifest = json.loads((Path(directory) / "manifest.json").read_text())
    latest = 0
    late = 0
    for one in events:
        late += one.time_ns < latest
        latest = max(latest, one.time_ns)
    assert late <= manifest.get("late_events", 0)


def test_cause_comes_before_effect(pair: Pair) -> None:
    """Across nodes: what is received was sent before, by the link's delay. By their times: on a stalled machine an
    event may come too late for its place."""
    pair.link.update(delay="3ms")
    client, server = exchange(pair)
    ends = {"h1": client, "h2": server}
    sent: dict[int, int] = {}
    seen = 0
    for one in sorted(pair.lab.trace("segment"), key=lambda one: one.time_ns):
        if ends.get(one.node) != one.connection:
            continue
        if one.node == "h1" and one["direction"] == "SENT" and one["length"]:
            sent.setdefault(one["seq"], one.time_ns)
        elif one.node == "h2" and one["direction"] == "RECEIVED" and one["length"]:
            assert one.time_ns - sent[one["seq"]] >= 3 * MS
            seen += 1
    assert seen >= 30_000 // 1460


def test_a_stream_that_is_resumed_misses_nothing(pair: Pair) -> None:
    exchange(pair)
    follow = pair.api.traces.FollowTrace
    seen: list[int] = []
    start = 1
    for round_ in range(3):
        answers = follow(trace_pb2.FollowTraceRequest(lab=pair.path, start_seq=start))
        for answer in answers:
            seen += [one.seq for one in answer.events]
            start = answer.next_seq
            if answer.snapshot_done or len(seen) > 100 * (round_ + 1):
                break
        answers.cancel()
        pair.rtts(1)
    done = False
    for answer in follow(trace_pb2.FollowTraceRequest(lab=pair.path, start_seq=start)):
        seen += [one.seq for one in answer.events]
        done = answer.snapshot_done
        if done:
            break
    assert done
    last = seen[-1]
    assert seen == [one.seq for one in pair.lab.trace() if one.seq <= last]


def test_a_stream_shows_what_comes(pair: Pair) -> None:
    mark = pair.mark()
    found: list[str] = []

    def follow() -> None:
        for event in pair.lab.trace("state", node="h1", start=mark, follow=True):
            found.append(event["new"])
            if event["new"] == "CLOSED":
                return

    following = threading.Thread(target=follow)
    following.start()
    exchange(pair)
    following.join(30)
    assert found == ["SYN-SENT", "ESTABLISHED", "FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT", "CLOSED"]


def test_filters_and_pages(pair: Pair) -> None:
    client, server = exchange(pair)
    for node, number in (("h1", client), ("h2", server)):
        some = list(pair.lab.trace("segment", node=node, connection=number, where={"length": ">= 1000"}))
        assert some
        assert {(one.node, one.connection, one.kind) for one in some} == {(node, number, "segment")}
        assert min(one["length"] for one in some) >= 1000
    request = trace_pb2.QueryTraceRequest(
        parent=pair.path, page_size=7, filter=trace_pb2.EventFilter(kinds=["state"], node="h1", connection=client)
    )
    pages: list[list[int]] = []
    while not pages or request.page_token:
        answer = pair.api.traces.QueryTrace(request)
        pages.append([one.seq for one in answer.events])
        request.page_token = answer.next_page_token
    assert [seq for page in pages for seq in page] == [
        one.seq for one in pair.lab.trace("state", node="h1", connection=client)
    ]
    with pytest.raises(InvalidArgument, match="no-such-kind"):
        list(pair.lab.trace("no-such-kind"))


def test_flows_join_both_ends(pair: Pair) -> None:
    client, server = exchange(pair)
    (flow,) = [one for one in pair.lab.flows() if one.client.node == "h1" and one.client.connection == client]
    assert (flow.server.node, flow.server.connection) == ("h2", server)
    assert (flow.client.local_port, flow.client.remote_port) == (flow.server.remote_port, flow.server.local_port)
    assert [one.event.state.new for one in flow.client.events if one.event.HasField("state")][-1] == 7  # CLOSED


@pytest.mark.requires("tshark")
def test_a_saved_capture_has_every_frame(pair: Pair, tmp_path: Path) -> None:
    client, _ = exchange(pair)
    (opened,) = pair.lab.trace("connection", node="h1", connection=client)
    keep = f"tcp.port == {opened['local_port']}"
    fields = ("ip.src", "tcp.flags", "tcp.len", "tcp.seq_raw")
    frames = {}
    for interface in ("h1:eth0", "h2:eth0"):
        path = tmp_path / f"{interface[:2]}.pcapng"
        pair.lab.save_capture(interface, path)
        frames[interface] = tshark(path, *fields, keep=keep)
    assert frames["h1:eth0"] and sorted(frames["h1:eth0"]) == sorted(frames["h2:eth0"])
    assert sum(int(one[2]) for one in frames["h1:eth0"] if one[0] == pair.h1.address()) >= 30_000
    segments = [one["seq"] for one in pair.lab.trace("segment", node="h1", connection=client)]
    assert sorted(int(one[3]) for one in frames["h1:eth0"]) == sorted(segments)
    with pytest.raises(InvalidArgument, match="h1:eth0"):  # what there is
        pair.lab.save_capture("h1:eth9", tmp_path / "none")


def test_a_capture_can_be_followed(pair: Pair) -> None:
    pieces: Iterator[bytes] = pair.lab.capture("h1:eth0", follow=True)
    first = next(pieces)
    assert first[:4] == b"\x0a\x0d\x0d\x0a"
    exchange(pair, 300_000)
    read = len(first)
    for piece in pieces:
        read += len(piece)
        if read > 300_000:
            break


@pytest.mark.requires("tshark")
def test_a_run_leaves_a_bundle(under: Under, tmp_path: Path) -> None:
    lab = under.lab(seed=5, name="bundled")
    exchange(Pair(lab, under.api))
    runs = under.api.runs
    assert runs.GetRun(run_pb2.GetRunRequest(name=lab.run)).state == run_pb2.Run.STATE_RUNNING
    lab.delete()
    message = runs.GetRun(run_pb2.GetRunRequest(name=lab.run))
    assert (message.state, message.backend, message.seed) == (run_pb2.Run.STATE_PASSED, under.backend, 5)
    (run,) = [one for one in under.controller.runs() if one.message.name == lab.run]
    assert isinstance(run, Run)
    files = {one.path: one.size for one in run.files()}
    assert {"manifest.json", "events.spool", "verdicts.jsonl", "pcap/h1-eth0.pcapng", "pcap/h2-eth0.pcapng"} <= set(
        files
    )
    manifest = json.loads(run.read("manifest.json"))
    assert (manifest["backend"], manifest["seed"], "finished" in manifest) == (under.backend, 5, True)
    assert manifest["lab_time_ns"] == message.time_ns > 0
    if under.real_time:
        assert message.fidelity.sent > 0
        assert manifest["late_events"] >= 0
    path = tmp_path / "h1.pcapng"
    path.write_bytes(run.read("pcap/h1-eth0.pcapng"))
    flags = [one[0][-5:].strip("·") for one in tshark(path, "tcp.flags.str", keep="tcp")]
    assert flags[:3] == ["S", "A··S", "A"]
    assert sum("F" in one for one in flags) == 2
    assert max(one.seq for one in SpoolReader(Bundle.open(message.directory).spool)) == manifest["events"]
    runs.DeleteRun(run_pb2.DeleteRunRequest(name=lab.run))
    assert not Path(message.directory).exists()

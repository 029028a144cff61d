"""Labs: made, read, listed, watched, deleted; their clock."""

from __future__ import annotations

import json
import time
from pathlib import Path

import grpc
import pytest
from google.protobuf import duration_pb2

from lab.trace.bundle import Bundle
from tcplab.v1 import app_pb2, attack_pb2, backend_pb2, lab_pb2, link_pb2, node_pb2, operation_pb2, tcp_pb2, trace_pb2
from tests.server.api import PAIR, Api, Server, fails, failure

MS = 1_000_000
Reason = lab_pb2.AdvanceResponse


def test_a_lab_comes_and_goes(api: Api) -> None:
    made = api.labs.CreateLab(lab_pb2.CreateLabRequest(lab_id="mine", topology="dumbbell", seed=7))
    assert (made.name, made.state, made.topology, made.seed) == ("labs/mine", lab_pb2.Lab.STATE_READY, "dumbbell", 7)
    assert (made.backend, made.trace_level, made.capture) == ("sim", trace_pb2.TRACE_LEVEL_SEGMENTS, True)
    assert (made.time_ns, made.HasField("next_time_ns"), made.advancing) == (0, False, False)
    assert api.get("labs/mine") == made
    directory = Path(made.directory)
    assert (directory / "events.spool").exists()  # from the first event on
    assert directory.name == made.run.removeprefix("runs/")
    api.delete("labs/mine")
    assert "finished" in Bundle.open(directory).manifest
    gone = fails(api.labs.GetLab, lab_pb2.GetLabRequest(name="labs/mine"))
    assert (gone.code, gone.resource) == ("NOT_FOUND", "labs/mine")
    assert fails(api.labs.DeleteLab, lab_pb2.DeleteLabRequest(name="labs/mine")).code == "NOT_FOUND"


def test_names_are_unique_and_runs_stay(api: Api) -> None:
    api.lab(lab_id="twin")
    taken = fails(api.labs.CreateLab, lab_pb2.CreateLabRequest(lab_id="twin", topology_yaml=PAIR))
    assert taken.code == "ALREADY_EXISTS"
    first = api.get("labs/twin").run
    api.delete("labs/twin")
    api.lab(lab_id="twin")
    assert api.get("labs/twin").run != first


def test_lists_have_pages(api: Api) -> None:
    names = [api.lab() for _ in range(5)]
    seen: list[str] = []
    request = lab_pb2.ListLabsRequest(page_size=2)
    while True:
        page = api.labs.ListLabs(request)
        assert len(page.labs) <= 2
        seen += [lab.name for lab in page.labs]
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
        if len(seen) == 2:
            api.delete(names[0])  # what goes away moves nothing
    assert seen == names
    for wrong in (lab_pb2.ListLabsRequest(page_size=-1), lab_pb2.ListLabsRequest(page_token="x")):
        assert fails(api.labs.ListLabs, wrong).code == "INVALID_ARGUMENT"


def test_request_ids_make_creation_idempotent(api: Api) -> None:
    request = lab_pb2.CreateLabRequest(topology="pair", request_id="once")
    together = [api.labs.CreateLab.future(request) for _ in range(3)]
    assert len({call.result().name for call in together}) == 1
    assert len(api.labs.ListLabs(lab_pb2.ListLabsRequest()).labs) == 1
    other = lab_pb2.CreateLabRequest(topology="dumbbell", request_id="once")
    assert set(fails(api.labs.CreateLab, other).fields) == {"request_id"}
    # A failure is not remembered.
    api.lab(lab_id="blocking")
    retried = lab_pb2.CreateLabRequest(topology="pair", lab_id="blocking", request_id="again")
    assert fails(api.labs.CreateLab, retried).code == "ALREADY_EXISTS"
    api.delete("labs/blocking")
    assert api.labs.CreateLab(retried).name == "labs/blocking"


def test_a_caller_that_leaves_gets_no_lab(api: Api, server: Server) -> None:
    """Making one takes longer than these deadlines; what was begun is taken back."""
    runs = sorted(server.runs.iterdir())
    for number, timeout in enumerate((0.001, 0.002, 0.004)):
        with pytest.raises(grpc.RpcError) as caught:
            api.labs.CreateLab(lab_pb2.CreateLabRequest(topology="dumbbell", lab_id=f"brief-{number}"), timeout=timeout)
        assert failure(caught.value).code == "DEADLINE_EXCEEDED"
    for number in range(3):
        while is_taken(api, f"brief-{number}"):
            pass
    assert not api.labs.ListLabs(lab_pb2.ListLabsRequest()).labs
    assert {path.name for path in server.runs.iterdir()} - {path.name for path in runs} <= {
        f"brief-{number}" for number in range(3)
    }  # of those that `is_taken` made


def is_taken(api: Api, name: str) -> bool:
    """Whether a lab cannot have that name; one that can is made and deleted."""
    try:
        api.delete(api.lab(lab_id=name))
    except grpc.RpcError as error:
        assert failure(error).code == "ALREADY_EXISTS"
        return True
    return False


def test_watching_shows_what_is_and_what_changes(api: Api) -> None:
    first = api.lab()
    changes = api.labs.WatchLabs(lab_pb2.WatchLabsRequest())
    assert next(changes).lab.name == first
    assert next(changes).snapshot_done
    second = api.lab()
    made = next(changes)
    assert (made.lab.name, made.deleted) == (second, False)
    api.delete(first)
    gone = next(changes)
    assert (gone.lab.name, gone.deleted) == (first, True)
    changes.cancel()


def test_time_moves_by_advance_alone(api: Api) -> None:
    lab = api.lab()
    api.tcp.Open(tcp_pb2.OpenRequest(node=f"{lab}/nodes/h1", remote="h2", remote_port=80))
    assert (api.get(lab).time_ns, api.get(lab).HasField("next_time_ns")) == (0, True)
    stopped = api.advance(lab, duration=duration_pb2.Duration(nanos=3 * MS))
    assert (stopped.reason, stopped.time_ns) == (Reason.REASON_TIME, 3 * MS)
    stopped = api.advance(lab, time_ns=5 * MS)
    assert (stopped.reason, api.get(lab).time_ns) == (Reason.REASON_TIME, 5 * MS)
    stopped = api.advance(lab, idle=True)
    assert stopped.reason == Reason.REASON_IDLE
    assert not api.get(lab).HasField("next_time_ns")


def test_advance_until_operations_apps_and_events(api: Api) -> None:
    lab = api.lab()
    listener = api.tcp.Listen(tcp_pb2.ListenRequest(node=f"{lab}/nodes/h2", local_port=80))
    accepting = api.tcp.Accept(tcp_pb2.AcceptRequest(listener=listener.name))
    api.tcp.Open(tcp_pb2.OpenRequest(node=f"{lab}/nodes/h1", remote="h2", remote_port=80))
    wanted = trace_pb2.EventFilter(kinds=["state"], node="h1", fields={"new": "ESTABLISHED"})
    stopped = api.advance(lab, event=wanted)
    assert stopped.reason == Reason.REASON_EVENT
    assert (stopped.event.node, stopped.event.connection, stopped.event.time_ns) == ("h1", 1, stopped.time_ns)
    assert stopped.event.event.state.new == 1
    stopped = api.advance(lab, operations=[accepting.name])
    assert stopped.reason == Reason.REASON_OPERATIONS
    api.apps.CreateApp(
        app_pb2.CreateAppRequest(
            parent=lab, app=app_pb2.App(node=f"{lab}/nodes/h2", kind="sink", settings={"port": "90"})
        )
    )
    bulk = api.apps.CreateApp(
        app_pb2.CreateAppRequest(
            parent=lab,
            app_id="load",
            app=app_pb2.App(node=f"{lab}/nodes/h1", kind="bulk", settings={"to": "h2", "port": "90", "bytes": "64kb"}),
        )
    )
    assert bulk.name == f"{lab}/apps/load"
    assert api.advance(lab, apps=[bulk.name]).reason == Reason.REASON_APPS
    assert api.apps.GetApp(app_pb2.GetAppRequest(name=bulk.name)).results["sent_bytes"] == "65536"


def test_nothing_left_to_happen_names_who_waits(api: Api) -> None:
    lab = api.lab()
    listener = api.tcp.Listen(tcp_pb2.ListenRequest(node=f"{lab}/nodes/h2", local_port=80))
    accepting = api.tcp.Accept(tcp_pb2.AcceptRequest(listener=listener.name))
    stuck = fails(api.labs.Advance, lab_pb2.AdvanceRequest(lab=lab, operations=[accepting.name]))
    assert (stuck.code, stuck.precondition) == ("FAILED_PRECONDITION", "STATE")
    assert "op-1 (accept on h2) waits for connection to accept" in stuck.message


def test_one_holds_the_clock_at_a_time_and_leaves_it_where_it_is(api: Api) -> None:
    lab = api.lab()
    holding = api.labs.Advance.future(lab_pb2.AdvanceRequest(lab=lab, time_ns=3600 * 10**9, pace=1.0))
    api.until_held(lab, holding)
    second = fails(api.labs.Advance, lab_pb2.AdvanceRequest(lab=lab, idle=True))
    assert second.code == "FAILED_PRECONDITION"
    assert "held by an Advance until 3600000000000 ns" in second.message
    assert holding.cancel()
    api.until_free(lab)
    reached = api.get(lab).time_ns
    assert reached < 60 * 10**9
    assert api.advance(lab, duration=duration_pb2.Duration(nanos=5)).time_ns == reached + 5


def test_deadlines_are_wall_time_and_stop_the_clock(api: Api) -> None:
    lab = api.lab()
    with pytest.raises(grpc.RpcError) as caught:
        api.labs.Advance(lab_pb2.AdvanceRequest(lab=lab, time_ns=3600 * 10**9, pace=1.0), timeout=0.1)
    assert failure(caught.value).code == "DEADLINE_EXCEEDED"
    api.until_free(lab)
    assert api.get(lab).time_ns < 60 * 10**9


def test_pace_follows_the_wall_clock(api: Api) -> None:
    """2 s of lab time at 10 lab seconds a wall second take at least 0.2 s."""
    lab = api.lab()
    started = time.monotonic()
    stopped = api.advance(lab, time_ns=2 * 10**9, pace=10.0)
    assert (stopped.reason, stopped.time_ns) == (Reason.REASON_TIME, 2 * 10**9)
    assert time.monotonic() - started >= 0.2


def test_deleting_a_lab_ends_what_is_under_way(api: Api) -> None:
    lab = api.lab()
    advancing = api.labs.Advance.future(lab_pb2.AdvanceRequest(lab=lab, time_ns=3600 * 10**9, pace=1.0))
    following = api.traces.FollowTrace(trace_pb2.FollowTraceRequest(lab=lab))
    assert next(following).snapshot_done
    api.until_held(lab, advancing)
    api.delete(lab)
    with pytest.raises(grpc.RpcError) as caught:
        advancing.result()
    stopped = failure(caught.value)
    assert stopped.code == "CANCELLED"
    assert lab in stopped.message
    last = [event for answer in following for event in answer.events]  # it ends without an error
    assert json.loads(next(e.event.action.text for e in last if e.event.WhichOneof("kind") == "action"))["call"] == (
        "close_lab"
    )


def test_backends_say_what_they_can_do(api: Api) -> None:
    sim, netns, *others = api.backends.ListBackends(backend_pb2.ListBackendsRequest()).backends
    assert (sim.name, sim.available) == ("sim", True)
    assert {one.name: one.available for one in sim.capabilities}["virtual-time"]
    assert netns.name == "netns"
    assert all(one.available or one.reason for one in (netns, *others))
    assert all(one.reason for backend in (sim, netns, *others) for one in backend.capabilities if not one.available)


def test_calls_of_a_lab_survive_in_its_operations(api: Api) -> None:
    lab = api.lab()
    client, server = api.connect(lab)
    sending = api.tcp.Send(tcp_pb2.SendRequest(connection=client, data=b"hello"))
    receiving = api.tcp.Receive(tcp_pb2.ReceiveRequest(connection=server, min_length=5))
    sent, received = api.wait(lab, sending, receiving)
    assert (sent.sent.length, received.received.data) == (5, b"hello")
    listed = api.operations.ListOperations(operation_pb2.ListOperationsRequest(parent=lab)).operations
    assert [one.call for one in listed] == ["open", "accept", "send", "receive"]
    waiting = api.tcp.Receive(tcp_pb2.ReceiveRequest(connection=server))
    api.operations.CancelOperation(operation_pb2.CancelOperationRequest(name=waiting.name))
    ended = api.operations.GetOperation(operation_pb2.GetOperationRequest(name=waiting.name))
    assert (ended.done, ended.error.code) == (True, "CANCELLED")


def test_links_change_by_mask_and_by_presence(api: Api) -> None:
    lab = api.lab()
    name = f"{lab}/links/h1-h2"

    def update(link: link_pb2.Link, *paths: str) -> link_pb2.Link:
        request = link_pb2.UpdateLinkRequest(link=link)
        request.link.name = name
        request.update_mask.paths.extend(paths)
        return api.links.UpdateLink(request)

    after = update(link_pb2.Link(forward=link_pb2.Impairments(loss=0.25)))
    assert (after.forward.loss, after.backward.loss, after.forward.delay.nanos) == (0.25, 0, 5 * MS)
    after = update(link_pb2.Link(backward=link_pb2.Impairments(rate_bps=1000, loss=0.5)), "backward.rate_bps")
    assert (after.backward.rate_bps, after.backward.loss, after.backward.delay.nanos) == (1000, 0, 5 * MS)
    after = update(link_pb2.Link(), "forward")  # named and not set: back to the default
    assert (after.forward.loss, after.forward.delay.nanos, after.forward.limit_packets) == (0, 0, 1000)
    assert not update(link_pb2.Link(up=False)).up
    before = api.links.GetLink(link_pb2.GetLinkRequest(name=name))
    for link, field in (
        (
            link_pb2.Link(up=True, forward=link_pb2.Impairments(loss=0.1), backward=link_pb2.Impairments(loss=1.4)),
            "link.backward.loss",
        ),
        (link_pb2.Link(forward=link_pb2.Impairments(rate_bps=-1)), "link.forward.rate_bps"),
        (link_pb2.Link(forward=link_pb2.Impairments(delay=duration_pb2.Duration(seconds=-1))), "link.forward.delay"),
        (link_pb2.Link(), "link"),
    ):
        wrong = fails(
            api.links.UpdateLink,
            link_pb2.UpdateLinkRequest(link=link_pb2.Link(name=name), update_mask=None)
            if not link.ListFields()
            else with_name(link, name),
        )
        assert (wrong.code, list(wrong.fields)) == ("INVALID_ARGUMENT", [field])
    assert api.links.GetLink(link_pb2.GetLinkRequest(name=name)) == before  # all or nothing


def with_name(link: link_pb2.Link, name: str) -> link_pb2.UpdateLinkRequest:
    link.name = name
    return link_pb2.UpdateLinkRequest(link=link)


def test_attacks_can_be_watched_to_their_end(api: Api) -> None:
    lab = api.lab()
    client, _ = api.connect(lab)
    spec = attack_pb2.OnPathRst(link=f"{lab}/links/h1-h2", time_ns=100 * MS)
    made = api.attacks.CreateAttack(
        attack_pb2.CreateAttackRequest(parent=lab, attack=attack_pb2.Attack(on_path_rst=spec))
    )
    assert (made.state, made.on_path_rst.time_ns) == (attack_pb2.Attack.STATE_PENDING, 100 * MS)
    watching = api.attacks.WatchAttack(attack_pb2.WatchAttackRequest(name=made.name))
    assert next(watching) == made
    api.tcp.Send(tcp_pb2.SendRequest(connection=client, data=b"x"))
    api.advance(lab, idle=True)
    *_, last = watching
    assert (last.state, last.packets) == (attack_pb2.Attack.STATE_DONE, 2)
    assert api.tcp.GetConnection(tcp_pb2.GetConnectionRequest(name=client)).errno == "ECONNRESET"


def test_a_lab_with_ipv6(api: Api) -> None:
    """Nodes say both addresses, calls take either, and names stand for the family that the topology prefers."""
    lab = api.lab("ipv6: preferred\n" + PAIR)
    node = api.nodes.GetNode(node_pb2.GetNodeRequest(name=f"{lab}/nodes/h2"))
    (eth0,) = node.interfaces
    assert (eth0.address, eth0.prefix_length) == ("10.0.0.2", 24)
    assert (eth0.ipv6_address, eth0.ipv6_prefix_length) == ("fd00::2", 64)

    named, accepted = (api.tcp.GetConnection(tcp_pb2.GetConnectionRequest(name=name)) for name in api.connect(lab))
    assert (named.local_address, named.remote_address) == ("fd00::1", "fd00::2")
    assert (accepted.local_address, accepted.remote_address) == ("fd00::2", "fd00::1")
    for remote in ("fd00::2", "10.0.0.2"):
        opening = api.tcp.Open(tcp_pb2.OpenRequest(node=f"{lab}/nodes/h1", remote=remote, remote_port=80))
        (opened,) = api.wait(lab, opening)
        assert opened.established.remote_address == remote
    mixed = tcp_pb2.OpenRequest(node=f"{lab}/nodes/h1", remote="fd00::2", remote_port=80, local="10.0.0.1")
    assert fails(api.tcp.Open, mixed).code == "INVALID_ARGUMENT"
    (pinged,) = api.wait(lab, api.nodes.Ping(node_pb2.PingRequest(node=f"{lab}/nodes/h1", remote="fd00::2")))
    assert pinged.HasField("ping")
    counters = api.nodes.GetCounters(node_pb2.GetCountersRequest(name=f"{lab}/nodes/h2")).counters
    assert counters["Icmp6InEchos"] == 1 and counters["Ip6InDelivers"] > 0

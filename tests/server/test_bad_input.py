"""Bad input: the exact code, the field, what is allowed; nothing is left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import duration_pb2, field_mask_pb2

from tcplab.v1 import (
    app_pb2,
    attack_pb2,
    lab_pb2,
    link_pb2,
    node_pb2,
    operation_pb2,
    run_pb2,
    tcp_pb2,
    trace_pb2,
)
from tests.server.api import PAIR, Api, Failure, Server, fails, failure, stream_fails

MB = 1 << 20


def create(api: Api, yaml: str) -> Failure:
    return fails(api.labs.CreateLab, lab_pb2.CreateLabRequest(topology_yaml=yaml))


@pytest.mark.parametrize(
    ("yaml", "field", "words"),
    [
        ("nodes: {h1: host}\nlinks: [h1-h9]\n", "links[0]", "h9"),
        (
            "nodes: {h1: host, h2: host}\n"
            "links: [{endpoints: ['h1:eth0', 'h2:eth0']}, {endpoints: ['h1:eth0', 'h2:eth1']}]\n",
            "links[1]",
            "h1:eth0",
        ),
        ("nodes: {h1: host, h2: host}\nlinks:\n- endpoints: h1-h2\n  delay: -5ms\n", "links[0].delay", "negative"),
        ("nodes: {h1: host, h2: host}\nlinks:\n- endpoints: h1-h2\n  loss: 140%\n", "links[0].loss", "0% to 100%"),
        ("nodes: {h1: host, h2: host}\nlinks:\n- endpoints: h1-h2\n  dealy: 5ms\n", "links[0].dealy", "delay"),
        ("nodes: {h1: host, h2: [\n", "", "YAML"),
    ],
)
def test_a_wrong_topology_names_the_field(api: Api, server: Server, yaml: str, field: str, words: str) -> None:
    before = server.processes(), sorted(server.runs.iterdir())
    wrong = create(api, yaml)
    assert wrong.code == "INVALID_ARGUMENT"
    (place,) = wrong.fields
    assert place.startswith(f"topology_yaml.{field}" if field else "topology_yaml")
    assert words in wrong.message
    assert not api.labs.ListLabs(lab_pb2.ListLabsRequest()).labs
    assert (server.processes(), sorted(server.runs.iterdir())) == before


def test_huge_topologies_are_refused(api: Api, server: Server) -> None:
    before = server.processes(), sorted(server.runs.iterdir())
    too_long = create(api, "# " + "x" * (2 * MB) + "\n" + PAIR)
    assert (too_long.code, list(too_long.fields)) == ("INVALID_ARGUMENT", ["topology_yaml"])
    assert create(api, "x" * (65 * MB)).code == "RESOURCE_EXHAUSTED"  # not even read
    many = fails(api.labs.CreateLab, lab_pb2.CreateLabRequest(topology="linear,2000000000"))
    assert many.code in ("INVALID_ARGUMENT", "NOT_FOUND")
    bomb = (
        "a: &a ["
        + ",".join("x" * 5)
        + "]\n"
        + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(12))
    )
    assert create(api, bomb).code == "INVALID_ARGUMENT"
    assert (server.processes(), sorted(server.runs.iterdir())) == before


@pytest.mark.parametrize(
    ("request_", "code", "field"),
    [
        (lab_pb2.CreateLabRequest(), "INVALID_ARGUMENT", "topology"),
        (lab_pb2.CreateLabRequest(topology="no-such"), "NOT_FOUND", None),
        (lab_pb2.CreateLabRequest(topology="../pair"), "NOT_FOUND", None),
        (lab_pb2.CreateLabRequest(topology="pair", lab_id="No_Such"), "INVALID_ARGUMENT", "lab_id"),
        (lab_pb2.CreateLabRequest(topology="pair", seed=-1), "INVALID_ARGUMENT", "seed"),
        (
            lab_pb2.CreateLabRequest(topology="pair", trace_level=trace_pb2.TraceLevel.ValueType(9)),
            "INVALID_ARGUMENT",
            "trace_level",
        ),
        (lab_pb2.CreateLabRequest(topology="pair", backend="ns3"), "INVALID_ARGUMENT", "backend"),
    ],
)
def test_wrong_lab_requests(api: Api, request_: lab_pb2.CreateLabRequest, code: str, field: str | None) -> None:
    wrong = fails(api.labs.CreateLab, request_)
    assert wrong.code == code
    if field is not None:
        assert list(wrong.fields) == [field]


@pytest.mark.parametrize(
    ("service", "method", "request_", "field", "form"),
    [
        ("labs", "GetLab", lab_pb2.GetLabRequest(name="mine"), "name", "labs/{lab}"),
        ("labs", "DeleteLab", lab_pb2.DeleteLabRequest(), "name", "labs/{lab}"),
        ("labs", "Advance", lab_pb2.AdvanceRequest(lab="labs/a/b"), "lab", "labs/{lab}"),
        ("nodes", "GetNode", node_pb2.GetNodeRequest(name="labs/x"), "name", "labs/{lab}/nodes/{node}"),
        (
            "tcp",
            "Send",
            tcp_pb2.SendRequest(connection="labs/x/nodes/h1/connections/one"),
            "connection",
            "labs/{lab}/nodes/{node}/connections/{connection}",
        ),
        ("links", "UpdateLink", link_pb2.UpdateLinkRequest(), "link.name", "labs/{lab}/links/{link}"),
        (
            "operations",
            "GetOperation",
            operation_pb2.GetOperationRequest(name="op-1"),
            "name",
            "labs/{lab}/operations/{operation}",
        ),
        ("traces", "QueryTrace", trace_pb2.QueryTraceRequest(parent="x"), "parent", "labs/{lab} or runs/{run}"),
        ("runs", "GetRun", run_pb2.GetRunRequest(name="labs/x"), "name", "runs/{run}"),
    ],
)
def test_wrong_names_are_told_their_form(
    api: Api, service: str, method: str, request_: Any, field: str, form: str
) -> None:
    wrong = fails(getattr(getattr(api, service), method), request_)
    assert (wrong.code, list(wrong.fields)) == ("INVALID_ARGUMENT", [field])
    assert f"of the form {form}" in wrong.message


def test_what_is_not_there(api: Api) -> None:
    lab = api.lab()
    client, _ = api.connect(lab)
    for method, request, resource, words in (
        (api.nodes.GetNode, node_pb2.GetNodeRequest(name=f"{lab}/nodes/h9"), f"{lab}/nodes/h9", "h1"),
        (api.links.GetLink, link_pb2.GetLinkRequest(name=f"{lab}/links/h1-h9"), f"{lab}/links/h1-h9", "h1-h2"),
        (
            api.tcp.Close,
            tcp_pb2.CloseRequest(connection=f"{lab}/nodes/h1/connections/7"),
            f"{lab}/nodes/h1/connections/7",
            "7",
        ),
        (
            api.operations.GetOperation,
            operation_pb2.GetOperationRequest(name=f"{lab}/operations/op-99"),
            f"{lab}/operations/op-99",
            "op-99",
        ),
        (api.apps.GetApp, app_pb2.GetAppRequest(name=f"{lab}/apps/a"), f"{lab}/apps/a", "none"),
        (api.attacks.GetAttack, attack_pb2.GetAttackRequest(name=f"{lab}/attacks/a"), f"{lab}/attacks/a", "none"),
        (
            api.tcp.GetConnection,
            tcp_pb2.GetConnectionRequest(name=client.replace(lab, "labs/no")),
            client.replace(lab, "labs/no"),
            lab.removeprefix("labs/"),
        ),
    ):
        missing = fails(method, request)
        assert (missing.code, missing.resource) == ("NOT_FOUND", resource)
        assert words in missing.message


def test_socket_errors_have_their_errno_and_rfc_words(api: Api) -> None:
    lab = api.lab()
    client, _ = api.connect(lab)
    api.tcp.Close(tcp_pb2.CloseRequest(connection=client))
    closed = fails(api.tcp.Close, tcp_pb2.CloseRequest(connection=client))
    assert (closed.code, closed.reason) == ("FAILED_PRECONDITION", "EBADF")
    assert "connection closing" in closed.message  # RFC 9293 section 3.10.4
    again = fails(api.tcp.Listen, tcp_pb2.ListenRequest(node=f"{lab}/nodes/h2", local_port=80))
    assert (again.code, again.reason) == ("FAILED_PRECONDITION", "EADDRINUSE")
    refused = api.tcp.Open(tcp_pb2.OpenRequest(node=f"{lab}/nodes/h1", remote="h2", remote_port=81))
    (ended,) = api.wait(lab, refused)
    assert (ended.error.code, ended.error.errno) == ("UNAVAILABLE", "ECONNREFUSED")
    sending = api.tcp.Send(tcp_pb2.SendRequest(connection=client, data=b"late"))
    assert (sending.error.code, sending.error.errno) == ("FAILED_PRECONDITION", "EBADF")


def test_timeouts_of_operations_are_lab_time(api: Api) -> None:
    lab = api.lab()
    _, server = api.connect(lab)
    now = api.get(lab).time_ns
    receiving = api.tcp.Receive(tcp_pb2.ReceiveRequest(connection=server, timeout=duration_pb2.Duration(seconds=3)))
    (ended,) = api.wait(lab, receiving)
    assert (ended.error.code, ended.error.errno, ended.end_time_ns) == ("DEADLINE_EXCEEDED", "", now + 3 * 10**9)


def test_wrong_values_of_calls(api: Api) -> None:
    lab = api.lab()
    client, _ = api.connect(lab)
    h1 = f"{lab}/nodes/h1"
    minus = duration_pb2.Duration(seconds=-1)
    rule = link_pb2.Rule(match="tcp.flags.syn", drop=link_pb2.DropAction())
    for method, request, field in (
        (api.tcp.Open, tcp_pb2.OpenRequest(node=h1, remote_port=80), "remote"),
        (api.tcp.Open, tcp_pb2.OpenRequest(node=h1, remote="h2", remote_port=80, timeout=minus), "timeout"),
        (api.tcp.Receive, tcp_pb2.ReceiveRequest(connection=client, min_length=5, max_length=4), "min_length"),
        (api.tcp.Receive, tcp_pb2.ReceiveRequest(connection=client, max_length=1 << 40), "max_length"),
        (api.tcp.Send, tcp_pb2.SendRequest(connection=client), "data"),
        (api.tcp.WaitReady, tcp_pb2.WaitReadyRequest(connection=client), "read"),
        (api.nodes.UpdateParameters, node_pb2.UpdateParametersRequest(name=h1), "parameters"),
        (api.nodes.Ping, node_pb2.PingRequest(node=h1, remote="h2", count=-1), "count"),
        (api.links.CreateRule, link_pb2.CreateRuleRequest(parent=f"{lab}/links/h1-h2"), "rule.action"),
        (
            api.links.CreateRule,
            link_pb2.CreateRuleRequest(
                parent=f"{lab}/links/h1-h2", rule=link_pb2.Rule(nth="often", drop=link_pb2.DropAction())
            ),
            "rule.nth",
        ),
        (
            api.links.CreateRule,
            link_pb2.CreateRuleRequest(parent=f"{lab}/links/h1-h2", rule_id="A b", rule=rule),
            "rule_id",
        ),
        (
            api.links.UpdateLink,
            link_pb2.UpdateLinkRequest(
                link=link_pb2.Link(name=f"{lab}/links/h1-h2"), update_mask=field_mask_pb2.FieldMask(paths=["mtu"])
            ),
            "update_mask",
        ),
        (api.labs.Advance, lab_pb2.AdvanceRequest(lab=lab), "until"),
        (api.labs.Advance, lab_pb2.AdvanceRequest(lab=lab, duration=minus), "duration"),
        (api.labs.Advance, lab_pb2.AdvanceRequest(lab=lab, time_ns=1), "until.time"),
        (api.labs.Advance, lab_pb2.AdvanceRequest(lab=lab, idle=True, pace=-1.0), "pace"),
        (api.labs.Advance, lab_pb2.AdvanceRequest(lab=lab, operations=["labs/other/operations/op-1"]), "operations"),
        (api.apps.CreateApp, app_pb2.CreateAppRequest(parent=lab, app=app_pb2.App(node=h1, kind="bulc")), "app.kind"),
        (
            api.apps.CreateApp,
            app_pb2.CreateAppRequest(parent=lab, app=app_pb2.App(node=h1, kind="sink", settings={"prot": "1"})),
            "app.settings.prot",
        ),
        (
            api.traces.QueryTrace,
            trace_pb2.QueryTraceRequest(parent=lab, filter=trace_pb2.EventFilter(kinds=["stat"])),
            "kind",
        ),
    ):
        wrong = fails(method, request)
        assert (wrong.code, list(wrong.fields)) == ("INVALID_ARGUMENT", [field]), request


def test_attacks_stay_inside_their_lab(api: Api) -> None:
    lab, other = api.lab(), api.lab("nodes: {a: host, b: host}\nlinks: [a-b]\n")

    def attack(**spec: Any) -> Failure:
        request = attack_pb2.CreateAttackRequest(parent=lab, attack=attack_pb2.Attack(**spec))
        return fails(api.attacks.CreateAttack, request)

    elsewhere = attack(on_path_rst=attack_pb2.OnPathRst(link=f"{other}/links/a-b"))
    assert (elsewhere.code, list(elsewhere.fields)) == ("INVALID_ARGUMENT", ["attack.on_path_rst.link"])
    missing = attack(on_path_rst=attack_pb2.OnPathRst(link=f"{lab}/links/a-b"))
    assert missing.code == "NOT_FOUND"
    assert "h1-h2" in missing.message
    blind = attack_pb2.BlindRst(
        node=f"{lab}/nodes/h1", spoof="h1", spoof_port_first=1, target="192.0.2.1", target_port=1
    )
    outside = attack(blind_rst=blind)
    assert outside.code == "NOT_FOUND"
    assert "inside" in outside.message
    assert list(attack().fields) == ["attack.spec"]
    assert not api.attacks.ListAttacks(attack_pb2.ListAttacksRequest(parent=lab)).attacks


def test_streams_fail_like_other_calls(api: Api) -> None:
    lab = api.lab(capture=False)
    wrong = stream_fails(api.traces.FollowTrace, trace_pb2.FollowTraceRequest(lab=lab, start_seq=-1))
    assert (wrong.code, list(wrong.fields)) == ("INVALID_ARGUMENT", ["start_seq"])
    wrong = stream_fails(api.traces.FollowTrace, trace_pb2.FollowTraceRequest(lab="labs/none"))
    assert (wrong.code, wrong.resource) == ("NOT_FOUND", "labs/none")
    wrong = stream_fails(api.traces.Capture, trace_pb2.CaptureRequest(lab=lab, interface="h1:eth9"))
    assert (wrong.code, list(wrong.fields)) == ("INVALID_ARGUMENT", ["interface"])
    wrong = stream_fails(api.traces.Capture, trace_pb2.CaptureRequest(lab=lab, interface="h1:eth0"))
    assert wrong.code == "FAILED_PRECONDITION"
    wrong = stream_fails(api.labs.WatchLabs, lab_pb2.WatchLabsRequest(name="labs/none"))
    assert wrong.code == "NOT_FOUND"


def test_what_is_no_message_is_refused(api: Api) -> None:
    lab = api.lab()
    for method in ("LabService/GetLab", "NodeService/GetNode"):
        call: Any = api.channel.unary_unary(f"/tcplab.v1.{method}")
        with pytest.raises(grpc.RpcError) as caught:
            call(b"\xff\xff")
        assert failure(caught.value).code == "INVALID_ARGUMENT"
    call = api.channel.unary_unary("/tcplab.v1.LabService/NoSuch")
    with pytest.raises(grpc.RpcError) as caught:
        call(b"")
    assert failure(caught.value).code == "UNIMPLEMENTED"
    assert api.get(lab).state == lab_pb2.Lab.STATE_READY


def test_wrong_experiments(api: Api, server: Server) -> None:
    before = server.processes(), sorted(server.runs.iterdir())
    good = "name: x\ntopology: pair\n"
    for request, code, field in (
        (run_pb2.CreateRunRequest(), "INVALID_ARGUMENT", "experiment"),
        (run_pb2.CreateRunRequest(experiment="no-such"), "NOT_FOUND", None),
        (run_pb2.CreateRunRequest(experiment="/etc/passwd"), "NOT_FOUND", None),
        (run_pb2.CreateRunRequest(experiment_yaml=good + "stop: never\n"), "INVALID_ARGUMENT", "experiment_yaml.stop"),
        (
            run_pb2.CreateRunRequest(experiment_yaml=good, set={"links.h1-h9.loss": "1%"}),
            "INVALID_ARGUMENT",
            "experiment_yaml.links.h1-h9",
        ),
        (run_pb2.CreateRunRequest(experiment_yaml=good, run_id="A"), "INVALID_ARGUMENT", "run_id"),
        (run_pb2.CreateRunRequest(experiment_yaml=good, seed=-3), "INVALID_ARGUMENT", "seed"),
    ):
        wrong = fails(api.runs.CreateRun, request)
        assert wrong.code == code
        if field is not None:
            (place,) = wrong.fields
            assert place.startswith(field)
    invalid = fails(api.experiments.ValidateExperiment, run_pb2.ValidateExperimentRequest(yaml="name: [\n"))
    assert (invalid.code, invalid.reason) == ("INVALID_ARGUMENT", "INVALID_FILE")
    assert (server.processes(), sorted(server.runs.iterdir())) == before


def test_runs_directories_hold_only_runs(server: Server) -> None:
    assert all((Path(entry) / "manifest.json").exists() for entry in server.runs.iterdir())

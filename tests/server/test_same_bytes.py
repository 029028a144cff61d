"""The byte promise over gRPC: the same calls with the same seed give the same spool, whoever else is busy."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from lab import spec
from lab.backends.session import rerun
from lab.experiments import spec as experiments
from lab.experiments.runner import run as run_here
from lab.shipped import shipped_files
from tcplab.v1 import app_pb2, attack_pb2, lab_pb2, link_pb2, node_pb2, run_pb2, tcp_pb2, trace_pb2
from tests.server.api import Api, Server, spool


def script(api: Api, lab: str) -> None:
    """Rules, losses, two connections, apps, parameters, an attack."""
    link = f"{lab}/links/h1-h2"
    api.links.UpdateLink(
        link_pb2.UpdateLinkRequest(
            link=link_pb2.Link(name=link, forward=link_pb2.Impairments(loss=0.02, reorder=0.01, jitter=None))
        )
    )
    api.links.CreateRule(
        link_pb2.CreateRuleRequest(
            parent=link, rule=link_pb2.Rule(match="tcp.flags.syn && tcp.flags.ack", nth="1", drop=link_pb2.DropAction())
        )
    )
    knobs = {"tcp_fin_timeout": "5", "tcp_syn_retries": "3", "tcp_keepalive_time": "600"}
    api.nodes.UpdateParameters(node_pb2.UpdateParametersRequest(name=f"{lab}/nodes/h1", parameters=knobs))
    client, server = api.connect(lab)
    payload = tcp_pb2.Pattern(pattern=b"0123456789abcdef", length=300_000)
    sending = api.tcp.Send(tcp_pb2.SendRequest(connection=client, pattern=payload))
    receiving = api.tcp.Receive(
        tcp_pb2.ReceiveRequest(connection=server, min_length=300_000, max_length=300_000, digest_only=True)
    )
    api.wait(lab, sending, receiving)
    api.apps.CreateApp(
        app_pb2.CreateAppRequest(
            parent=lab, app=app_pb2.App(node=f"{lab}/nodes/h2", kind="sink", settings={"port": "90"})
        )
    )
    bulk = api.apps.CreateApp(
        app_pb2.CreateAppRequest(
            parent=lab,
            app=app_pb2.App(node=f"{lab}/nodes/h1", kind="bulk", settings={"to": "h2", "port": "90", "bytes": "100kb"}),
        )
    )
    rst = attack_pb2.OnPathRst(link=link, port=90, bytes=50_000)
    api.attacks.CreateAttack(attack_pb2.CreateAttackRequest(parent=lab, attack=attack_pb2.Attack(on_path_rst=rst)))
    api.advance(lab, apps=[bulk.name])
    api.tcp.Close(tcp_pb2.CloseRequest(connection=client))
    api.tcp.Close(tcp_pb2.CloseRequest(connection=server))
    api.advance(lab, idle=True)


def session(api: Api, seed: int = 11) -> bytes:
    lab = api.lab(seed=seed, trace_level=trace_pb2.TRACE_LEVEL_ALL)
    script(api, lab)
    return spool(api, lab)


@contextlib.contextmanager
def busy(server: Server) -> Iterator[None]:
    """Other clients: one reads whatever labs there are, one follows every trace, one runs labs of its own."""
    over = threading.Event()
    errors: list[BaseException] = []

    def read() -> None:
        api = Api(server.address)
        while not over.is_set():
            for lab in api.labs.ListLabs(lab_pb2.ListLabsRequest()).labs:
                with contextlib.suppress(grpc.RpcError):  # deleted meanwhile
                    api.tcp.ListConnections(tcp_pb2.ListConnectionsRequest(parent=f"{lab.name}/nodes/h1"))
                    api.links.GetLinkStatistics(link_pb2.GetLinkStatisticsRequest(name=f"{lab.name}/links/h1-h2"))
                    api.nodes.GetCounters(node_pb2.GetCountersRequest(name=f"{lab.name}/nodes/h2"))
                    api.traces.ListFlows(trace_pb2.ListFlowsRequest(parent=lab.name))

    def follow() -> None:
        api = Api(server.address)
        while not over.is_set():
            for lab in api.labs.ListLabs(lab_pb2.ListLabsRequest()).labs:
                with contextlib.suppress(grpc.RpcError):
                    for answer in api.traces.FollowTrace(trace_pb2.FollowTraceRequest(lab=lab.name)):
                        if over.is_set() or answer.snapshot_done:
                            break

    def run() -> None:
        api = Api(server.address)
        while not over.is_set():
            session(api, 5)

    def guarded(work: object) -> None:
        try:
            work()  # type: ignore[operator]
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in (read, follow, run)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert errors == []


def test_a_session_repeats_to_the_byte_beside_busy_clients(api: Api, server: Server) -> None:
    alone = session(api)
    with busy(server):
        beside = session(api)
    assert alone == beside
    assert len(alone) > 100_000
    assert session(api, 12) != alone


def test_a_session_can_be_rerun_from_its_trace(api: Api, tmp_path: Path) -> None:
    lab = api.lab(seed=4, trace_level=trace_pb2.TRACE_LEVEL_ALL)
    directory = Path(api.get(lab).directory)
    script(api, lab)
    recorded = spool(api, lab)
    assert rerun(directory, tmp_path / "again").spool.read_bytes() == recorded


@pytest.mark.parametrize("name", ["demo", "bulk-loss", "rst-on-path"])
def test_an_experiment_gives_the_same_bytes_here_and_there(api: Api, tmp_path: Path, name: str) -> None:
    path = shipped_files("experiments")[name]
    text = path.read_text("utf-8-sig")
    experiment = experiments.load(spec.read_file(path))
    run_here(experiment, text, tmp_path / "here", 21)
    run = api.runs.CreateRun(run_pb2.CreateRunRequest(experiment_yaml=text, seed=21))
    *_, last = api.runs.WatchRun(run_pb2.WatchRunRequest(name=run.name))
    there = Path(last.directory)
    for file in ("events.spool", *(str(one.relative_to(tmp_path / "here")) for one in tmp_path.rglob("*.pcapng"))):
        assert (there / file).read_bytes() == (tmp_path / "here" / file).read_bytes()

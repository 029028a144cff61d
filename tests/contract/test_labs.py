"""Labs are made whole or not at all, many beside each other, and leave nothing."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from tcplab.client import AlreadyExists, InvalidArgument, NotFound
from tcplab.v1 import lab_pb2, run_pb2, tcp_pb2
from tests.contract.under import PAIR, SITE, Pair, Under
from tests.server.api import fails, failure

CREATING, STATE_READY = lab_pb2.Lab.STATE_CREATING, lab_pb2.Lab.STATE_READY


def test_making_a_lab_shows_its_progress(under: Under) -> None:
    watching = under.api.labs.WatchLabs(lab_pb2.WatchLabsRequest())
    while not next(watching).snapshot_done:
        pass
    lab = under.lab(SITE, name="watched", seed=3)
    seen: list[lab_pb2.Lab] = []
    for news in watching:
        seen.append(news.lab)
        if news.lab.state == STATE_READY:
            break
    *creating, ready = [one for one in seen if one.name == "labs/watched"]
    assert bool(creating) == under.real_time
    assert {one.state for one in creating} <= {CREATING}
    assert all(one.progress.what and 0 < one.progress.done <= one.progress.total for one in creating)
    assert (ready.backend, ready.real_time, ready.seed, ready.failure) == (under.backend, under.real_time, 3, "")
    assert (Path(ready.directory) / "events.spool").exists()
    assert lab.name in [one.name for one in under.controller.labs()]
    lab.delete()
    assert next(news for news in watching if news.lab.name == "labs/watched").deleted
    watching.cancel()
    assert under.left() == {}
    with pytest.raises(NotFound):
        lab.info()
    with pytest.raises(NotFound):
        lab.delete()


BROKEN = [
    ("nodes: {h1: host, h2: nonsense}\nlinks: [h1-h2]\n", "topology_yaml.nodes.h2"),
    ("nodes: {h1: host, h2: host}\nlinks: [h1-h3]\n", "topology_yaml.links[0]"),
    ("nodes: {h1: host, h2: host}\nlinks: [{endpoints: h1-h2, loss: 200%}]\n", "topology_yaml.links[0].loss"),
    ("nodes: {h1: {parameters: {tcp_nonsense: 1}}, h2: host}\nlinks: [h1-h2]\n", "topology_yaml.nodes.h1.parameters"),
]


@pytest.mark.parametrize(("topology", "field"), BROKEN, ids=[field for _, field in BROKEN])
def test_a_lab_that_makes_no_sense_names_the_field(under: Under, topology: str, field: str) -> None:
    runs = sorted(under.server.runs.iterdir())
    with pytest.raises(InvalidArgument) as caught:
        under.lab(topology)
    assert caught.value.field.startswith(field)
    assert (sorted(under.server.runs.iterdir()), under.left()) == (runs, {})


def test_a_lab_that_fails_half_way_leaves_nothing(under: Under) -> None:
    """The last node has a setting that no kernel knows (and sim no kernel): others are there by then."""
    runs = sorted(under.server.runs.iterdir())
    nodes = "h1: host, h2: host, s1: switch, h3: {kind: linux, parameters: {net.ipv4.no_such: 1}}"
    request = lab_pb2.CreateLabRequest(
        topology_yaml=f"nodes: {{{nodes}}}\nlinks: [h1-s1, h2-s1, h3-s1]\n", backend=under.backend, lab_id="broken"
    )
    found = fails(under.api.labs.CreateLab, request)
    if under.can("linux-nodes"):
        assert (found.code, "no_such" in found.message) == ("INVALID_ARGUMENT", True)
    else:
        assert (found.code, found.reason) == ("FAILED_PRECONDITION", "UNSUPPORTED")
    assert (sorted(under.server.runs.iterdir()), under.left()) == (runs, {})
    with under.lab(name="broken") as lab:  # the name is free
        assert Pair(lab, under.api).rtts(1)


def test_a_caller_that_leaves_gets_no_lab(under: Under) -> None:
    request = lab_pb2.CreateLabRequest(topology_yaml=SITE, backend=under.backend, lab_id="brief")
    calls = [under.api.labs.CreateLab.future(request, timeout=timeout) for timeout in (0.001, 0.002)]
    codes = []
    for call in calls:
        with pytest.raises(grpc.RpcError) as caught:
            call.result()
        codes.append(failure(caught.value).code)
    assert codes[0] == "DEADLINE_EXCEEDED"
    assert codes[1] in ("DEADLINE_EXCEEDED", "ALREADY_EXISTS")  # while the first is being taken back
    # Whatever had been made is taken back, and then the name is free.
    while fails_to_reserve(under, "brief"):
        pass
    assert (under.controller.labs(), under.left()) == ([], {})


def fails_to_reserve(under: Under, name: str) -> bool:
    try:
        under.lab(name=name).delete()
    except AlreadyExists:
        return True
    return False


def test_a_request_id_makes_one_lab(under: Under) -> None:
    request = lab_pb2.CreateLabRequest(topology_yaml=PAIR, backend=under.backend, request_id=f"once-{under.backend}")
    names = {call.result().name for call in [under.api.labs.CreateLab.future(request) for _ in range(3)]}
    (name,) = names
    assert [one.name for one in under.controller.labs()] == [name.removeprefix("labs/")]
    other = lab_pb2.CreateLabRequest(topology_yaml=SITE, backend=under.backend, request_id=request.request_id)
    assert list(fails(under.api.labs.CreateLab, other).fields) == ["request_id"]
    taken = lab_pb2.CreateLabRequest(topology_yaml=PAIR, backend=under.backend, lab_id=name.removeprefix("labs/"))
    assert fails(under.api.labs.CreateLab, taken).code == "ALREADY_EXISTS"
    under.api.delete(name)
    assert under.left() == {}


def test_labs_do_not_see_each_other(under: Under) -> None:
    """The same names, addresses and ports; each has its own bytes."""
    with ThreadPoolExecutor(3) as pool:
        labs = list(pool.map(lambda number: under.lab(name=f"beside-{number}"), range(3)))

        def talk(number: int) -> bytes:
            lab = labs[number]
            listener = lab.node("h2").listen(80)
            client = lab.node("h1").open("h2", 80, local_port=4000)
            server = listener.accept()
            client.send(f"this is lab {number}".encode())
            return server.receive_exactly(len("this is lab 0"))

        assert list(pool.map(talk, range(3))) == [f"this is lab {number}".encode() for number in range(3)]
        labs[0].link("h1-h2").down()  # the others do not care
        assert [lab.node("h1").ping("h2", timeout="300ms").received for lab in labs] == [0, 1, 1]
        for number, lab in enumerate(labs):
            data = b"".join(lab.capture("h2:eth0"))
            assert [f"this is lab {other}".encode() in data for other in range(3)] == [
                other == number for other in range(3)
            ]
        list(pool.map(lambda lab: lab.delete(), labs))
    assert under.left() == {}


def test_deletion_ends_what_is_under_way(under: Under) -> None:
    lab = under.lab()
    pair = Pair(lab, under.api)
    client, server = pair.connect()
    client.start_send(pattern=b"x", length="1gb")
    directory = Path(lab.run_directory)
    receiving = under.api.tcp.Receive(
        tcp_pb2.ReceiveRequest(connection=server.name, min_length=1 << 30, max_length=1 << 30, digest_only=True)
    )
    waiting = under.api.labs.Advance.future(lab_pb2.AdvanceRequest(lab=pair.path, operations=[receiving.name]))
    under.api.until_held(pair.path, waiting)
    lab.delete()
    assert waiting.exception(20) is not None
    run = under.api.runs.GetRun(run_pb2.GetRunRequest(name=lab.run))
    assert run.state == run_pb2.Run.STATE_PASSED
    assert (directory / "manifest.json").exists()
    assert under.left() == {}


def test_the_machine_s_own_network_is_left_alone(under: Under) -> None:
    """Its interfaces, its settings, its firewall's modules; and where the controller is."""

    def facts() -> list[object]:
        settings = [
            path for path in Path("/proc/sys/net").rglob("*") if path.is_file() and path.name != "stable_secret"
        ]
        known = {str(path): path.read_bytes() for path in settings if path.stat().st_mode & 0o400}
        interfaces = sorted(name for _, name in socket.if_nameindex())
        return [interfaces, known, Path(f"/proc/{under.server.process.pid}/ns/net").readlink()]

    before = facts()
    with under.lab(SITE) as lab:
        lab.node("h1").ping("h4", timeout="5s")
        during = facts()
    assert before == during == facts()

"""Python files that come with a request: run only where that is allowed, and refused with their place when wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tcplab.v1 import lab_pb2, run_pb2, tcp_pb2
from tests.server.api import PAIR, Api, Server, fails

MINE = """
from nodes.tcp.congestion.base import CongestionControl

class Mine(CongestionControl):
    name = "mine"

    def on_ack(self, ack):
        self.cwnd += self.mss * ack.acked // self.cwnd
"""
EXPERIMENT = """
name: own
topology: pair
nodes: {h1: {tcp_congestion_control: mine}}
apps: [{node: h2, sink: {}}, {node: h1, bulk: {to: h2, bytes: 100kb}}]
expect: [{delivered: {of: h2-sink-1, bytes: 100kb}}]
stop: {apps: true}
"""


def sent(text: str = MINE, name: str = "mine.py") -> list[lab_pb2.SourceFile]:
    return [lab_pb2.SourceFile(name=name, text=text)]


def in_place(text: str) -> str:
    """A topology or experiment that has the file's text in itself."""
    return text + "congestion_controls: {\"evil.py\": \"open('/nonexistent/evil', 'w')\"}\n"


def test_nothing_is_run_unless_allowed(api: Api) -> None:
    """However it comes: none of these says what running the code would."""
    lists = PAIR + "congestion_controls: [mine.py]\n"
    for request in (
        lab_pb2.CreateLabRequest(topology="pair", congestion_controls=sent()),
        lab_pb2.CreateLabRequest(topology_yaml=PAIR, congestion_controls=sent()),
        lab_pb2.CreateLabRequest(topology_yaml=lists),
        lab_pb2.CreateLabRequest(topology_yaml=in_place(PAIR)),
    ):
        refused = fails(api.labs.CreateLab, request)
        assert refused.code == "PERMISSION_DENIED"
        assert "tcplab serve --allow-code" in refused.message
    evil = "{topology: {nodes: {h1: host}, congestion_controls: {evil.py: '1/0'}}}"
    experiments = (
        run_pb2.CreateRunRequest(experiment_yaml=EXPERIMENT, congestion_controls=sent()),
        run_pb2.CreateRunRequest(experiment="lost-syn-ack", congestion_controls=sent()),
        run_pb2.CreateRunRequest(experiment_yaml=in_place(EXPERIMENT)),
        run_pb2.CreateRunRequest(experiment="lost-syn-ack", set={"congestion_controls": "{evil.py: '1/0'}"}),
        run_pb2.CreateRunRequest(experiment="lost-syn-ack", set={"topology": evil[11:-1]}),
        run_pb2.CreateRunRequest(experiment_yaml=EXPERIMENT + f"backends: [netns]\nlive: {evil}\n", backend="netns"),
    )
    for run in experiments:
        assert fails(api.runs.CreateRun, run).code == "PERMISSION_DENIED", run
    validation = run_pb2.ValidateExperimentRequest(yaml=EXPERIMENT, congestion_controls=sent())
    assert fails(api.experiments.ValidateExperiment, validation).code == "PERMISSION_DENIED"
    assert not api.labs.ListLabs(lab_pb2.ListLabsRequest()).labs


@pytest.fixture(scope="module")
def allowing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    server = Server(tmp_path_factory.mktemp("own"), "--allow-code")
    yield Api(server.address)
    assert server.stop() == 0


def test_an_experiment_with_it(allowing: Api) -> None:
    request = run_pb2.CreateRunRequest(experiment_yaml=EXPERIMENT, congestion_controls=sent())
    run = allowing.runs.CreateRun(request)
    *_, ended = allowing.runs.WatchRun(run_pb2.WatchRunRequest(name=run.name))
    assert ended.state == run_pb2.Run.STATE_PASSED
    listed = EXPERIMENT + "congestion_controls: [mine.py]\n"
    validation = run_pb2.ValidateExperimentRequest(yaml=listed, congestion_controls=sent())
    assert allowing.experiments.ValidateExperiment(validation).experiment.name == "own"
    # Without the file's text the experiment is not complete; a server reads no files for clients.
    missing = fails(allowing.experiments.ValidateExperiment, run_pb2.ValidateExperimentRequest(yaml=listed))
    assert missing.code == "INVALID_ARGUMENT"
    assert "mine.py: its text is missing" in missing.message
    unknown = fails(allowing.experiments.ValidateExperiment, run_pb2.ValidateExperimentRequest(yaml=EXPERIMENT))
    assert "'mine' is not allowed" in unknown.message


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (sent("def :"), "mine.py:1: not Python"),
        (sent(MINE + "\n1 / 0\n"), "mine.py:10: ZeroDivisionError"),
        (sent(""), "there is none"),
        (sent(name="../mine.py"), "is not the name of a Python file"),
        (sent() + sent(), "'mine.py' is there twice"),
        (sent() + sent(name="again.py"), "another file has a congestion control 'mine' too"),
    ],
)
def test_files_that_are_wrong(allowing: Api, files: list[lab_pb2.SourceFile], words: str) -> None:
    found = fails(allowing.labs.CreateLab, lab_pb2.CreateLabRequest(topology="pair", congestion_controls=files))
    assert found.code == "INVALID_ARGUMENT"
    assert words in found.message
    assert any("congestion_controls" in field for field in found.fields)


def test_a_directory_of_the_server_is_not_read(allowing: Api, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    for listed in (str(tmp_path / "mine.py"), "mine.py", "../mine.py"):
        text = PAIR + f"congestion_controls: [{listed}]\n"
        found = fails(allowing.labs.CreateLab, lab_pb2.CreateLabRequest(topology_yaml=text))
        assert found.code == "INVALID_ARGUMENT"


def test_one_that_never_returns_costs_its_lab_alone(allowing: Api) -> None:
    """Nobody can end it from inside; DeleteLab does from outside."""
    stuck = MINE.replace("self.cwnd +=", "while True: pass\n        self.cwnd +=")
    lab = allowing.lab(PAIR, congestion_controls=sent(stuck))
    client, _ = allowing.connect(lab)
    allowing.tcp.SetOption(tcp_pb2.SetOptionRequest(connection=client, option="TCP_CONGESTION", value="mine"))
    pattern = tcp_pb2.Pattern(pattern=b"x", length=100_000)
    allowing.tcp.Send(tcp_pb2.SendRequest(connection=client, pattern=pattern))
    advancing = allowing.labs.Advance.future(lab_pb2.AdvanceRequest(lab=lab, idle=True))
    other = allowing.lab(PAIR)
    allowing.connect(other)
    allowing.delete(other)
    allowing.delete(lab)
    assert advancing.exception() is not None
    assert not allowing.labs.ListLabs(lab_pb2.ListLabsRequest()).labs

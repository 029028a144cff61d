"""Experiment files: what is wrong is said with file, line and field."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from lab.experiments.runner import run
from lab.experiments.schema import schema_text
from lab.experiments.spec import find, load, text_with
from lab.shipped import shipped_directory, shipped_files
from lab.spec import read_file, read_text
from nodes.base.errors import InvalidArgument, NotFound

GOOD = """name: good
topology: pair
links:
  h1-h2: {delay: 10ms}
timeline:
  - listen: {node: h2, port: 80, as: web}
expect:
  - resets: {sent: 0}
"""


def problem(text: str, *changes: str) -> str:
    with pytest.raises(InvalidArgument) as caught:
        load(read_text(text, "it.yaml"), changes)
    return str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("topology: pair", "topology: pear", ("it.yaml:2", "topology", "did you mean pair")),
        ("topology: pair", "topology: {nodes: {a: host}, links: [a-b]}", ("it.yaml:2", "topology.links[0]", "'b'")),
        ("h1-h2: {delay", "h1-h3: {delay", ("it.yaml:", "links.h1-h3", "h1-h2")),
        ("delay: 10ms", "delay: -10ms", ("it.yaml:4", "links.h1-h2.delay", "negative")),
        ("delay: 10ms", "loss: 140%", ("it.yaml:4", "links.h1-h2.loss", "0% to 100%")),
        ("delay: 10ms", "dealy: 10ms", ("it.yaml:4", "dealy", "did you mean delay")),
        ("delay: 10ms", "directions: {h1->h9: {delay: 1ms}}", ("h1->h9 is not a direction of h1-h2",)),
        ("node: h2", "node: h9", ("timeline[0]", "'h9'", "h1, h2")),
        ("listen: {node: h2, port: 80, as: web}", "open: {node: h1, to: h7, port: 80}", ("timeline[0].to", "'h7'")),
        ("timeline:", "apps: [{node: h1, bulk: {to: h8}}]\ntimeline:", ("apps[0].bulk.to", "'h8'")),
        ("port: 80", "port: 800000", ("it.yaml:6", "timeline[0].listen.port", "1 to 65535")),
        ("listen:", "listn:", ("it.yaml:6", "timeline[0].listn", "listen")),
        ("- listen:", "- at: 1s\n    after: 2s\n    listen:", ("timeline[0]", "one of at, after and when")),
        ("- listen:", "- when: {}\n    listen:", ("when", "state, done and event")),
        ("- listen:", "- when: {state: ESTABLISHED}\n    listen:", ("when.of",)),
        ("- listen:", "- when: {event: stat}\n    listen:", ("timeline[0].when.event", "state")),
        ("- listen:", "- when: {event: state, where: {new: OPEN}}\n    listen:", ("timeline[0].when.where", "OPEN")),
        ("resets: {sent: 0}", "events: {kind: rtt, where: {new: CLOSED}}", ("expect[0].events.where", "sample_ns")),
        ("resets: {sent: 0}", "resets: {}", ("expect[0].resets", "sent, accepted or ignored")),
        ("resets: {sent: 0}", "resets: {sent: few}", ("expect[0].resets.sent", "few is not a count")),
        ("resets: {sent: 0}", "resets: {sent: 3..1}", ("expect[0].resets.sent",)),
        ("resets: {sent: 0}", "states: {of: x, exactly: [OPEN]}", ("expect[0].states.exactly[0]", "OPEN")),
        (
            "expect:\n  - resets: {sent: 0}",
            "trace: states\nexpect:\n  - retransmissions: {of: x, count: 0}",
            ("expect[0]", "needs trace level congestion or more; this experiment has states"),
        ),
        ("resets: {sent: 0}", "resets: {sent: 0}\nstop: {apps: true, when: {done: x}}", ("stop", "apps or when")),
        ("name: good", "nam: good", ("it.yaml:1", "nam", "did you mean name")),
        ("name: good\n", "", ("name", "is missing")),
    ],
)
def test_what_is_wrong_is_named(old: str, new: str, words: tuple[str, ...]) -> None:
    assert old in GOOD
    text = problem(GOOD.replace(old, new))
    for word in words:
        assert word in text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("links.h1-h2.loss=140%", "140%"),
        ("links.h1-h2.loss", "path=value"),
        ("=3", "path=value"),
        ("links.h1-h9.loss=1%", "h1-h9"),
        ("timeline[3].at=1s", "[3]"),
        ("nodes.h1.tcp_sin_retries=1", "tcp_sin_retries"),
        ("seed=-1", "seed"),
        ("stop.time=never", "never"),
    ],
)
def test_a_bad_override_is_named(change: str, words: str) -> None:
    assert words in problem(GOOD, change)


def test_overrides_reach_everything_and_the_manifest(tmp_path: Path) -> None:
    changes = ["links.h1-h2.loss=2%", "nodes.h1.tcp_syn_retries=3", "seed=7", "trace=states", "stop.time=9s"]
    experiment = load(read_text(GOOD), changes)
    topology = experiment.built()
    assert topology.links["h1-h2"].forward.loss == topology.links["h1-h2"].backward.loss == 20_000_000
    assert topology.links["h1-h2"].forward.delay_ns == 10_000_000
    assert topology.nodes["h1"].parameters["tcp_syn_retries"] == 3
    assert (experiment.seed, experiment.trace.level, experiment.stop.time_ns) == (7, "states", 9_000_000_000)
    assert load(read_text(text_with(GOOD, changes))) == experiment
    assert text_with(GOOD, []) == GOOD


def test_names_and_files() -> None:
    assert find("handshake").name == "handshake.yaml"
    with pytest.raises(NotFound, match="did you mean handshake"):
        find("handshak")


@pytest.mark.parametrize(
    ("stop", "end_ms"),
    [
        ("500ms", 500),
        ("{when: {done: opened}, time: 2s}", 40),
        ("{when: {of: opened, state: ESTABLISHED}}", 40),
        ("{when: {event: state, where: {new: SYN-RECEIVED}}}", 30),
        ("{apps: true}", 540),
        ("{when: {event: reset}, time: 700ms}", 700),
    ],
)
def test_it_stops_when_it_should(stop: str, end_ms: int, tmp_path: Path) -> None:
    text = (
        f"name: stops\ntopology: pair\napps: [{{node: h2, udp_sink: {{port: 9}}, name: s}}]\n"
        f"timeline: [{{listen: {{node: h2, port: 80}}}}, {{open: {{node: h1, to: h2, port: 80, as: opened}}}}]\n"
        f"stop: {stop}\n"
    )
    if "apps" in stop:
        text = text.replace("open:", "after: 500ms}, {stop_app: s}, {open:").replace("500ms", "540ms")
    outcome = run(load(read_text(text)), text, tmp_path / "run", export=False)
    assert outcome.problems == ()
    assert outcome.time_ns == end_ms * 1_000_000


@pytest.mark.parametrize(
    ("timeline", "words"),
    [
        ("[{close: client}]", "client: no connection of that label"),
        ("[{accept: {on: web}}]", "web: no listener of that label"),
        ("[{at: 2s}, {at: 1s}]", "it is 2 s already"),
        ("[{after: 600s}]", "was not reached"),
        ("[{when: {event: reset}}]", "nothing was left to happen"),
        ("[{listen: {node: h1, port: 80}}, {listen: {node: h1, port: 80}}]", "EADDRINUSE"),
        ("[{when: {done: nobody}}]", "no operation and no app"),
        ("[{stop_attack: a}]", "'a' is no attack"),
        ("[{open: {node: h1, to: 10.9.9.9, port: 1, as: c}}, {send: {on: c, text: x}}]", "ENETUNREACH"),
    ],
)
def test_a_timeline_that_cannot_be_done_says_which_step_and_why(timeline: str, words: str, tmp_path: Path) -> None:
    text = f"name: bad\ntopology: pair\ntimeline: {timeline}\nstop: 10s\n"
    outcome = run(load(read_text(text)), text, tmp_path / "run", export=False)
    assert not outcome.ok
    (found,) = outcome.problems
    assert found.startswith("timeline[")
    assert words in found


def test_the_json_schema_is_current_and_takes_every_shipped_experiment() -> None:
    path = shipped_directory("experiments") / "schema.json"
    assert path.read_text("utf-8") == schema_text(), "run: python -m lab.experiments.schema"
    schema = json.loads(schema_text())
    validator = jsonschema.validators.validator_for(schema)(schema)
    validator.check_schema(schema)
    for file in shipped_files("experiments").values():
        validator.validate(read_file(file).plain())
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(read_text(GOOD.replace("delay", "dealy")).plain())

"""The shipped experiments over IPv6: TCP does not know the difference."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from lab.experiments import spec
from lab.experiments.runner import run
from lab.shipped import shipped_files
from lab.spec import read_text
from lab.topology.loader import find_topology
from lab.trace.spool_reader import SpoolReader
from nodes.base.events import CONNECTION
from tests.runs import SHIPPED

#: Those whose topology is a shipped one, and so without IPv6.
NAMED = [name for name in SHIPPED if re.search(r"(?m)^topology: \S", shipped_files("experiments")[name].read_text())]


@pytest.mark.parametrize("name", NAMED)
def test_an_experiment_over_ipv6(name: str, tmp_path: Path) -> None:
    text = shipped_files("experiments")[name].read_text()
    (topology,) = re.findall(r"(?m)^topology: (.*)$", text)
    six = {**find_topology(topology).spec, "ipv6": "preferred"}
    text = text.replace(f"topology: {topology}\n", f"topology: {json.dumps(six)}\n")
    outcome = run(spec.load(read_text(text), backend="sim"), text, tmp_path / "bundle")
    assert outcome.ok, outcome.as_dict()
    connections = [
        str(event["remote_address"]) for event in SpoolReader(tmp_path / "bundle" / "events.spool", kinds=(CONNECTION,))
    ]
    assert connections and all(each.startswith("fd00:") for each in connections)

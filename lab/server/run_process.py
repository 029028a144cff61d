"""The process of one run: an experiment, done as `tcplab run` does it. It serves nothing; it tells how far it is."""

from __future__ import annotations

import base64
import select
import socket
import time
from pathlib import Path
from typing import Any, Final

from lab import spec
from lab.experiments import spec as experiments
from lab.experiments.runner import conclude, drive, prepare
from lab.experiments.script import Script
from lab.experiments.spec import Experiment
from lab.server import line as lines
from lab.server.errors import status_of
from lab.topology.loader import NONE
from lab.topology.sources import Sources
from nodes.base import garbage
from nodes.base.errors import InvalidArgument

#: Scheduled calls between looks at the line to the controller.
_CALLS: Final = 2000
#: Wall seconds between reports of progress.
_REPORT_EVERY: Final = 0.2


def run(job: dict[str, Any], line: socket.socket) -> None:
    """Do the experiment. `job`: yaml, overrides, seed (null: the experiment's), directory, backend; field, the
    request's; congestion_controls (file -> text), allow_code (whether they, and those in the yaml, may be run)."""
    try:
        experiment = load(job["yaml"], job["overrides"], job["field"], job["backend"], _sources(job))
        text = experiments.text_with(job["yaml"], job["overrides"])
        bundle, lab = prepare(experiment, text, Path(job["directory"]), job["seed"], job["backend"])
    except Exception as error:
        _fail(line, error)
        return
    garbage.settle()
    lines.send(line, {"experiment": experiment.name, "seed": lab.seed, "backend": lab.backend})
    started = reported = time.monotonic()
    script = Script(experiment, lab)
    try:
        for _ in drive(lab, script, _CALLS):
            if select.select([line], [], [], 0)[0]:  # told to end, or the controller is gone
                lab.close_lab()
                bundle.finish(cancelled=True)
                return
            now = time.monotonic()
            if now - reported >= _REPORT_EVERY:
                reported = now
                lines.send(line, {"time_ns": lab.now()})
    finally:
        lab.close_lab()
    outcome = conclude(experiment, lab, script, bundle, round((time.monotonic() - started) * 1000))
    facts = {name: bundle.manifest[name] for name in ("fidelity",) if name in bundle.manifest}
    lines.send(line, {"outcome": {**outcome.as_dict(), **facts}})


def validate(job: dict[str, Any], line: socket.socket) -> None:
    """Only read the experiment. `job`: yaml, field, congestion_controls, allow_code."""
    try:
        experiment = load(job["yaml"], (), job["field"], sources=_sources(job))
    except Exception as error:
        _fail(line, error)
        return
    lines.send(line, {"experiment": experiment.name, "description": experiment.description})


def _sources(job: dict[str, Any]) -> Sources:
    return Sources(job["congestion_controls"], job["allow_code"])


def load(text: str, overrides: Any, field: str, backend: str = "", sources: Sources = NONE) -> Experiment:
    """Raises InvalidArgument with the place in the text; `field` is the request's."""
    try:
        return experiments.load(spec.read_text(text), overrides, backend, sources)
    except InvalidArgument as error:
        place = f"{field}.{error.field}" if error.field else field
        raise InvalidArgument(f"{field}: {error}", place, error.line) from None


def _fail(line: socket.socket, error: Exception) -> None:
    lines.send(line, {"error": base64.b64encode(status_of(error).SerializeToString()).decode()})

"""Runs an experiment in a directory of its own: lab, script, expectations, bundle.

`run` does all of it at once. A server uses the parts, with other work between the slices:

    bundle, lab = prepare(experiment, text, directory, seed)
    script = Script(experiment, lab)
    for _ in drive(lab, script, 1000):
        await asyncio.sleep(0)
    lab.close_lab()
    outcome = conclude(experiment, lab, script, bundle, wall_ms)
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from lab.backends.base import WAIT_NS, Lab
from lab.backends.session import start
from lab.engine.fidelity import words
from lab.experiments.expectations import check
from lab.experiments.report import Outcome
from lab.experiments.script import Script
from lab.experiments.spec import Experiment
from lab.trace.bundle import Bundle
from lab.trace.spool_reader import SpoolReader
from nodes.base.errors import TcplabError
from nodes.base.events import CONTROL, LEVEL_NAMES


def run(
    experiment: Experiment,
    text: str,
    directory: Path,
    seed: int | None = None,
    export: bool = True,
    backend: str = "",
) -> Outcome:
    """Run it on the backend for which it was read. `text` is the experiment as run, for the manifest;
    `directory` must be new or empty.

    Raises AlreadyExists, InvalidArgument, Unsupported; what happens in the lab is told by the Outcome.
    """
    started = time.monotonic_ns()
    bundle, lab = prepare(experiment, text, directory, seed, backend)
    try:
        script = Script(experiment, lab)
        for _ in drive(lab, script):
            pass
    finally:
        lab.close_lab()
    wall_ms = (time.monotonic_ns() - started) // 1_000_000
    return conclude(experiment, lab, script, bundle, wall_ms, export)


def prepare(
    experiment: Experiment, text: str, directory: Path, seed: int | None = None, backend: str = ""
) -> tuple[Bundle, Lab]:
    """Make the bundle and the lab."""
    seed = experiment.seed if seed is None else seed
    level = LEVEL_NAMES.index(experiment.trace.level)
    return start(
        directory,
        experiment.name,
        experiment.built(),
        seed,
        level,
        experiment.trace.capture,
        text,
        backend or experiment.backends[0],
        experiment=experiment.name,
    )


def drive(lab: Lab, script: Script, max_calls: int = 1 << 30) -> Iterator[None]:
    """Advance the lab as the script asks, to its end; yields after every `max_calls` scheduled calls at the latest."""
    steps = script.run()
    try:
        until = next(steps)
        while True:
            try:
                advance = lab.start_advance(until)
                try:
                    while (stopped := advance.step(max_calls)) is None:
                        advance.wait(WAIT_NS)
                        yield
                finally:
                    advance.close()
            except TcplabError as error:
                until = steps.throw(error)
            else:
                until = steps.send(stopped)
    except StopIteration:
        return


def conclude(
    experiment: Experiment, lab: Lab, script: Script, bundle: Bundle, wall_ms: int, export: bool = True
) -> Outcome:
    """Check the expectations of a closed lab, finish the bundle, and say what it came to."""
    notes = []
    for operation in lab.operations.all():
        if not operation.done:
            notes.append(f"{operation} still waits for {operation.waiting_for}")
        elif operation.error is not None:
            notes.append(f"{operation} ended with {operation.error}")
    for name, app in lab.apps.items():
        if app.error:
            notes.append(f"app {name} on {app.node} ended with {app.error}")
    for event in SpoolReader(bundle.spool, kinds=(CONTROL,)) if lab.topology.controls else ():
        notes.append(f"congestion control {event['control']} on {event.node} has failed: {event['why']}")
    notes += words(lab.facts().get("fidelity", {}))
    results = check(experiment.expect, script.evidence(), experiment.tolerance_ns)
    outcome = Outcome(
        experiment.name,
        lab.seed,
        tuple(script.problems),
        tuple(results),
        tuple(notes),
        str(bundle.path),
        lab.now(),
        lab.sink.sequence,
        wall_ms,
    )
    if export:
        bundle.export()
    apps = {name: dict(app.results) for name, app in lab.apps.items()}
    bundle.finish(outcome=outcome.as_dict(), apps=apps, **lab.facts())
    return outcome

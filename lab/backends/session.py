"""A lab with its run directory, and running a session again.

A session is a lab and the calls made on it, by whomever: a client over gRPC, a script, an experiment. Its trace holds
every call that changed something with its place in the run, so the same calls can be made again at the same places.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lab import spec
from lab.attacks.catalogue import ATTACKS
from lab.backends.base import Lab, Progress
from lab.backends.catalogue import SIM, check_backend, make_lab
from lab.backends.sim import SimLab
from lab.links.rules import RuleSpec
from lab.topology.loader import topology_from_mapping
from lab.topology.model import Topology
from lab.trace.bundle import MANIFEST, Bundle
from lab.trace.spool_reader import SpoolReader
from nodes.agent.payload import Payload
from nodes.base.errors import InvalidArgument, TcplabError
from nodes.base.events import ACTION, LEVEL_NAMES, LEVEL_STATES


def start(
    directory: Path,
    name: str,
    topology: Topology,
    seed: int,
    level: int,
    capture: bool,
    text: str,
    backend: str = SIM,
    progress: Progress | None = None,
    **more: Any,
) -> tuple[Bundle, Lab]:
    """Make a run directory and a lab that writes into it. `text` is what was asked for, as given; `more` goes into the
    manifest. Raises AlreadyExists, InvalidArgument, Unsupported; then nothing is left behind."""
    check_backend(backend)
    existed = directory.exists()
    bundle = Bundle.create(
        directory,
        spec=text,
        seed=seed,
        backend=backend,
        level=level,
        more={"name": name, "topology": dict(topology.spec), "capture": capture, **_hashes(topology), **more},
    )
    try:
        return bundle, make_lab(backend, name, topology, seed, bundle.spool, level, capture, progress)
    except BaseException:
        (directory / MANIFEST).unlink()
        if not existed:
            directory.rmdir()
        raise


def _hashes(topology: Topology) -> dict[str, Any]:
    """What users' code ran, by its SHA-256; the code itself is in the topology."""
    files: Mapping[str, str] = topology.spec.get("congestion_controls", {})
    hashes = {name: hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest() for name, text in files.items()}
    return {"congestion_controls": hashes} if hashes else {}


def rerun(run: Path, directory: Path) -> Bundle:
    """Make the calls of a finished run again, in a new lab that is then closed: the same bytes come out.

    Raises InvalidArgument for a run whose trace level left its calls out or that was not ended in order.
    """
    old = Bundle.open(run)
    manifest = old.manifest
    level = LEVEL_NAMES.index(manifest["trace_level"])
    if manifest["backend"] != SIM:
        raise InvalidArgument(f"{run}: cannot be run again: it ran in real time ({manifest['backend']})")
    actions = [(event.time_ns, json.loads(event.text)) for event in SpoolReader(old.spool, kinds=(ACTION,))]
    if level < LEVEL_STATES or not actions or actions[-1][1]["call"] != "close_lab":
        raise InvalidArgument(f"{run}: cannot be run again: its trace does not have all calls up to the end of the lab")
    bundle, lab = start(
        directory,
        manifest["name"],
        topology_from_mapping(manifest["topology"]),
        manifest["seed"],
        level,
        manifest["capture"],
        manifest["spec"],
        rerun_of=str(run),
    )
    assert isinstance(lab, SimLab)
    try:
        for time_ns, action in actions:
            lab.run_to(action.pop("step"), time_ns)
            with contextlib.suppress(TcplabError):  # what TCP refused then, it refuses now
                _CALLS[action.pop("call")](lab, action)
    finally:
        lab.close_lab()
    bundle.finish()
    return bundle


def _send(lab: SimLab, action: dict[str, Any]) -> None:
    payload = action.pop("payload")
    lab.send(payload=Payload(base64.b64decode(payload["pattern"]), payload["length"]), **action)


def _create_attack(lab: SimLab, action: dict[str, Any]) -> None:
    lab.create_attack(spec.from_mapping(ATTACKS[action["kind"]], action["attack"]), action["name"])


def _add_rule(lab: SimLab, action: dict[str, Any]) -> None:
    lab.add_rule(action["link"], spec.from_mapping(RuleSpec, action["rule"]))


def _plainly(name: str) -> Callable[[SimLab, dict[str, Any]], None]:
    return lambda lab, action: getattr(lab, name)(**action)


_CALLS: dict[str, Callable[[SimLab, dict[str, Any]], None]] = {
    "send": _send,
    "create_attack": _create_attack,
    "add_rule": _add_rule,
    **{
        name: _plainly(name)
        for name in (
            "open",
            "listen",
            "close_listener",
            "accept",
            "receive",
            "wait_ready",
            "shutdown",
            "close",
            "linger",
            "abort",
            "set_option",
            "cancel",
            "ping",
            "set_parameters",
            "update_link",
            "set_link_up",
            "remove_rule",
            "stop_attack",
            "start_app",
            "stop_app",
            "close_lab",
        )
    },
}

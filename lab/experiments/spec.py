"""An experiment file: what is built, what happens, when it stops, what is expected.

    name: lost-syn-ack
    topology: pair                      # a shipped topology, a file, {generator: {...}}, or a topology in place
    links: {h1-h2: {delay: 10ms}}       # changes to the topology's links, and packet rules
    nodes: {h1: {tcp_syn_retries: 3}}   # changes to the nodes' parameters
    apps: [...]                         # programs on nodes
    timeline: [...]                     # what the experimenter does, step by step
    stop: {time: 10s}                   # when it ends, at the latest
    expect: [...]                       # what the trace must show

    backends: [sim, netns]              # where it makes sense
    live: {stop: 20s}                   # what is different in real time

The timeline is a script: its steps are done in order, each as soon as the one before is done and its own condition
holds (`at` an instant, `after` a while, `when` a condition). A step that uses a label waits until what gave the label
(an accept, say) is done.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

import yaml

from lab import fieldpath, spec
from lab.attacks.base import AttackSpec
from lab.backends.catalogue import BACKENDS, REAL, SIM, check_backend
from lab.backends.until import KIND_BY_NAME
from lab.experiments.actions import ACTIONS, Action, App, When
from lab.experiments.expect import Expectation
from lab.links.impairments import Impairments
from lab.links.rules import RuleSpec
from lab.shipped import shipped_files
from lab.topology.build import build
from lab.topology.file import ControlsKind, ParametersKind, TopologySpec, check_parameters
from lab.topology.loader import NONE, topology_from_value
from lab.topology.model import Topology
from lab.topology.sources import Sources
from nodes.base.clock import SECOND
from nodes.base.errors import InvalidArgument, NotFound, Unsupported
from nodes.base.events import LEVEL_NAMES
from nodes.packet.address import parse_address
from nodes.tcp.congestion.base import CongestionControl
from nodes.tcp.congestion.plugin import load_controls

DEFAULT_STOP_NS: Final = 300 * SECOND


class TopologyKind(spec.Kind):
    """A topology by the name of a shipped one, by a generator (`linear,3`), or in place."""

    def parse(self, value: spec.Value, path: str) -> Topology:
        return topology_from_value(value, path)

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        return {"anyOf": [{"type": "string"}, spec.Nested(TopologySpec).schema(defs)]}

    def plain(self, data: Any) -> Any:
        return data.spec


@dataclass(frozen=True, kw_only=True)
class LinkChange:
    """Changes to one link of the topology, and its packet rules."""

    rules: tuple[RuleSpec, ...] = ()
    directions: dict[str, dict[str, Any]] = spec.of(
        spec.Map(spec.Partial(Impairments), r"[^ ]{1,80}", "a direction such as h1->r1"),
        default={},
        doc="Impairments of one direction, by its name h1->r1.",
    )
    changes: dict[str, Any] = spec.partial(Impairments, flat=True)


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of the timeline: a condition and an action. Without a condition it follows the one before at once."""

    at_ns: int | None = spec.duration(default=None, doc="At this instant, counted from the start of the experiment.")
    after_ns: int | None = spec.duration(default=None, doc="This much later than the step before.")
    when: When | None = None
    action: Action | None = spec.one_of("action", ACTIONS, default=None, flat=True, doc="Nothing: only wait.")

    def __post_init__(self) -> None:
        given = [self.at_ns is not None, self.after_ns is not None, self.when is not None]
        if sum(given) > 1:
            raise InvalidArgument("give one of at, after and when")
        if not any(given) and self.action is None:
            raise InvalidArgument("a step needs an action, at, after or when")


@dataclass(frozen=True, kw_only=True)
class Stop:
    """When it ends: at the first of these after the timeline's last step, or when nothing is left to happen."""

    short: ClassVar[str] = "time_ns"
    time_ns: int = spec.duration(
        default=DEFAULT_STOP_NS, minimum=1, doc="At this instant, counted from the start, in any case."
    )
    apps: bool = spec.of(spec.Boolean(), default=False, doc="When all apps have ended.")
    when: When | None = None

    def __post_init__(self) -> None:
        if self.apps and self.when is not None:
            raise InvalidArgument("give apps or when")


@dataclass(frozen=True, kw_only=True)
class Trace:
    """What is recorded."""

    short: ClassVar[str] = "level"
    level: str = spec.choice(LEVEL_NAMES, default="all", doc="off, states, congestion, segments or all.")
    capture: bool = spec.of(spec.Boolean(), default=True, doc="Keep every frame, for the pcapng files.")


#: What `live` can change, and how: mappings are merged, everything else is replaced.
LIVE: Final = ("topology", "trace", "links", "nodes", "apps", "timeline", "stop", "expect", "tolerance")
#: How much processes may be late where nothing else is said.
LIVE_TOLERANCE: Final = "25ms"


class LiveKind(spec.Kind):
    """Fields of the experiment as they are in real time. They are read when they are used, in `load`."""

    def parse(self, value: spec.Value, path: str) -> dict[str, Any]:
        fields = spec.Map(spec.Anything()).parse(value, path)
        for name in fields:
            if name not in LIVE:
                raise value.error(f"{path}.{name}", f"live can change {', '.join(LIVE)}", value.key_lines.get(name, 0))
        return fields

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        return {"type": ["object", "null"], "properties": {name: {} for name in LIVE}, "additionalProperties": False}


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """An experiment."""

    name: str = spec.text(pattern=spec.NAME_PATTERN, what=spec.NAME_WORDS)
    description: str = spec.text(default="", doc="What it shows, for people.")
    topology: Topology = spec.of(TopologyKind())
    seed: int = spec.number(default=1, maximum=(1 << 63) - 1, doc="Of all randomness.")
    trace: Trace = Trace()
    links: dict[str, LinkChange] = spec.of(
        spec.Map(spec.Nested(LinkChange)), default={}, doc="Changes to links of the topology, by name."
    )
    congestion_controls: dict[str, str] = spec.of(
        ControlsKind(),
        default={},
        doc="Python files beside this one, each with a congestion control that tcp_congestion_control may then name.",
    )
    nodes: dict[str, dict[str, Any]] = spec.of(
        spec.Map(ParametersKind()), default={}, doc="Parameters of nodes by name, such as tcp_syn_retries."
    )
    apps: tuple[App, ...] = ()
    timeline: tuple[Step, ...] = ()
    stop: Stop = Stop()
    expect: tuple[Expectation, ...] = ()
    tolerance_ns: int = spec.duration(default=0, doc="Expected lengths of time may be wrong by this; live: 25ms.")
    backends: tuple[str, ...] = spec.of(
        spec.Items(spec.Text(choices=BACKENDS), 1),
        default=(SIM,),
        doc="Where it makes sense: " + ", ".join(BACKENDS) + ".",
    )
    live: dict[str, Any] = spec.of(
        LiveKind(), default={}, doc="What is different in real time: idle times and such that nobody waits for."
    )

    def __post_init__(self) -> None:
        nodes = self.topology.nodes
        controls = {**self.topology.controls, **self.own_controls()}
        for name, parameters in self.nodes.items():
            if name not in nodes:
                raise InvalidArgument(_unknown("node", name, nodes), f"nodes.{name}")
            check_parameters(nodes[name].kind, parameters, f"nodes.{name}", controls)
        for name, change in self.links.items():
            wire = self.topology.links.get(name)
            if wire is None:
                raise InvalidArgument(_unknown("link", name, self.topology.links), f"links.{name}")
            for direction in change.directions:
                if direction not in (f"{wire.a.node}->{wire.b.node}", f"{wire.b.node}->{wire.a.node}"):
                    raise InvalidArgument(f"{direction} is not a direction of {name}", f"links.{name}.directions")
        for index, app in enumerate(self.apps):
            self._check_names(app, f"apps[{index}]")
            self._check_names(app.app, f"apps[{index}].{app.kind}")
        for index, step in enumerate(self.timeline):
            if step.action is not None:
                place = f"timeline[{index}]"
                self._check_names(step.action, place)
                self._check_names(getattr(step.action, "attack", None), place)

        for index, step in enumerate(self.timeline):
            if step.when is not None and step.when.event:
                self._check_level(KIND_BY_NAME[step.when.event].level, f"timeline[{index}].when")
        for index, expectation in enumerate(self.expect):
            self._check_level(expectation.level, f"expect[{index}]")

    def own_controls(self) -> dict[str, type[CongestionControl]]:
        """The congestion controls of its files, by name. Raises InvalidArgument."""
        try:
            return load_controls(self.congestion_controls)
        except InvalidArgument as error:
            raise InvalidArgument(str(error), "congestion_controls") from None

    def _check_level(self, level: int, place: str) -> None:
        """That the trace has what is looked for: what is not recorded would not be missed."""
        if level > LEVEL_NAMES.index(self.trace.level):
            raise InvalidArgument(
                f"it needs trace level {LEVEL_NAMES[level]} or more; this experiment has {self.trace.level}", place
            )

    def _check_names(self, given: Any, place: str) -> None:
        """That nodes and links which something names are there; an address is another matter."""
        for field in ("node", "to", "spoof", "target", "link"):
            name = getattr(given, field, "")
            if field == "to" and isinstance(given, AttackSpec):
                continue  # which end of the connection, not a node
            known = self.topology.links if field == "link" else self.topology.nodes
            if isinstance(name, str) and name and name not in known and not (field != "node" and _is_address(name)):
                what = "link" if field == "link" else "node"
                raise InvalidArgument(_unknown(what, name, known), f"{place}.{field}")

    def built(self) -> Topology:
        """The topology with this experiment's changes to links and nodes; its `spec` has them too."""
        topology = spec.from_mapping(TopologySpec, self.topology.spec)
        nodes = {
            name: dataclasses.replace(node, parameters={**node.parameters, **self.nodes.get(name, {})})
            for name, node in topology.nodes.items()
        }
        links = []
        for link, name in zip(topology.links, self.topology.links, strict=True):
            change = self.links.get(name, LinkChange())
            directions = {
                direction: {
                    **link.directions.get(direction, {}),
                    **change.changes,
                    **change.directions.get(direction, {}),
                }
                for direction in (*link.directions, *change.directions)
            }
            links.append(
                dataclasses.replace(link, impairments={**link.impairments, **change.changes}, directions=directions)
            )
        controls = {**topology.congestion_controls, **self.congestion_controls}
        return build(dataclasses.replace(topology, nodes=nodes, links=tuple(links), congestion_controls=controls))


def _is_address(text: str) -> bool:
    try:
        parse_address(text)
    except InvalidArgument:
        return False
    return True


def _unknown(what: str, name: str, known: Any) -> str:
    return f"there is no {what} {name!r} in the topology; there are {', '.join(known)}"


def find(name: str) -> Path:
    """The file that a path or the name of a shipped experiment means. Raises NotFound."""
    path = Path(name)
    shipped = shipped_files("experiments")
    if path.is_file() or "/" in name or name.endswith((".yaml", ".yml")):
        return path
    if name in shipped:
        return shipped[name]
    near = difflib.get_close_matches(name, shipped, 1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(shipped)}"
    raise NotFound(f"no experiment {name!r}; {hint}; a file is named with its .yaml")


def text_with(text: str, overrides: Sequence[str]) -> str:
    """The text of an experiment as it is run, for manifests and servers: the file's, or what overrides make of it."""
    if not overrides:
        return text
    value = spec.read_text(text)
    _override(value, overrides)
    return yaml.safe_dump(value.plain(), sort_keys=False, allow_unicode=True)


def backends_of(value: spec.Value) -> tuple[str, ...]:
    """The backends that an experiment's text is for. Raises InvalidArgument for what is none."""
    given = value.data.get("backends") if isinstance(value.data, dict) else None
    if given is None or given.data is None:
        return (SIM,)
    return tuple(spec.Items(spec.Text(choices=BACKENDS), 1).parse(given, "backends"))


def load(value: spec.Value, overrides: Sequence[str] = (), backend: str = "", sources: Sources = NONE) -> Experiment:
    """Read an experiment as it is on a backend, the first of its own when none is named; each override is `path=value`,
    as `--set` takes it, and counts more than `live`; `sources` are the files of congestion controls. Raises
    InvalidArgument, PermissionDenied, Unsupported when the experiment is not for that backend."""
    known = backends_of(value)
    backend = backend or known[0]
    check_backend(backend)
    if backend not in known:
        raise Unsupported(
            f"this experiment is for {', '.join(known)}, not for {backend}: "
            "its field backends says where it makes sense"
        )
    if backend in REAL:
        _be_live(value)
    _override(value, overrides)
    sources.supply(value)
    if isinstance(value.data, dict) and "topology" in value.data:
        sources.supply(value.data["topology"], "topology", False)
    return spec.parse(Experiment, value)


def _be_live(value: spec.Value) -> None:
    """Put what `live` says, of the experiment and of each expectation, in the place of what it changes."""
    if not isinstance(value.data, dict):
        return
    value.data.setdefault("tolerance", spec.wrap(LIVE_TOLERANCE))
    if "live" in value.data:
        LiveKind().parse(value.data["live"], "live")
        _merge(value, value.data["live"])
    expectations = value.data.get("expect")
    if expectations is not None and isinstance(expectations.data, list):
        for one in expectations.data:
            fields = one.data if isinstance(one.data, dict) else {}
            for name, what in fields.items():
                if "live" in fields and name not in ("live", "why") and isinstance(what.data, dict):
                    _merge(what, fields["live"])


def _merge(value: spec.Value, changes: spec.Value) -> None:
    if not isinstance(changes.data, dict):
        return
    for name, change in changes.data.items():
        old = value.data.get(name)
        if old is not None and isinstance(old.data, dict) and isinstance(change.data, dict):
            _merge(old, change)
        else:
            value.data[name] = change
            value.key_lines[name] = changes.key_lines.get(name, 0)


def _override(value: spec.Value, overrides: Sequence[str]) -> None:
    for override in overrides:
        path, equals, text = override.partition("=")
        if not equals or not path:
            raise InvalidArgument(f"--set {override}: it must be path=value, such as links.h1-h2.loss=2%")
        _make_way(value, path)
        fieldpath.override(value, path, text)


def _make_way(value: spec.Value, path: str) -> None:
    """Mappings on the way that the file leaves out (`links`, `links.h1-h2`) come into being, empty."""
    for step in path.split(".")[:-1]:
        if not isinstance(value.data, dict) or "[" in step:
            return
        if value.data.get(step) is None or value.data[step].data is None:
            value.data[step] = spec.wrap({})
        value = value.data[step]

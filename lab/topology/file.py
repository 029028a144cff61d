"""What a topology file says: frozen dataclasses as they are read, before names are resolved and addresses given."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from lab import spec
from lab.kinds import nearest
from lab.links.impairments import Impairments
from lab.topology.container import ContainerSpec
from nodes.base.errors import InvalidArgument
from nodes.kernel import sysctls
from nodes.tcp.congestion.base import CongestionControl
from nodes.tcp.congestion.plugin import FILE_PATTERN, FILE_WORDS
from nodes.tcp.parameters import NAMES, Parameters

HOST: Final = "host"
ROUTER: Final = "router"
SWITCH: Final = "switch"
LINUX: Final = "linux"
KINDS: Final = (HOST, ROUTER, SWITCH, LINUX)

#: What a switch is on backend mininet: whichever works, the kernel's bridge, or Open vSwitch.
LINUX_BRIDGE: Final = "linux-bridge"
OPEN_VSWITCH: Final = "open-vswitch"
SWITCHES: Final = ("auto", LINUX_BRIDGE, OPEN_VSWITCH)

#: Who carries a link in real time. AUTO: the kernel while nothing is asked of the link, then the link engine.
AUTO: Final = "auto"
LINK: Final = "link"
DIRECT: Final = "direct"
NETEM: Final = "netem"
ENGINES: Final = (AUTO, LINK, DIRECT, NETEM)

#: Which families of addresses interfaces have; IPV6_PREFERRED: names stand for IPv6 addresses.
NO_IPV6: Final = "none"
DUAL: Final = "dual"
IPV6_PREFERRED: Final = "preferred"
FAMILIES: Final = (NO_IPV6, DUAL, IPV6_PREFERRED)

NODE_PATTERN: Final = r"[A-Za-z][A-Za-z0-9_.-]{0,31}"
NODE_WORDS: Final = "a node name: a letter, then letters, digits, _ . - (32 at most)"
INTERFACE_PATTERN: Final = r"[A-Za-z][A-Za-z0-9_.-]{0,14}"
INTERFACE_WORDS: Final = "an interface name: a letter, then letters, digits, _ . - (15 at most, as in Linux)"
MIN_MTU: Final = 576  # RFC 791: what every host can receive
MAX_MTU: Final = 65535


class ParametersKind(spec.Kind):
    """A mapping from sysctl names to values. What they may be depends on whose TCP it is: `check_parameters`."""

    inner: ClassVar[spec.Kind] = spec.Map(spec.Anything(), sysctls.NAME_PATTERN, sysctls.NAME_WORDS)

    def parse(self, value: spec.Value, path: str) -> dict[str, int | str]:
        result: dict[str, int | str] = {}
        for name, item in self.inner.parse(value, path).items():
            known = name in NAMES or name.startswith(sysctls.KERNEL_PREFIXES)
            if not known:
                message = f"no such parameter{nearest(name, NAMES) or '; there are ' + ', '.join(NAMES)}"
                raise value.error(f"{path}.{name}", message, value.key_lines.get(name, 0))
            try:
                result[name] = item if isinstance(item, int) else sysctls.text_of(name, item)
            except InvalidArgument as error:
                raise value.error(path, str(error), value.key_lines.get(name, 0)) from None
        return result

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        value = {"type": ["integer", "string", "array"]}
        return {
            "type": ["object", "null"],
            "additionalProperties": False,
            "properties": dict.fromkeys(NAMES, value),
            "patternProperties": {f"^({'|'.join(re.escape(one) for one in sysctls.KERNEL_PREFIXES)})": value},
        }


def check_parameters(
    kind: str, parameters: Mapping[str, int | str], path: str, controls: Mapping[str, type[CongestionControl]]
) -> None:
    """Check them for a node of this kind, with users' `controls`; what a kernel takes, only it can say. Raises
    InvalidArgument."""
    scratch = Parameters()
    scratch.controls.update(controls)
    for name, value in parameters.items():
        try:
            if kind == LINUX:
                sysctls.full_name(name)
            elif name not in NAMES:
                there = nearest(name, NAMES) or "; there are " + ", ".join(NAMES)
                raise InvalidArgument(f"no such parameter of tcplab's TCP{there}; kind linux has the kernel's", name)
            else:
                scratch.set(name, value)
        except InvalidArgument as error:
            raise InvalidArgument(str(error).removeprefix(f"{name}: "), f"{path}.{name}") from None


@dataclass(frozen=True, kw_only=True)
class NodeSettings:
    """What nodes can share: given for all (defaults), for a kind, or for a group."""

    kind: str | None = spec.choice(
        KINDS, default=None, doc="host, router, switch; linux: a host with the kernel's TCP."
    )
    parameters: dict[str, int | str] = spec.of(
        ParametersKind(),
        default={},
        doc="Knobs by their sysctl names, such as tcp_syn_retries; and the profile. For kind linux: any sysctl.",
    )
    stp: bool | None = spec.of(
        spec.Optional(spec.Boolean()),
        default=None,
        doc="Of a switch, on backend mininet: it speaks the spanning tree protocol, so switches may form loops.",
    )
    switch: str | None = spec.choice(
        SWITCHES,
        default=None,
        doc="Of a switch, on backend mininet: linux-bridge, open-vswitch, or auto, which of them works. Elsewhere the "
        "link engine is the switch.",
    )
    container: dict[str, Any] = spec.partial(
        ContainerSpec,
        doc="The container that it is on backend docker; or only its image. Elsewhere it counts for nothing.",
    )


@dataclass(frozen=True, kw_only=True)
class InterfaceSpec:
    """An interface whose address is not to be automatic."""

    short: ClassVar[str] = "address"
    address: str = spec.text(
        default="",
        pattern=r"[0-9]{1,3}(\.[0-9]{1,3}){3}/[0-9]{1,2}",
        what="an address with its prefix length, 10.0.0.1/24",
    )
    ipv6: str = spec.text(
        default="",
        pattern=r"[0-9A-Fa-f:.]{2,45}/[0-9]{1,3}",
        what="an IPv6 address with its prefix length, fd00::1/64",
        doc="Its IPv6 address; for a topology that has IPv6.",
    )
    mac: str = spec.text(
        default="", pattern=r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}", what="a MAC address, 02:00:00:00:00:01"
    )


@dataclass(frozen=True, kw_only=True)
class NodeSpec(NodeSettings):
    """A node: a host, a router, a switch, or a host with the kernel's TCP."""

    short: ClassVar[str] = "kind"
    group: str = spec.text(
        default="", pattern=spec.NAME_PATTERN, what=spec.NAME_WORDS, doc="Takes the group's settings."
    )
    interfaces: dict[str, InterfaceSpec] = spec.of(
        spec.Map(spec.Nested(InterfaceSpec), INTERFACE_PATTERN, INTERFACE_WORDS),
        default={},
        doc="By name; only those with an address or MAC of their own. Others are made by the links.",
    )


class _EndpointsKind(spec.Kind):
    """`h1-r1`, `h1:eth0-r1:eth1`, or a list of two."""

    pair: ClassVar[spec.Kind] = spec.Items(spec.Text(), 2, 2)

    def parse(self, value: spec.Value, path: str) -> tuple[str, ...]:
        if isinstance(value.data, str):
            if "-" not in value.data:
                raise value.error(path, f"{value.data!r} is not a link: h1-r1, or a list of two ends")
            return (value.data,)
        result: tuple[str, ...] = self.pair.parse(value, path)
        return result

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        return {"anyOf": [{"type": "string", "pattern": "-"}, self.pair.schema(defs)]}

    def plain(self, data: Any) -> Any:
        return data[0] if len(data) == 1 else list(data)


@dataclass(frozen=True, kw_only=True)
class LinkSpec:
    """A link between two nodes, and what it does to packets, both ways or one way."""

    short: ClassVar[str] = "endpoints"
    endpoints: tuple[str, ...] = spec.of(
        _EndpointsKind(), doc="Two ends, node:interface or node (its next ethN); or short: h1-r1."
    )
    name: str = spec.text(default="", pattern=spec.NAME_PATTERN, what=spec.NAME_WORDS, doc="h1-r1 when not given.")
    mtu: int = spec.number(default=1500, minimum=MIN_MTU, maximum=MAX_MTU, doc="Bytes of the largest IP packet.")
    engine: str = spec.choice(
        ENGINES,
        default=AUTO,
        doc="Who carries it in real time: the link engine (link), the kernel as it is (direct) or by its netem; auto: "
        "the kernel while nothing is asked of the link, then the link engine.",
    )
    impairments: dict[str, Any] = spec.partial(Impairments, flat=True)
    directions: dict[str, dict[str, Any]] = spec.of(
        spec.Map(spec.Partial(Impairments), r"[^ ]{1,80}", "a direction such as h1->r1"),
        default={},
        doc="Impairments of one direction, by its name h1->r1; they add to those of the link.",
    )


class ControlsKind(spec.Kind):
    """Python files that nodes may have their congestion control from: name -> text. A file lists the names; whoever
    reads it puts the texts there (sources.py)."""

    inner: ClassVar[spec.Kind] = spec.Map(spec.Text(), FILE_PATTERN, FILE_WORDS)

    def parse(self, value: spec.Value, path: str) -> dict[str, str]:
        files: dict[str, str] = self.inner.parse(value, path)
        return files

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        names = {"type": "array", "items": {"type": "string", "pattern": f"^{FILE_PATTERN}$"}}
        return {"anyOf": [names, self.inner.schema(defs)]}


@dataclass(frozen=True, kw_only=True)
class TopologySpec:
    """A topology: nodes and links."""

    name: str = spec.text(default="", pattern=spec.NAME_PATTERN, what=spec.NAME_WORDS)
    description: str = spec.text(default="", doc="What it is for, for people.")
    ipv6: str = spec.choice(
        FAMILIES,
        default=NO_IPV6,
        doc="dual: interfaces have IPv6 addresses too; preferred: and names of nodes stand for those.",
    )
    defaults: NodeSettings = spec.of(spec.Nested(NodeSettings), default=NodeSettings(), doc="Settings of every node.")
    kinds: dict[str, NodeSettings] = spec.of(
        spec.Map(spec.Nested(NodeSettings), "|".join(KINDS), "a kind: " + ", ".join(KINDS)),
        default={},
        doc="Settings of every node of a kind.",
    )
    groups: dict[str, NodeSettings] = spec.of(
        spec.Map(spec.Nested(NodeSettings)), default={}, doc="Settings of the nodes that name the group."
    )
    nodes: dict[str, NodeSpec] = spec.of(
        spec.Map(spec.Nested(NodeSpec), NODE_PATTERN, NODE_WORDS), doc="Nodes by name; the order counts."
    )
    congestion_controls: dict[str, str] = spec.of(
        ControlsKind(),
        default={},
        doc="Python files beside this one, each with a congestion control that tcp_congestion_control may then name.",
    )
    link_defaults: dict[str, Any] = spec.partial(Impairments, doc="Impairments of every link.")
    links: tuple[LinkSpec, ...] = spec.of(spec.Items(spec.Nested(LinkSpec)), default=())

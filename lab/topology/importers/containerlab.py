"""Topologies of containerlab (`*.clab.yml`) as descriptions of ours.

Its names and forms are those of its topology definition file: nodes with kinds, groups and defaults; links in brief
(`endpoints: ["a:e1", "b:e1"]`) and in the extended form. Templates are not rendered.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Any, Final

from lab import spec
from lab.kinds import NAME_PATTERN
from lab.topology.file import INTERFACE_PATTERN, MAX_MTU, MIN_MTU, NODE_PATTERN, SWITCH
from lab.topology.importers.clab_exec import Done, understand
from lab.topology.importers.clab_node import NO_NODES, describe, inherited
from lab.topology.importers.report import Report
from lab.topology.loader import topology_from_mapping
from nodes.base.errors import InvalidArgument

_VARIABLE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::?[-=]([^}]*))?\}")
#: What stands for a node in an end, or as the type of a link, and why such a link is left out.
_NO_LINKS: Final = {
    "host": "leads to the machine, whose network is never touched",
    "mgmt-net": "leads to the management network, which does not exist here",
    "macvlan": "leads to an interface of the machine, whose network is never touched",
    "vxlan": "leads to another machine; a lab is on one",
    "vxlan-stitch": "leads to another machine; a lab is on one",
    "dummy": "leads nowhere",
}
_MTU: Final = 1500
_INDEX: Final = ("ipv4", "ipv6")


def import_containerlab(path: Path, ours: bool = False) -> tuple[dict[str, Any], Report]:
    """What a topology file would say for a file of containerlab, and what has no counterpart.

    With `ours`, nodes of kind linux become hosts and routers with tcplab's TCP, which every backend has.
    Raises NotFound, InvalidArgument.
    """
    if _templated(path):
        raise InvalidArgument(f"{path}: is a template ({{{{ ... }}}}); import what it renders to", "file")
    data = _expanded(spec.read_file(path).plain())
    if not isinstance(data, dict) or not isinstance(data.get("topology"), dict):
        raise InvalidArgument(f"{path}: has no `topology:`, so it is no topology of containerlab", "topology")
    try:
        made = _Import(data, path, ours)
        return made.result(), made.report
    except InvalidArgument as error:
        raise InvalidArgument(f"{path}: {error}", error.field) from None


class _Import:
    def __init__(self, data: Mapping[str, Any], path: Path, ours: bool) -> None:
        self.report = Report()
        self.path = path
        self.ours = ours
        self.data = data
        topology = data["topology"]
        if not isinstance(topology.get("nodes"), dict) or not topology["nodes"]:
            raise InvalidArgument("topology.nodes: there are none", "topology.nodes")
        self.settings = {name: inherited(topology, name) for name in topology["nodes"]}
        self.names: dict[str, str] = {}  # theirs -> ours
        self.shares: dict[str, str] = {}  # a node in another's network -> that one
        self.ports: dict[str, dict[str, str]] = {}  # ours: their interface -> our interface
        self.done: dict[str, Done] = {}
        self.addresses: dict[str, dict[str, dict[str, str]]] = {}
        self.links = topology.get("links") or []

    def result(self) -> dict[str, Any]:
        report = self.report
        for field in ("mgmt", "prefix", "settings", "debug"):
            if self.data.get(field):
                why = "there is no management network" if field == "mgmt" else "containerlab's own"
                report.say("", field, why)
        nodes = self._nodes()
        links = [link for index, one in enumerate(self.links) if (link := self._link(index, one, nodes)) is not None]
        for name, interfaces in self.addresses.items():
            nodes[name]["interfaces"] = interfaces
        self._leftover_addresses(nodes)
        result: dict[str, Any] = {}
        name = re.sub(r"[^A-Za-z0-9_.-]", "-", str(self.data.get("name") or self.path.name.partition(".")[0]))
        if re.fullmatch(NAME_PATTERN, name):
            result["name"] = name
        result["description"] = f"From {self.path.name} of containerlab."
        result["nodes"] = {name: one["kind"] if len(one) == 1 else one for name, one in nodes.items()}
        result["links"] = links
        return self._checked(result)

    def _nodes(self) -> dict[str, dict[str, Any]]:
        nodes: dict[str, dict[str, Any]] = {}
        for name, settings in self.settings.items():
            if not settings["kind"]:
                raise InvalidArgument(f"topology.nodes.{name}: has no kind", f"topology.nodes.{name}.kind")
            mode = str(settings.get("network-mode", ""))
            if settings["kind"] in NO_NODES:
                self.report.say(name, f"kind {settings['kind']}, left out", NO_NODES[settings["kind"]])
            elif mode.startswith("container:") and mode[10:] in self.settings:
                self.shares[name] = mode[10:]
                self.report.say(name, "left out", f"is in the network of {mode[10:]}, which has its links")
            else:
                ours = self.names[name] = _unused(name, NODE_PATTERN, "n", 32, self.names.values())
                if ours != name:
                    self.report.say(name, f"is called {ours}", "names are letters, digits, _ . - after a letter")
                done = self.done[ours] = understand(name, settings.get("exec") or (), self.report)
                nodes[ours] = describe(
                    name, settings, done.parameters, self.ours, self.path.absolute().parent, self.report
                )
                self.ports[ours] = {}
        return nodes

    def _link(self, index: int, link: Any, nodes: Mapping[str, Any]) -> dict[str, Any] | None:
        where = f"topology.links[{index}]"
        if not isinstance(link, dict):
            raise InvalidArgument(f"{where}: is a mapping with endpoints", where)
        kind = str(link.get("type", "veth"))
        given = link.get("endpoints") or ([link["endpoint"]] if link.get("endpoint") else [])
        ends = [_end(one, f"{where}.endpoints[{at}]") for at, one in enumerate(given)]
        name = "-".join(f"{end['node']}:{end['interface']}" for end in ends) or where
        special = kind if kind in _NO_LINKS else next((end["node"] for end in ends if self._special(end["node"])), "")
        if special:
            self.report.say(name, "link left out", _NO_LINKS[special])
            return None
        if len(ends) != 2:
            raise InvalidArgument(f"{where}: has {len(ends)} ends; a {kind} link has two", f"{where}.endpoints")
        for end in ends:
            if end["node"] in self.shares:
                end["node"] = self.shares[end["node"]]
            if end["node"] not in self.settings:
                known = ", ".join(self.settings)
                raise InvalidArgument(f"{where}: there is no node {end['node']}; there are {known}", where)
            if end["node"] not in self.names:
                self.report.say(name, "link left out", f"{end['node']} is left out")
                return None
        owners = [self.names[end["node"]] for end in ends]
        if owners[0] == owners[1]:
            self.report.say(name, "link left out", "both its ends are on one node")
            return None
        result: dict[str, Any] = {"endpoints": []}
        for at, (owner, end) in enumerate(zip(owners, ends, strict=True)):
            for field in _INDEX:
                both = link.get(field) or ()
                if at < len(both) and both[at] and not end.get(field):
                    end[field] = both[at]
            result["endpoints"].append(f"{owner}:{self._port(owner, end, nodes[owner])}")
        self._mtu(name, link, result)
        for field in ("vars", "labels"):
            if any(one.get(field) for one in (link, *ends)):
                self.report.say(name, f"{field} of a link", "for templates of containerlab")
        self._impair(owners, ends, result)
        return result

    def _special(self, node: str) -> bool:
        return node in _NO_LINKS and node not in self.settings

    def _port(self, owner: str, end: dict[str, Any], node: Mapping[str, Any]) -> str:
        theirs = str(end["interface"])
        known = self.ports[owner]
        if theirs in known:
            raise InvalidArgument(f"{owner}:{theirs} is the end of two links", "topology.links")
        short = re.sub(r"^ethernet-?(?=[0-9])", "e" if "/" in theirs else "eth", theirs, flags=re.IGNORECASE)
        ours = known[theirs] = _unused(short, INTERFACE_PATTERN, "e", 15, known.values())
        if ours != theirs:
            self.report.say(f"{owner}:{theirs}", f"is called {ours}", "names of interfaces are as Linux has them")
        if end.get("ipv6"):
            self.report.say(f"{owner}:{ours}", "ipv6", "there is no IPv6")
        if node["kind"] == SWITCH:
            return ours
        said: dict[str, str] = {}
        address = str(end.get("ipv4") or self.done[owner].addresses.pop(theirs, ""))
        if address:
            try:
                said["address"] = str(IPv4Interface(address if "/" in address else f"{address}/none"))
            except ValueError:
                self.report.say(f"{owner}:{ours}", f"address {address}", "is none with its prefix length")
        if end.get("mac"):
            said["mac"] = str(end["mac"]).replace("-", ":").lower()
        if said:
            self.addresses.setdefault(owner, {})[ours] = said
        return ours

    def _mtu(self, name: str, link: Mapping[str, Any], result: dict[str, Any]) -> None:
        mtu = link.get("mtu")
        if not isinstance(mtu, int):
            self.report.say("", "links without mtu", f"have {_MTU} bytes here; containerlab gives them 9500")
        elif not MIN_MTU <= mtu <= MAX_MTU:
            self.report.say(name, f"mtu {mtu}", f"{MIN_MTU} to {MAX_MTU} are allowed")
        else:
            result["mtu"] = mtu

    def _impair(self, owners: list[str], ends: list[dict[str, Any]], result: dict[str, Any]) -> None:
        for at, (owner, end) in enumerate(zip(owners, ends, strict=True)):
            found = self.done[owner].impairments.pop(str(end["interface"]), None)
            if found:
                result.setdefault("directions", {})[f"{owner}->{owners[1 - at]}"] = found

    def _leftover_addresses(self, nodes: Mapping[str, Any]) -> None:
        """What exec said of interfaces that no link gives."""
        for name, done in self.done.items():
            for device, address in done.addresses.items():
                why = "a switch has none" if nodes[name]["kind"] == SWITCH else "no link ends there"
                self.report.say(f"{name}:{device}", f"address {address}", why)
            for device in done.impairments:
                self.report.say(f"{name}:{device}", "netem", "no link ends there")

    def _checked(self, result: dict[str, Any]) -> dict[str, Any]:
        """What we give must load. Addresses that contradict each other are left to tcplab."""
        wrong = ""
        for dropped in ((), ("address",), ("mac",), ("address", "mac")):
            given = self._without(result, dropped)
            try:
                topology_from_mapping(given)
            except InvalidArgument as error:
                wrong = wrong or str(error)
                continue
            if dropped:
                why = f"tcplab gives its own, as those of the file do not fit: {wrong}"
                self.report.say("", " and ".join(f"every {one}" for one in dropped), why)
            return given
        raise InvalidArgument(f"{wrong}")

    def _without(self, result: dict[str, Any], dropped: tuple[str, ...]) -> dict[str, Any]:
        nodes = dict(result["nodes"])
        for name, interfaces in self.addresses.items():
            kept = {
                port: left
                for port, said in interfaces.items()
                if (left := {key: value for key, value in said.items() if key not in dropped})
            }
            node = {key: value for key, value in nodes[name].items() if key != "interfaces"}
            if kept:
                node["interfaces"] = kept
            nodes[name] = node["kind"] if len(node) == 1 else node
        return {**result, "nodes": nodes}


def _end(end: Any, where: str) -> dict[str, Any]:
    if isinstance(end, dict) and end.get("node") and end.get("interface"):
        return {**end, "node": str(end["node"])}
    node, colon, interface = str(end).partition(":")
    if not isinstance(end, str) or not colon or not node or not interface:
        raise InvalidArgument(f"{where}: {end!r} is not node:interface", where)
    return {"node": node, "interface": interface}


def _unused(name: str, pattern: str, first: str, longest: int, taken: Any) -> str:
    """A name near this one that we allow and that is free."""
    near = re.sub(r"[^A-Za-z0-9_.-]", "-", name)
    near = (near if near[:1].isalpha() else first + near)[:longest]
    number = 1
    found = near
    while found in taken or not re.fullmatch(pattern, found):
        number += 1
        found = f"{near[: longest - len(str(number)) - 1]}-{number}"
    return found


def _templated(path: Path) -> bool:
    try:
        return re.search(r"^\s*\{\{", path.read_text("utf-8", "replace"), re.MULTILINE) is not None
    except OSError:
        return False


def _expanded(data: Any) -> Any:
    """With `${NAME:=default}` replaced, and the merge keys (<<) that YAML files have."""
    if isinstance(data, str):
        return _VARIABLE.sub(_variable, data)
    if isinstance(data, list):
        return [_expanded(one) for one in data]
    if not isinstance(data, dict):
        return data
    merged: dict[str, Any] = {}
    under = data.get("<<")
    for one in under if isinstance(under, list) else [under]:
        if isinstance(one, dict):
            merged |= _expanded(one)
    merged |= {str(_expanded(key)): _expanded(value) for key, value in data.items() if key != "<<"}
    return merged


def _variable(match: re.Match[str]) -> str:
    """From the environment, else the default in the file, else as it is: it may be the container's."""
    default: str = match[2] if match[2] is not None else match[0]
    return os.environ.get(match[1]) or default

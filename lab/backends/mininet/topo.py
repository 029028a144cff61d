"""Topologies of Mininet (`Topo` objects) as our topology files say them."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any, Final

from lab.backends.mininet.link_options import impairments
from lab.topology.file import LINUX_BRIDGE, OPEN_VSWITCH, ROUTER, SWITCH
from lab.topology.loops import first_loop

_BASE: Final = ipaddress.IPv4Network("10.0.0.0/8")
#: What Mininet knows of a node and we have in other words, or do not need.
_HOST_OPTIONS: Final = {"ip", "mac", "defaultRoute", "cls", "inNamespace", "name"}
_SWITCH_OPTIONS: Final = {
    "isSwitch",
    "cls",
    "dpid",
    "batch",
    "listenPort",
    "failMode",
    "protocols",
    "inNamespace",
    "stp",
}


class Report:
    """What a topology says that has no counterpart here: words by where."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, where: str, names: list[str]) -> None:
        if names:
            self.lines.append(f"{where}: {', '.join(names)}: nothing here is like it; left out")


def describe(topo: Any, name: str, report: Report) -> dict[str, Any]:
    """What a topology file would say. Names, ports, addresses and links' options are those that Mininet gives; where
    it is one network, hosts have Mininet's addresses, 10.0.0.1/8 and so on.

    A host is a router when it is another one's gateway, or its class is called one. Raises InvalidArgument.
    """
    hosts, switches = list(topo.hosts()), list(topo.switches())
    links = [info for _, _, info in topo.links(sort=True, withInfo=True)]
    nodes: dict[str, Any] = {one: {} for one in (*hosts, *switches)}
    ends = [(info["node1"], info["node2"]) for info in links]
    loop = first_loop([pair for pair in ends if {*pair} <= {*switches}]) is not None
    if loop:
        report.lines.append(
            "switches in a loop: all speak the spanning tree protocol, which they do on backend mininet"
        )
    for switch in switches:
        options = topo.nodeInfo(switch)
        nodes[switch] = {"kind": SWITCH, **_switch(options), **({"stp": True} if loop else {})}
        report.add(switch, [one for one in options if one not in _SWITCH_OPTIONS])
    given = _Addresses(topo, hosts, links)
    for number, host in enumerate(hosts, 1):
        options = topo.nodeInfo(host)
        if given.is_gateway(host) or "router" in _class_name(options).lower():
            nodes[host]["kind"] = ROUTER
        report.add(host, [one for one in options if one not in _HOST_OPTIONS])
        interfaces = given.interfaces(host, number)
        if interfaces:
            nodes[host]["interfaces"] = interfaces
    return {"name": name, "nodes": nodes, "links": [_link(info, report) for info in links]}


def _switch(options: Mapping[str, Any]) -> dict[str, Any]:
    kind = _class_name(options)
    if kind == "LinuxBridge":
        return {"switch": LINUX_BRIDGE}
    return {"switch": OPEN_VSWITCH} if kind.startswith("OVS") else {}


def _class_name(options: Mapping[str, Any]) -> str:
    return str(getattr(options.get("cls"), "__name__", ""))


class _Addresses:
    """Addresses and MACs that hosts' interfaces have, by (host, port)."""

    def __init__(self, topo: Any, hosts: list[str], links: list[Mapping[str, Any]]) -> None:
        self._ports: dict[str, list[int]] = {host: [] for host in hosts}
        self._given: dict[tuple[str, int], dict[str, str]] = {}
        self._flat = _is_flat(topo, hosts, links)
        self._gateways = set()
        for info in links:
            for end in ("1", "2"):
                node, port = info[f"node{end}"], info[f"port{end}"]
                if node not in self._ports:
                    continue
                self._ports[node].append(port)
                own = info.get(f"params{end}") or {}
                self._give(node, port, own.get("ip"), own.get("mac") or info.get(f"addr{end}"))
        for host, ports in self._ports.items():
            options = topo.nodeInfo(host)
            if ports:
                self._give(host, min(ports), options.get("ip"), options.get("mac"))
            found = re.search(r"via\s+([0-9.]+)", str(options.get("defaultRoute") or ""))
            if found:
                self._gateways.add(found[1])

    def _give(self, host: str, port: int, address: Any, mac: Any) -> None:
        given = self._given.setdefault((host, port), {})
        if address:
            given["address"] = str(address) if "/" in str(address) else f"{address}/{_BASE.prefixlen}"
        if mac:
            given["mac"] = str(mac)

    def is_gateway(self, host: str) -> bool:
        """Whether another host sends its packets there."""
        own = (self._given[host, port].get("address", "") for port in self._ports[host])
        return any(one.partition("/")[0] in self._gateways for one in own)

    def interfaces(self, host: str, number: int) -> dict[str, dict[str, str]]:
        """Of host number `number`, from 1: those with something of their own."""
        found = {}
        for port in self._ports[host]:
            given = self._given[host, port]
            if self._flat and "address" not in given:
                given["address"] = f"{_BASE[number]}/{_BASE.prefixlen}"
            if given:
                found[_interface(port)] = given
        return found


def _is_flat(topo: Any, hosts: list[str], links: list[Mapping[str, Any]]) -> bool:
    """Whether all hosts are on one network, each with one interface."""
    ends = [info[f"node{end}"] for info in links for end in ("1", "2")]
    if any(ends.count(host) != 1 for host in hosts):
        return False
    pairs = [(info["node1"], info["node2"]) for info in links]
    return all(first_loop([(hosts[0], host)], pairs) is not None for host in hosts[1:])


def _link(info: Mapping[str, Any], report: Report) -> dict[str, Any]:
    ends = [f"{info[f'node{end}']}:{_interface(info[f'port{end}'])}" for end in ("1", "2")]
    both, unknown = impairments(info)
    link: dict[str, Any] = {"endpoints": ends, **both}
    directions = {}
    for one, other in (("1", "2"), ("2", "1")):
        own, more = impairments(info.get(f"params{one}") or {})
        unknown += more
        if own:
            directions[f"{info[f'node{one}']}->{info[f'node{other}']}"] = own
    if directions:
        link["directions"] = directions
    report.add("-".join(ends), unknown)
    return link


def _interface(port: int) -> str:
    return f"eth{port}"

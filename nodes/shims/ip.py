"""ip: addresses, links, routes and neighbours of the node, as iproute2's tells them; to look at only."""

from __future__ import annotations

import _socket
import sys
from collections.abc import Sequence
from typing import Any

from nodes.shims.ask import change, open_line, options, resolve, wrong
from nodes.shims.flags import Options, fail
from nodes.shims.ifconfig import broadcast
from nodes.shims.line import Line

_USAGE = "[-4] [-6] [-br] [-s] address | link | route [get ADDRESS] | neigh"
_KNOWN = {"-4": "ipv4", "-s": "statistics", "-stats": "statistics", "-br": "brief", "-brief": "brief", "-o": "oneline"}
_KNOWN |= {"-6": "ipv6", "-c": "color", "-n": "netns=", "-d": "details"}
_OBJECTS = ("address", "link", "route", "neighbour")


def run(name: str, argv: Sequence[str]) -> int:
    """0, or 1 when there is no such interface or route."""
    switches, words = [], list(argv)
    while words and words[0].startswith("-"):
        switches.append(words.pop(0))
    given = options(name, switches, {key: value for key, value in _KNOWN.items() if key != "-n"}, _USAGE)
    if not words:
        wrong(name, "what is to be shown?", _USAGE)
    known = next((one for one in _OBJECTS if one.startswith(words[0])), "")
    known = "neighbour" if words[0] in ("neighbor", "neigh", "n") else known
    if not known:
        change(name, _USAGE)
    rest = words[1:]
    if rest and any(word.startswith(rest[0]) for word in ("show", "list", "lst")):
        rest = rest[1:]
    line = open_line(name)
    if known == "route":
        if rest and rest[0] == "get" and len(rest) == 2:
            return _route_to(name, line, rest[1], given)
        if rest:
            change(name, _USAGE)
        _routes(line, 6 if given.ipv6 else 4)
        return 0
    device = rest[1] if len(rest) == 2 and rest[0] == "dev" else rest[0] if len(rest) == 1 else ""
    if rest and not device:
        change(name, _USAGE)
    if known == "neighbour":
        for one in line.call("neighbours"):
            if device in ("", one["interface"]) and _wanted(given, one["address"]):
                state = "REACHABLE" if one["fresh"] else "STALE"
                sys.stdout.write(f"{one['address']} dev {one['interface']} lladdr {one['mac']} {state}\n")
        return 0
    interfaces = list(enumerate(line.call("interfaces"), 1))
    if device:
        interfaces = [(number, one) for number, one in interfaces if one["name"] == device]
        if not interfaces:
            fail("Device", f'"{device}" does not exist.')
    for number, one in interfaces:
        one = {**one, "ipv6": [] if given.ipv4 else one["ipv6"], "address": "" if given.ipv6 else one["address"]}
        sys.stdout.write(_brief(one, known) if given.brief else _full(number, one, known, bool(given.statistics)))
    return 0


def _wanted(given: Options, address: str) -> bool:
    """Whether -4 and -6 leave an address in."""
    return not (given.ipv4 and ":" in address) and not (given.ipv6 and ":" not in address)


def _brief(one: dict[str, Any], known: str) -> str:
    state = "UNKNOWN" if one["name"] == "lo" else "UP"
    if known == "link":
        flags = "LOOPBACK,UP,LOWER_UP" if one["name"] == "lo" else "BROADCAST,MULTICAST,UP,LOWER_UP"
        return f"{one['name']:<16} {state:<14} {one['mac']} <{flags}>\n"
    address = f"{one['address']}/{one['prefix_len']}" if one["address"] else ""
    both = [address] * bool(address) + [f"{each}/{length}" for each, length in one["ipv6"]]
    return f"{one['name']:<16} {state:<14} {' '.join(both)}\n"


def _full(number: int, one: dict[str, Any], known: str, statistics: bool) -> str:
    loopback = one["name"] == "lo"
    flags = "LOOPBACK,UP,LOWER_UP" if loopback else "BROADCAST,MULTICAST,UP,LOWER_UP"
    state = "UNKNOWN" if loopback else "UP"
    text = f"{number}: {one['name']}: <{flags}> mtu {one['mtu']} qdisc noqueue state {state} group default qlen 1000\n"
    everybody = "00:00:00:00:00:00" if loopback else "ff:ff:ff:ff:ff:ff"
    text += f"    link/{'loopback' if loopback else 'ether'} {one['mac']} brd {everybody}\n"
    if known == "address" and one["address"]:
        scope = "host" if loopback else f"brd {broadcast(one['address'], one['prefix_len'])} scope global"
        scope = "scope host" if loopback else scope
        text += f"    inet {one['address']}/{one['prefix_len']} {scope} {one['name']}\n"
        text += "       valid_lft forever preferred_lft forever\n"
    if known == "address":
        for address, length in one["ipv6"]:
            scope = "host" if loopback else "link" if address.startswith("fe80:") else "global"
            text += f"    inet6 {address}/{length} scope {scope}\n       valid_lft forever preferred_lft forever\n"
    if statistics:
        counts = one["counters"]
        for way in ("rx", "tx"):
            text += f"    {way.upper()}: bytes packets errors dropped\n"
            text += "        " + " ".join(
                str(counts[f"{way}_{key}"]) for key in ("bytes", "packets", "errors", "dropped")
            )
            text += "\n"
    return text


def _routes(line: Line, family: int) -> None:
    for one in sorted(line.call("routes", family=family), key=lambda one: one["prefix_len"]):
        prefix = "default" if not one["prefix_len"] else f"{one['prefix']}/{one['prefix_len']}"
        if one["gateway"]:
            text = f"{prefix} via {one['gateway']} dev {one['interface']}"
        else:
            scope = f" scope link src {one['source']}" if family == 4 else ""
            text = f"{prefix} dev {one['interface']} proto kernel{scope}"
        sys.stdout.write(text + (f" metric {one['metric']}" if one["metric"] else "") + "\n")


def _route_to(name: str, line: Line, host: str, given: Options) -> int:
    address = resolve(line, name, host, given)
    value, bits = _number(address)
    for one in line.call("routes", family=6 if bits == 128 else 4):
        shift = bits - one["prefix_len"]
        if _number(one["prefix"])[0] >> shift == value >> shift:
            via = f"via {one['gateway']} " if one["gateway"] else ""
            sys.stdout.write(f"{address} {via}dev {one['interface']} src {one['source']}\n    cache\n")
            return 0
    return fail("RTNETLINK answers", "Network is unreachable", 2)


def _number(address: str) -> tuple[int, int]:
    """An address as a number, and its length in bits."""
    data = _socket.inet_pton(_socket.AF_INET6 if ":" in address else _socket.AF_INET, address)
    return int.from_bytes(data, "big"), 8 * len(data)

"""Topologies by formula, in Mininet's words: `star,4`, `linear,3`, `tree,2,3`, `dumbbell,2`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from nodes.base.errors import InvalidArgument

Description = dict[str, Any]
MAX_HOSTS: Final = 500


def generate(text: str) -> Description | None:
    """What a topology file would say for `name,number...`; None when the name is not a generator's.

    Raises InvalidArgument for wrong numbers.
    """
    name, *arguments = (part.strip() for part in text.split(","))
    known = GENERATORS.get(name)
    if known is None:
        return None
    make, usage, least, most = known
    if not least <= len(arguments) <= most or not all(
        part.isascii() and part.isdigit() and 0 < int(part[:5]) <= MAX_HOSTS for part in arguments
    ):
        raise InvalidArgument(f"{text} is not {usage}, numbers from 1 to {MAX_HOSTS}")
    return {"name": name, **make(*(int(part[:5]) for part in arguments))}


def star(hosts: int) -> Description:
    """Hosts on one switch."""
    return {"nodes": {**_hosts(hosts), "s1": "switch"}, "links": [f"h{number}-s1" for number in range(1, hosts + 1)]}


def linear(switches: int, hosts: int = 1) -> Description:
    """A row of switches, each with its hosts."""
    nodes: Description = _hosts(switches * hosts)
    links = [f"h{number}-s{(number - 1) // hosts + 1}" for number in range(1, switches * hosts + 1)]
    for number in range(1, switches + 1):
        nodes[f"s{number}"] = "switch"
        if number > 1:
            links.append(f"s{number - 1}-s{number}")
    return {"nodes": nodes, "links": links}


def tree(depth: int, fanout: int = 2) -> Description:
    """A tree of switches, `depth` levels of them, with hosts as leaves."""
    if depth > 10 or fanout**depth > MAX_HOSTS:
        raise InvalidArgument(f"tree,{depth},{fanout} has more than {MAX_HOSTS} hosts")
    switches: Description = {}
    links: list[str] = []
    hosts = 0

    def grow(level: int) -> str:
        nonlocal hosts
        if level == depth:
            hosts += 1
            return f"h{hosts}"
        name = f"s{len(switches) + 1}"
        switches[name] = "switch"
        for _ in range(fanout):
            links.append(f"{name}-{grow(level + 1)}")
        return name

    grow(0)
    return {"nodes": {**_hosts(hosts), **switches}, "links": links}


def dumbbell(pairs: int) -> Description:
    """Hosts h1.. on router r1, as many on router r2, and a bottleneck between: 10mbit, 10ms, a queue of 50 packets."""
    nodes: Description = {**_hosts(2 * pairs), "r1": "router", "r2": "router"}
    links: list[Any] = [f"h{number}-r{1 if number <= pairs else 2}" for number in range(1, 2 * pairs + 1)]
    links.append({"endpoints": "r1-r2", "rate": "10mbit", "delay": "10ms", "limit": 50})
    return {"nodes": nodes, "links": links}


def _hosts(count: int) -> Description:
    return {f"h{number}": "host" for number in range(1, count + 1)}


#: name -> (function, usage, fewest and most arguments)
GENERATORS: Final[dict[str, tuple[Callable[..., Description], str, int, int]]] = {
    "star": (star, "star,HOSTS", 1, 1),
    "single": (star, "single,HOSTS", 1, 1),
    "linear": (linear, "linear,SWITCHES[,HOSTS PER SWITCH]", 1, 2),
    "tree": (tree, "tree,DEPTH[,FANOUT]", 1, 2),
    "dumbbell": (dumbbell, "dumbbell,PAIRS", 1, 1),
}

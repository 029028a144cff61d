"""Mininet's options of links (those of its TCLink) in our words."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from lab import spec
from lab.links.impairments import Impairments
from nodes.base.errors import InvalidArgument

#: What Mininet's links have for itself, and what changes nothing that a link of ours could do.
# fmt: off
_SILENT: Final = {
    "node1", "node2", "port1", "port2", "cls", "cls1", "cls2", "intf", "intfName1", "intfName2", "addr1", "addr2",
    "params1", "params2", "fast", "moveIntfFn", "port", "ip", "mac", "up", "ifconfig", "link", "name", "node", "gro",
    "txo", "rxo", "disable_gro", "use_hfsc", "use_tbf", "use_htb", "speedup",
}
# fmt: on
#: Options of Mininet's TCIntf that ask something of a link.
_TC: Final = {"bw", "delay", "jitter", "loss", "max_queue_size", "latency_ms", "enable_ecn", "enable_red", "use_tbf"}
_OWN: Final = {spec.key_of(field) for field in dataclasses.fields(Impairments)} - {"delay", "jitter", "loss"}

#: All that `impairments` looks at.
IMPAIRING: Final = _TC | _OWN


def impairments(options: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """What they ask of a link, as a topology file says it; and the names of those that have no counterpart.

    `bw` is in Mbit/s, `delay` and `jitter` as tc takes them (a bare number is in us), `loss` in percent,
    `max_queue_size` in packets; other words of our links (`duplicate`, `queue` ...) are as in a topology file.
    Raises InvalidArgument.
    """
    found: dict[str, Any] = {}
    unknown: list[str] = []
    for name, value in options.items():
        if value is None or name in _SILENT:
            continue
        if name == "bw":
            found["rate"] = f"{_number(name, value):f}mbit"
        elif name in ("delay", "jitter"):
            text = str(value).strip()
            found[name] = text if text[-1:].isalpha() else f"{_number(name, text):f}us"
        elif name == "loss":
            text = str(value).strip().removesuffix("%")
            found[name] = f"{_number(name, text):f}%"
        elif name == "max_queue_size":
            found["limit"] = int(_number(name, value))
        elif name in _OWN:
            found[name] = value
        elif value is not False:
            unknown.append(name)
    return found, unknown


def _number(name: str, value: object) -> Decimal:
    try:
        number = Decimal(str(value))
    except ArithmeticError:
        number = Decimal(-1)
    if number.is_nan() or not 0 <= number < 10**12:
        raise InvalidArgument(f"{name}: {value!r} is not a number that Mininet's links take", name)
    return number

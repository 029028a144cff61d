"""What containerlab runs on a node after it is up (`exec`), as far as a topology of ours can say it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Interface
from typing import Any, Final

from lab.topology.importers.report import Report

_ROUTES: Final = "tcplab gives routes by itself: fewest hops"
_NOT_RUN: Final = "nothing is run at start; `tcplab exec LAB NODE -- ...` runs it when the lab is up"
#: netem's words, and how many values each may have.
_NETEM: Final = {"delay": 2, "loss": 1, "duplicate": 1, "corrupt": 1, "reorder": 1, "rate": 1, "limit": 1}


@dataclass
class Done:
    """What the commands of one node come to: addresses by interface, parameters, impairments of what leaves by one."""

    addresses: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)
    impairments: dict[str, dict[str, str]] = field(default_factory=dict)


def understand(node: str, commands: Iterable[Any], report: Report) -> Done:
    """Read the commands of a node; what is not understood is reported."""
    done = Done()
    for command in _simple(commands):
        try:
            words = shlex.split(command)
        except ValueError:
            words = command.split()
        while words and words[0] == "sudo":
            del words[0]
        if not words or _address(words, done) or _sysctl(words, done) or _netem(words, done):
            continue
        if words[:2] == ["ip", "link"] and words[-1] == "up":
            continue  # they are
        if words[0] in ("route", "ip") and ("route" in words[:3] or words[1:2] == ["r"]):
            report.say(node, "exec of routes", _ROUTES)
            continue
        shown = " ".join(command.split())
        report.say(node, f"exec `{shown if len(shown) <= 70 else shown[:67] + '...'}`", _NOT_RUN)
    return done


def _simple(commands: Iterable[Any]) -> Iterator[str]:
    """Commands one by one, also those of `sh -c 'one && two'`."""
    for command in commands:
        text = str(command).strip()
        match = re.fullmatch(r"""(?:\S*/)?(?:ba|a|da)?sh\s+-l?c\s+(?:'([^']*)'|"([^"$`]*)")""", text, re.DOTALL)
        if match is None:
            yield text
            continue
        yield from (part.strip() for part in re.split(r"&&|;|\n", match[1] or match[2] or ""))


def _address(words: list[str], done: Done) -> bool:
    if words[0] == "ifconfig" and len(words) >= 3:
        device, address = words[1], words[2]
        if "netmask" in words[3:-1]:
            address += f"/{words[words.index('netmask') + 1]}"
    elif words[0] == "ip" and "dev" in words[2:-1]:
        rest = [word for word in words[1:] if not word.startswith("-")]
        if not rest[0].startswith("a") or not "address".startswith(rest[0]) or rest[1] not in ("add", "a", "replace"):
            return False
        device = words[words.index("dev") + 1]
        address = next((word for word in rest[2:] if "/" in word), "")
    else:
        return False
    try:
        interface = IPv4Interface(address)
    except ValueError:
        return False
    if "/" not in address or device in done.addresses:
        return False
    done.addresses[device] = str(interface)
    return True


def _sysctl(words: list[str], done: Done) -> bool:
    if words[0] != "sysctl":
        return False
    pairs = [word for word in words[1:] if not word.startswith("-")]
    if not pairs or not all("=" in pair for pair in pairs):
        return False
    for pair in pairs:
        key, _, value = pair.partition("=")
        done.parameters[key] = value
    return True


def _netem(words: list[str], done: Done) -> bool:
    if words[:2] != ["tc", "qdisc"] or "netem" not in words or "dev" not in words[:-1] or "parent" in words:
        return False
    device = words[words.index("dev") + 1]
    rest = words[words.index("netem") + 1 :]
    found: dict[str, str] = {}
    while rest:
        word = rest.pop(0)
        values: list[str] = []
        while rest and rest[0] not in _NETEM and len(values) < _NETEM.get(word, 0):
            values.append(rest.pop(0))
        if word not in _NETEM or not values:
            return False
        found[word] = values[0]
        if word == "delay" and len(values) == 2:
            found["jitter"] = values[1]
    done.impairments[device] = found
    return bool(found)

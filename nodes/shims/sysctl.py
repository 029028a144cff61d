"""sysctl: the knobs of the node's stack by the names they have on Linux."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from nodes.shims.ask import open_line, options, words
from nodes.shims.flags import fail

_USAGE = "[-a] [-n] [-w] NAME[=VALUE] ..."
_KNOWN = {"-a": "all", "-n": "bare", "-w": "write", "-q": "quiet", "-e": "ignore"}
_IPV4 = "net.ipv4."
_CORE = "net.core."


def run(name: str, argv: Sequence[str]) -> int:
    """0, or 1 when a knob is not there or does not take the value."""
    given = options(name, argv, _KNOWN, _USAGE)
    line = open_line(name)
    values = line.call("parameters")
    code = 0
    wanted = given.rest
    if given.all:
        wanted = sorted(_CORE + one if one == "somaxconn" else _IPV4 + one for one in values)
    for word in wanted:
        full, equals, value = word.partition("=")
        full = full.strip().replace("/", ".")
        short = full.removeprefix(_IPV4).removeprefix(_CORE)
        if short not in values:
            sys.stdout.flush()
            sys.stderr.write(f"{name}: cannot stat /proc/sys/{full.replace('.', '/')}: this stack has no such knob\n")
            code = 1
            continue
        if equals:
            try:
                line.call("set_parameters", values={short: _value(value.strip())})
            except OSError as error:
                fail(name, f"setting key {full!r}: {words(error)}")
            values = line.call("parameters")
        if not (given.quiet and equals):
            shown = _text(values[short])
            sys.stdout.write(f"{shown}\n" if given.bare else f"{full} = {shown}\n")
    return code


def _value(text: str) -> object:
    if text.lstrip("-").isdigit():
        return int(text)
    return text


def _text(value: object) -> str:
    return "\t".join(map(str, value)) if isinstance(value, list) else str(value)

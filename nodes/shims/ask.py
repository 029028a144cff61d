"""What the programs here have in common: a line to the agent, and its errors in words."""

from __future__ import annotations

import os
import sys
from typing import Any, NoReturn, Protocol

from nodes.shims.flags import Options, Wrong, fail, parse
from nodes.shims.line import Line, NotAtNode, UnknownName


class Asks(Protocol):
    """Whoever answers questions about a node: its agent, over a Line, or a controller."""

    def call(self, call: str, /, **arguments: Any) -> Any:
        """The answer."""


def options(name: str, argv: Any, known: dict[str, str], usage: str, stop_at_rest: bool = False) -> Options:
    """The command line, or the end of the program with what is wrong in it."""
    try:
        return parse(argv, known, stop_at_rest)
    except Wrong as error:
        wrong(name, error, usage)


def wrong(name: str, text: object, usage: str = "") -> NoReturn:
    """End the program: its command line cannot be done."""
    sys.stderr.write(f"{name}: {text}\n")
    fail(name, f"usage: {name} {usage}\n{name}: nodes of `kind: linux` have the kernel's {name}", 2)


def change(name: str, usage: str) -> NoReturn:
    """End the program: it would change the node."""
    wrong(name, "this node's addresses, routes and neighbours are the lab's: from here they are looked at only", usage)


def open_line(name: str) -> Line:
    """A line to the agent, or the end of the program."""
    try:
        return Line()
    except NotAtNode as error:
        fail(name, f"{error.strerror}: is this a node of a lab, and is the lab up?", 2)


def resolve(line: Line, name: str, host: str, given: Options) -> str:
    """The address of a host, of the family that -4 or -6 asks for, or the end of the program."""
    try:
        known: list[str] = line.call("resolve", name=host.partition("%")[0])
    except UnknownName as error:
        fail(name, f"{host}: Name or service not known ({words(error).partition(': ')[2]})", 2)
    wanted = [one for one in known if not (given.ipv4 and ":" in one) and not (given.ipv6 and ":" not in one)]
    if not wanted:
        fail(name, f"{host}: Address family for hostname not supported", 2)
    return wanted[0]


def words(error: OSError) -> str:
    """An error as programs say it."""
    return error.strerror or (os.strerror(error.errno) if error.errno else str(error))


def table(rows: list[list[str]], right: tuple[int, ...] = (), gap: str = " ") -> str:
    """Rows of equal columns, one line each; those in `right` are flush right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(gap.join(cells).rstrip() + "\n")
    return "".join(lines)

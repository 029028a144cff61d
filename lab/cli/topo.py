"""`--topo` and `--custom`: topologies of Mininet, as its command `mn` takes them."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

Topo = Annotated[
    str,
    typer.Option(
        "--topo",
        "--mininet-topo",
        metavar="TOPO",
        help="A topology of Mininet instead of a file, as mn takes it: tree,2,3, or a name in the --custom file.",
    ),
]
Custom = Annotated[
    str,
    typer.Option(
        metavar="FILE", help="Python file with Mininet topologies: its `topos`, or its classes by their names."
    ),
]


def described(topo: str, custom: str) -> dict[str, Any]:
    """What a topology file would say; on standard error, what has no counterpart here.

    Raises InvalidArgument, NotFound; Unsupported without Mininet.
    """
    from lab.backends.mininet.read_topo import read_topo

    description, report = read_topo(topo, custom)
    for line in report:
        print(f"tcplab: {line}", file=sys.stderr)
    return description

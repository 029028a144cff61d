"""`tcplab import`: topologies of other tools as files of ours."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from lab.cli.output import Json, print_json


def add_to(app: typer.Typer) -> None:
    app.command("import")(import_)


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE.clab.yml", help="A topology of containerlab.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Where to write it. Not given: standard output.")
    ] = None,
    ours: Annotated[
        bool,
        typer.Option(
            "--tcplab", help="Nodes of kind linux become hosts and routers with tcplab's TCP, for every backend."
        ),
    ] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Write over FILE if it is there.")] = False,
    as_json: Json = False,
) -> None:
    """Turn a topology of containerlab into one of tcplab, and report (on standard error) what has no counterpart, and
    why."""
    import yaml

    from lab.topology.importers.containerlab import import_containerlab
    from nodes.base.errors import AlreadyExists

    if out is not None and out.exists() and not replace:
        raise AlreadyExists(f"{out} is there; --replace writes over it")
    topology, report = import_containerlab(file, ours)
    if as_json:
        print_json({"topology": topology, "report": report.data()})
    else:
        for line in report.lines():
            print(f"tcplab: {line}", file=sys.stderr)
    text = yaml.safe_dump(topology, sort_keys=False, default_flow_style=None, width=120, allow_unicode=True)
    if out is not None:
        out.write_text(text, "utf-8")
        if not as_json:
            nodes, links = len(topology["nodes"]), len(topology["links"])
            print(f"{out}: {nodes} nodes, {links} links; {len(report.lines())} remarks")
    elif not as_json:
        print(text, end="")

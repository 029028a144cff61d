"""`tcplab validate`: check a file without running it."""

from __future__ import annotations

from typing import Annotated

import typer

from lab.cli.output import Json, print_json


def add_to(app: typer.Typer) -> None:
    app.command("validate")(validate)


def validate(
    file: Annotated[str, typer.Argument(help="A topology or an experiment: a file, or a shipped one's name.")],
    as_json: Json = False,
) -> None:
    """Check a topology or an experiment. Errors name file, line and field; exit code 2."""
    from lab.experiments import spec as experiments
    from lab.shipped import shipped_files
    from lab.spec import read_file
    from lab.topology.loader import load_topology

    shipped = shipped_files("topologies")
    path = shipped[file] if file in shipped else experiments.find(file)
    value = read_file(path)
    if isinstance(value.data, dict) and "topology" in value.data:
        for backend in experiments.backends_of(value):
            spec = experiments.load(read_file(path), (), backend)
        topology, kind, name = spec.topology, "experiment", spec.name
    else:
        topology = load_topology(path)
        kind, name = "topology", topology.name
    nodes, links = len(topology.nodes), len(topology.links)
    if as_json:
        print_json({"file": str(path), "kind": kind, "name": name, "nodes": nodes, "links": links})
    else:
        print(f"{path}: {kind} {name}, {nodes} nodes, {links} links: fine")

"""`tcplab topologies` and `tcplab experiments`: what comes with tcplab."""

from __future__ import annotations

from typing import Annotated

import typer

from lab.cli.output import Json, print_json, print_table

Name = Annotated[str | None, typer.Argument(help="Print this one's file, to start your own from.")]


def add_to(app: typer.Typer) -> None:
    app.command("topologies")(topologies)
    app.command("experiments")(experiments)


def topologies(name: Name = None, as_json: Json = False) -> None:
    """List the shipped topologies, or print one."""
    _catalogue("topologies", name, as_json)


def experiments(name: Name = None, as_json: Json = False) -> None:
    """List the shipped experiments, or print one."""
    _catalogue("experiments", name, as_json)


def _catalogue(kind: str, name: str | None, as_json: bool) -> None:
    from lab.shipped import shipped_files
    from lab.spec import read_file
    from nodes.base.errors import NotFound

    files = shipped_files(kind)
    if name is not None:
        if name not in files:
            raise NotFound(f"{name} is none of the shipped {kind}: {', '.join(files)}")
        print(files[name].read_text("utf-8"), end="")
        return
    rows = []
    for stem, path in files.items():
        mapping = read_file(path).data
        described = mapping.get("description") if isinstance(mapping, dict) else None
        rows.append((stem, " ".join(str(described.data).split()) if described is not None else ""))
    if as_json:
        print_json([{"name": stem, "description": words, "file": str(files[stem])} for stem, words in rows])
    else:
        print_table(rows)

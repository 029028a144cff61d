"""`tcplab packetdrill`: scripts of packetdrill's language against our stack."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lab.cli.output import Json, print_json


def add_to(app: typer.Typer) -> None:
    app.command("packetdrill")(packetdrill)


def packetdrill(
    files: Annotated[list[Path], typer.Argument(help="Scripts, or directories of *.pkt.", metavar="FILE...")],
    define: Annotated[
        list[str] | None,
        typer.Option("--define", "-D", help="A word of the scripts and what it stands for. Repeatable.", metavar="N=V"),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of our stack's random numbers.")] = 1,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show what the scripts print.")] = False,
    as_json: Json = False,
) -> None:
    """Run packetdrill scripts against our stack in virtual time. A script's Python is run as it is; its shell commands
    are not, but read. Exit code 1 when one fails, 2 when one is no script, 3 when one asks for what we have not."""
    from lab.packetdrill.runner import Outcome, run_file
    from nodes.base.errors import InvalidArgument

    definitions: dict[str, str] = {}
    for text in define or ():
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise InvalidArgument(f"--define: {text!r} is not allowed; NAME=VALUE is", "define")
        definitions[name] = value
    rows = []
    counts = dict.fromkeys(Outcome, 0)
    for path in _scripts(files):
        result = run_file(path, definitions, seed)
        counts[result.outcome] += 1
        where = f"{path}:{result.line}" if result.line else str(path)
        rows.append({"file": str(path), "outcome": result.outcome.value, "line": result.line, "reason": result.text})
        if not as_json:
            print(f"{result.outcome.value}: {where}" + (f": {result.text}" if result.text else ""))
            for line in result.printed if verbose else ():
                print(f"  {line}")
    if as_json:
        print_json(rows)
    elif len(rows) > 1:
        print(", ".join(f"{count} {outcome.value}" for outcome, count in counts.items() if count))
    for outcome, code in ((Outcome.INVALID, 2), (Outcome.FAILED, 1), (Outcome.UNSUPPORTED, 3)):
        if counts[outcome]:
            raise typer.Exit(code)


def _scripts(files: list[Path]) -> list[Path]:
    """The files, and those in directories, in order."""
    found: list[Path] = []
    for path in files:
        found.extend(sorted(path.rglob("*.pkt")) if path.is_dir() else [path])
    return found

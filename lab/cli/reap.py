"""`tcplab reap`: removes what controllers and labs that were killed have left."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from lab.cli.output import Json, print_json, print_table


def add_to(app: typer.Typer) -> None:
    app.command("reap")(reap)


def reap(
    state: Annotated[
        Path | None,
        typer.Option(help="The journal to go by, as of `serve`. Not given: the default one.", envvar="TCPLAB_STATE"),
    ] = None,
    socket: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="A controller's socket, as of `serve`. Not given: the default one."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    as_json: Json = False,
) -> None:
    """Remove what controllers and labs that were killed have left: labs that nobody holds, sockets, directories.

    It goes by the journal, never by names of processes; what a living controller holds stays.
    """
    from lab.server.journal import default_state
    from lab.server.reap import reap as reap_here
    from tcplab.client.address import default_socket

    found = reap_here(state or default_state(), socket or default_socket(), dry_run)
    if as_json:
        print_json([asdict(one) for one in found])
        return
    if not found:
        print("Nothing of ours was left.")
        return
    removed = "would remove" if dry_run else "removed"
    print_table(
        (
            f"{'stays' if one.stays else removed}",
            f"{one.what} {one.name}{f' (process {one.pid})' if one.pid else ''}: {one.why}  {one.path}",
        )
        for one in found
    )

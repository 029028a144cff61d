"""`tcplab agent`: what runs in the container of a node."""

from __future__ import annotations

from typing import Annotated

import typer

from lab.cli.output import Json, print_json


def add_to(app: typer.Typer) -> None:
    app.command("agent")(agent)


def agent(
    check: Annotated[
        bool, typer.Option("--check", help="Only ask the agent that runs here how it is: exit code 0 when it is up.")
    ] = False,
    networked: Annotated[
        bool, typer.Option("--networked", help="With --check: exit code 0 only when it is a node of a lab.")
    ] = False,
    socket: Annotated[
        str,
        typer.Option(
            metavar="PATH|@NAME", help="Where it listens for a lab: a file, or a name in this network namespace."
        ),
    ] = "@tcplab-agent",
    as_json: Json = False,
) -> None:
    """Be a node's agent, as in the containers of backend docker: wait for a lab that makes a node of this network
    namespace, be it, and wait for the next. Needs CAP_NET_RAW and Linux.
    """
    from lab.backends.docker.reach import status

    if not check:
        from lab.backends.docker.agent import Agent

        Agent(socket).run()
        return
    found = status(socket)
    if as_json:
        print_json(found or {})
    elif found is None:
        print("no agent answers here")
    elif found["lab"]:
        print(f"node {found['node']} of lab {found['lab']}")
    else:
        print("waiting for a lab")
    if found is None or (networked and not found["lab"]):
        raise typer.Exit(1)

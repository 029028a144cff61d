"""`tcplab shell`: a lab's command line, in Mininet's words, over the API."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from lab.cli.labs import Address


def add_to(app: typer.Typer) -> None:
    # What follows the lab's name is the shell's, also what looks like an option of ours.
    app.command("shell", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})(shell)


def shell(
    lab: Annotated[str, typer.Argument(help="Name of a lab.")],
    command: Annotated[
        list[str] | None, typer.Argument(metavar="[COMMAND...]", help="Do only this: `tcplab shell LAB pingall`.")
    ] = None,
    source: Annotated[
        Path | None, typer.Option("--source", "-s", metavar="FILE", help="Do what is in the file, and no more.")
    ] = None,
    server: Address = None,
) -> None:
    """The command line of a lab, with Mininet's words: nodes, net, pingall, iperf, link h1 s1 down, h1 ping h2 ...

    Without a terminal it does what standard input says, and its exit code is 3 when something of it could not be done.
    """
    from lab.cli.remote import controller_at
    from lab.cli.shell.history import History
    from lab.cli.shell.words import Shell
    from nodes.base.errors import InvalidArgument

    if command and source:
        raise InvalidArgument("--source: COMMAND is given, too; give one of them", "source")
    with controller_at(server) as controller:
        line = Shell(controller.lab(lab))
        try:
            if command:
                line.do(" ".join(command))
            elif source:
                line.do_source(str(source))
            elif sys.stdin.isatty():
                with History(line):
                    line.interact()
            else:
                line.read(sys.stdin)
        finally:
            line.close()
    if line.failed and (command or source or not sys.stdin.isatty()):
        raise typer.Exit(3)

"""`tcplab show` and `tcplab plot`: look at a run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from lab.cli.output import Json, print_json

Run = Annotated[Path, typer.Argument(help="A run's directory, or a spool.", metavar="RUN")]
Connections = Annotated[
    list[int] | None,
    typer.Option("--connection", "-c", min=1, help="Only this connection, by the number shown. Repeatable."),
]


def add_to(app: typer.Typer) -> None:
    app.command("show")(show)
    app.command("plot")(plot)


def show(
    run: Run,
    connection: Connections = None,
    raw: Annotated[bool, typer.Option("--raw", help="Sequence numbers as on the wire.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Leave no segment out.")] = False,
    as_json: Json = False,
) -> None:
    """Print a run: both ends' state paths, the ladder with both clocks, resets and retransmissions with reasons."""
    if as_json:
        import dataclasses

        from lab.trace.analysis import analyse
        from lab.trace.bundle import spool_of

        analysis = analyse(spool_of(run))
        chosen = [one for one in analysis.conversations if not connection or one.number in connection]
        print_json(
            {
                "connections": [dataclasses.asdict(one) for one in chosen],
                "resets": [dataclasses.asdict(one) for one in analysis.resets],
                "retransmissions": [dataclasses.asdict(one) for one in analysis.retransmissions],
            }
        )
        return
    from lab.engine.fidelity import words
    from lab.trace.bundle import Bundle
    from lab.trace.show import show as show_run

    show_run(run, sys.stdout, connections=connection or (), raw=raw, full=full)
    if run.is_dir():
        for said in words(Bundle.open(run).manifest.get("fidelity", {})):
            print(said)


def plot(
    run: Run,
    connection: Connections = None,
    out: Annotated[Path | None, typer.Option(help="Directory for the pictures. Not given: plots/ in the run.")] = None,
    as_json: Json = False,
) -> None:
    """Draw congestion window, round-trip time and time-sequence graph of a run as PNG files."""
    from lab.trace.bundle import Bundle
    from lab.trace.plot import plot as plot_run

    directory = out or (Bundle.open(run).plots if run.is_dir() else run.parent / "plots")
    pictures = [str(path) for path in plot_run(run, directory, connections=connection or ())]
    if as_json:
        print_json({"pictures": pictures})
    else:
        print("\n".join(pictures))

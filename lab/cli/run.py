"""`tcplab run`: an experiment, here or on a server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lab.cli.controls import Controls
from lab.cli.output import Json, print_json
from nodes.base.errors import AlreadyExists


def add_to(app: typer.Typer) -> None:
    app.command("run")(run)
    app.command("rerun")(rerun)


def run(
    experiment: Annotated[
        str, typer.Argument(metavar="FILE|NAME", help="A file, or the name of a shipped experiment.")
    ],
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of all randomness, instead of the file's.")] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            envvar="TCPLAB_RUN_SET",
            help="Change a field of the file, e.g. links.h1-h2.loss=2%. Repeatable.",
        ),
    ] = None,
    backend: Annotated[
        str,
        typer.Option(
            envvar="TCPLAB_BACKEND",
            help="sim (virtual time) or netns (network namespaces, real time). Not given: the file's first.",
        ),
    ] = "",
    out: Annotated[Path | None, typer.Option(help="Directory of the run. Not given: <runs>/<name>-<seed>-<n>.")] = None,
    runs: Annotated[Path, typer.Option(help="Where runs are kept.", envvar="TCPLAB_RUNS")] = Path("runs"),
    replace: Annotated[bool, typer.Option("--replace", help="Remove the run that is in --out first.")] = False,
    export: Annotated[
        bool, typer.Option("--export/--no-export", help="Write pcapng files, tables and verdicts beside the trace.")
    ] = True,
    control: Controls = None,
    server: Annotated[
        str | None,
        typer.Option(
            envvar="TCPLAB_ADDRESS",
            metavar="ADDRESS",
            help="Run it on this server instead of here; --out then copies its files here.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Run an experiment and check what it expects.

    Exit code 1 when an expectation fails, 2 when the input is wrong.
    """
    from lab.experiments import spec as experiments
    from lab.spec import read_file
    from lab.topology.sources import Sources, listed_beside, read_files

    path = experiments.find(experiment)
    value = read_file(path)
    sources = Sources(read_files(control or []))
    listed = listed_beside(value)
    spec = experiments.load(value, changes or (), backend, sources)
    text = experiments.text_with(path.read_text("utf-8-sig"), changes or ())
    if out is not None and replace:
        remove_run(out)
    if server is not None:
        from lab.cli.remote import run_on_server

        if out is not None and out.exists() and any(out.iterdir()):
            raise AlreadyExists(f"{out}: exists and is not empty; give another directory, or --replace the run in it")
        sent = [*listed, *(control or [])]
        ok = run_on_server(server, text, seed, out, as_json, backend, sent)
    else:
        from lab.experiments.runner import run as run_here

        directory = out or next_directory(runs, spec.name, spec.seed if seed is None else seed)
        outcome = run_here(spec, text, directory, seed, export, backend)
        ok = outcome.ok
        if as_json:
            print_json(outcome.as_dict())
        else:
            print("\n".join(outcome.lines()))
    if not ok:
        raise typer.Exit(1)


def rerun(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="A run's directory, of an experiment or of a server's lab.")
    ],
    out: Annotated[Path | None, typer.Option(help="Directory of the new run. Not given: RUN-again-<n>.")] = None,
    as_json: Json = False,
) -> None:
    """Make the calls of a run again, from its trace, and compare: the same bytes must come out.

    Exit code 1 when they differ, which is a bug.
    """
    from lab.backends.session import rerun as rerun_here
    from lab.trace.bundle import Bundle

    directory = out or next_directory(run.parent, run.name, "again")
    new = rerun_here(run, directory)
    new.export()
    equal = new.spool.read_bytes() == Bundle.open(run).spool.read_bytes()
    if as_json:
        print_json({"equal": equal, "directory": str(directory)})
    else:
        print("Equal, byte for byte." if equal else "NOT equal.")
        print(f"Run: {directory}")
    if not equal:
        raise typer.Exit(1)


def next_directory(runs: Path, name: str, seed: int | str) -> Path:
    """`<runs>/<name>-<seed>-<n>` with the first n that is free."""
    number = 1
    while (directory := runs / f"{name}-{seed}-{number}").exists():
        number += 1
    return directory


def remove_run(directory: Path) -> None:
    """Remove a run; whatever is not a run stays. Raises InvalidArgument."""
    import shutil

    from lab.trace.bundle import Bundle

    if directory.exists() and any(directory.iterdir()):
        Bundle.open(directory)
        shutil.rmtree(directory)

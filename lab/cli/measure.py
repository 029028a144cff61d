"""`tcplab measure`: how well this machine carries a link as it is asked, measured on the wire."""

from __future__ import annotations

import platform
import sys
import tempfile
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from lab.cli.output import Json, print_json

#: netem keeps frames in order only where there is a rate; this one delays none.
KEEPS_ORDER_BPS: Final = 100_000_000_000


class Carrier(StrEnum):
    """Engines that impair a link (docs/fidelity.md)."""

    LINK = "link"
    NETEM = "netem"


def add_to(app: typer.Typer) -> None:
    app.command("measure")(measure)


def measure(
    delay: Annotated[str, typer.Option(help="Delay of the link.")] = "20ms",
    jitter: Annotated[str, typer.Option(help="Its variation, either way.")] = "5ms",
    loss: Annotated[str, typer.Option(help="Chance of a loss.")] = "1%",
    gemodel_p: Annotated[str, typer.Option(help="Gilbert-Elliott: chance to begin a burst of losses.")] = "1%",
    gemodel_r: Annotated[str, typer.Option(help="Gilbert-Elliott: chance to end it.")] = "20%",
    rate: Annotated[str, typer.Option(help="Rate of the link.")] = "10mbit",
    engine: Annotated[Carrier, typer.Option(help="Who carries the link.")] = Carrier.LINK,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the link's chances.")] = 1,
    as_json: Json = False,
) -> None:
    """Measure delay, jitter, losses and rate of a link in real time, by the time stamps that the kernel gives tcpdump
    on both ends. Takes half a minute. Exit code 1: something is not as asked."""
    from lab import spec
    from lab.backends.netns.lab import NetnsLab
    from lab.engine import measure as measuring
    from lab.engine.fidelity import words
    from lab.links.impairments import Impairments
    from lab.topology.loader import topology_from_mapping
    from nodes.base.events import LEVEL_OFF
    from nodes.base.processes import owned_name

    given = {"delay": delay, "jitter": jitter, "loss": loss, "gemodel_p": gemodel_p, "gemodel_r": gemodel_r}
    asked = spec.from_mapping(Impairments, {**given, "rate": rate})
    measuring.check(asked)
    jitter_rate_bps = KEEPS_ORDER_BPS if engine is Carrier.NETEM else 0
    tell = _say_nothing if as_json else _say
    links = [{"endpoints": "h1-h2", "engine": engine.value}]
    topology = topology_from_mapping({"nodes": {"h1": "host", "h2": "host"}, "links": links})
    with tempfile.TemporaryDirectory(prefix=f"{owned_name()}-") as directory:
        lab = NetnsLab("measure", topology, seed, Path(directory) / "spool", LEVEL_OFF, capture=False)
        try:
            measurement = measuring.Measurement(lab, "h1-h2", asked, tell, jitter_rate_bps)
            try:
                rows = measurement.rows()
            finally:
                measurement.close()
        finally:
            lab.close_lab()
        fidelity: Any = lab.facts().get("fidelity", {})
    fine = all(row.fine for row in rows)
    machine = f"Linux {platform.release()}, {fidelity.get('cores', '?')} cores, Python {platform.python_version()}"
    if as_json:
        print_json({"fine": fine, "machine": machine, "rows": [asdict(row) for row in rows], "fidelity": fidelity})
    else:
        _print(rows)
        print(f"\n{machine}")
        for said in words(fidelity):
            print(said)
    if not fine:
        raise typer.Exit(1)


def _print(rows: list[Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for head in ("", "asked", "on the wire", "bound", ""):
        table.add_column(head)
    for row in rows:
        table.add_row(row.what, row.asked, row.found, row.bound, "fine" if row.fine else "NOT as asked")
    Console(highlight=False, markup=False, emoji=False).print(table)


def _say(phase: str) -> None:
    print(f"measuring {phase} ...", file=sys.stderr)


def _say_nothing(phase: str) -> None:
    """Whoever reads JSON reads nothing else."""

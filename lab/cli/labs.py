"""`tcplab up`, `tcplab labs`, `tcplab down`: the labs of a server."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from lab.cli.controls import Controls
from lab.cli.output import Json, print_json, print_table
from lab.cli.topo import Custom, Topo, described
from nodes.base.errors import InvalidArgument

Address = Annotated[
    str | None,
    typer.Option(
        "--server",
        envvar="TCPLAB_ADDRESS",
        metavar="ADDRESS",
        help="The server: unix:/path or host:port (TCPLAB_TOKEN, TCPLAB_CA: its token and its certificate's signer). "
        "Not given: the one on this machine's default socket.",
    ),
]


def add_to(app: typer.Typer) -> None:
    app.command("up")(up)
    app.command("labs")(list_labs)
    app.command("down")(down)


def up(
    topology: Annotated[
        str,
        typer.Argument(metavar="FILE|NAME", help="A YAML file, a shipped topology, or a generator such as dumbbell,3."),
    ] = "",
    topo: Topo = "",
    custom: Custom = "",
    name: Annotated[str, typer.Option(help="What to call it. Not given: as the file, or the topology.")] = "",
    backend: Annotated[
        str, typer.Option(envvar="TCPLAB_BACKEND", help="sim (virtual time), or in real time netns, mininet.")
    ] = "sim",
    seed: Annotated[int, typer.Option(min=0, help="Seed of all randomness.")] = 1,
    level: Annotated[
        str, typer.Option(help="What the trace records: states, congestion, segments or all.")
    ] = "segments",
    capture: Annotated[bool, typer.Option("--capture/--no-capture", help="Keep every frame.")] = True,
    control: Controls = None,
    stay: Annotated[
        bool, typer.Option("--stay", help="Stay until interrupted, saying what becomes of it; then delete it.")
    ] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Delete the lab of that name first.")] = False,
    server: Address = None,
    as_json: Json = False,
) -> None:
    """Make a lab on a server, for commands and clients: `tcplab up pair --backend netns`, `tcplab up --topo tree,2`."""
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

    from lab.cli.remote import controller_at
    from lab.cli.stay import stay_until_interrupted
    from lab.topology.sources import listed_beside
    from lab.yamltext import read_file

    if bool(topology) == bool(topo):
        raise InvalidArgument("topology: give one, FILE or NAME, or --topo TOPO", "topology")
    source: str | Path | Mapping[str, Any] = topology
    controls = control or []
    if topology.endswith((".yaml", ".yml")):
        source = Path(topology)
        controls = [*listed_beside(read_file(source)), *controls]
    if topo:
        source = described(topo, custom)
    with controller_at(server) as controller:
        name = name or _name_of(topology or topo)
        if replace and name in [one.name for one in controller.labs()]:
            controller.lab(name).delete()
        lab = controller.create_lab(
            source,
            seed=seed,
            name=name,
            level=level,
            capture=capture,
            backend=backend,
            congestion_controls=controls,
        )
        made = lab.info()
        if as_json:
            print_json({"name": lab.name, "backend": made.backend, "directory": made.directory})
        else:
            print(
                f"{lab.name}: {made.topology or topology or topo} on {made.backend}, run in {made.directory}",
                flush=True,
            )
        if stay:
            stay_until_interrupted(lab)


def _name_of(topology: str) -> str:
    """`my-lab` of `dir/My lab.yaml`, `dumbbell` of `dumbbell,3`; "", and the server chooses, where nothing is left."""
    from pathlib import PurePath

    stem = PurePath(topology).name.partition(".")[0].partition(",")[0].lower()
    return re.sub(r"[^a-z0-9]+", "-", stem).strip("-").lstrip("0123456789-")


def list_labs(
    names: Annotated[list[str] | None, typer.Argument(metavar="[LAB...]", help="Only these.")] = None,
    ready: Annotated[
        bool, typer.Option("--ready", help="Exit with 3 unless all of them can be used, with all their nodes.")
    ] = False,
    server: Address = None,
    as_json: Json = False,
) -> None:
    """List the labs of a server."""
    from lab.cli.remote import controller_at
    from tcplab.v1 import lab_pb2

    with controller_at(server) as controller:
        labs = [one.info() for one in ([controller.lab(name) for name in names] if names else controller.labs())]
    states = {one.name: lab_pb2.Lab.State.Name(one.state).removeprefix("STATE_") for one in labs}
    if as_json:
        print_json(
            [
                {
                    "name": one.name.rpartition("/")[2],
                    "state": states[one.name],
                    "backend": one.backend,
                    "topology": one.topology,
                    "seed": one.seed,
                    "time_ns": one.time_ns,
                    "failure": one.failure,
                    "failed_nodes": dict(one.failed_nodes),
                    "directory": one.directory,
                }
                for one in labs
            ]
        )
    elif not labs:
        print("No labs.")
    else:
        print_table(
            (
                one.name.rpartition("/")[2],
                f"{states[one.name]}  {one.backend}, {one.topology or 'own topology'}, "
                f"seed {one.seed}, {one.time_ns / 1e9:g} s  "
                + one.failure
                + "".join(f"  node {node}: {why}" for node, why in one.failed_nodes.items()),
            )
            for one in labs
        )
    if ready and any(states[one.name] != "READY" or one.failed_nodes for one in labs):
        raise typer.Exit(3)


def down(
    names: Annotated[list[str], typer.Argument(metavar="LAB...", help="Names of labs.")],
    server: Address = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")] = False,
    as_json: Json = False,
) -> None:
    """Delete labs of a server; their runs' files stay."""
    from lab.cli.remote import controller_at

    with controller_at(server) as controller:
        labs = [controller.lab(name) for name in names]  # all are there, or none is deleted
        if not dry_run:
            for one in labs:
                one.delete()
    if as_json:
        print_json({"deleted": [] if dry_run else names, "would_delete": names if dry_run else []})
    else:
        for name in names:
            print(f"{'would delete' if dry_run else 'deleted'} {name}")

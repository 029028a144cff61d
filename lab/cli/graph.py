"""`tcplab graph`: a topology, or a running lab, as a picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from lab.cli.labs import Address

if TYPE_CHECKING:
    from lab.topology.drawing.drawing import Drawing

_FORMATS: Final = ("svg", "mermaid", "dot")
_SUFFIXES: Final = {
    ".svg": "svg",
    ".mmd": "mermaid",
    ".mermaid": "mermaid",
    ".md": "mermaid",
    ".dot": "dot",
    ".gv": "dot",
}


def add_to(app: typer.Typer) -> None:
    app.command("graph")(graph)


def graph(
    topology: Annotated[
        str,
        typer.Argument(
            metavar="TOPOLOGY",
            help="A YAML file, a shipped topology, a generator such as tree,2,3; or with --lab a lab.",
        ),
    ],
    lab: Annotated[
        bool, typer.Option("--lab", help="It is a running lab's name: its links are drawn as they are now.")
    ] = False,
    format_: Annotated[
        str, typer.Option("--format", "-f", help="svg, mermaid or dot. Not given: as FILE ends, or svg.")
    ] = "",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Where to write it. Not given: standard output.")
    ] = None,
    server: Address = None,
) -> None:
    """Draw a topology with its addresses and what its links do: `tcplab graph dumbbell -o dumbbell.svg`."""
    from lab.topology.drawing.dot import dot
    from lab.topology.drawing.drawing import drawing
    from lab.topology.drawing.mermaid import mermaid
    from lab.topology.drawing.svg import svg
    from lab.topology.loader import load_topology
    from nodes.base.errors import InvalidArgument

    writers: dict[str, Callable[[Drawing], str]] = {"svg": svg, "mermaid": mermaid, "dot": dot}
    chosen = format_ or _SUFFIXES.get(out.suffix.lower() if out is not None else "", "svg")
    if chosen not in writers:
        raise InvalidArgument(f"--format: {chosen} is not one of {', '.join(_FORMATS)}", "format")
    text = writers[chosen](_running(topology, server) if lab else drawing(load_topology(topology)))
    if out is None:
        print(text, end="")
    else:
        out.write_text(text, "utf-8")


def _running(name: str, server: str | None) -> Drawing:
    from lab.cli.remote import controller_at
    from lab.cli.shell.network import Network, impairments
    from lab.topology.drawing.drawing import Drawing, Edge, Shape, address_lines, link_words

    with controller_at(server) as controller:
        lab = controller.lab(name)
        network = Network(lab)
        numbers = {node: number for number, node in enumerate(network.kinds)}
        shapes = []
        for node, kind in network.kinds.items():
            info = network.infos.get(node)
            interfaces = info.interfaces if info is not None else ()
            found = [(one.name, f"{one.address}/{one.prefix_length}" if one.address else "") for one in interfaces]
            shapes.append(Shape(node, kind, address_lines(found)))
        edges = []
        for wire in network.wires:
            link = lab.link(wire.name).info()
            a, b = wire.a.node, wire.b.node
            words = link_words(a, b, impairments(link.forward), impairments(link.backward), link.mtu)
            edges.append(Edge(numbers[a], numbers[b], wire.a.name, wire.b.name, words, link.up))
        return Drawing(lab.name, tuple(shapes), tuple(edges))

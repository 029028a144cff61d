"""A drawing in the DOT language of Graphviz: `tcplab graph dumbbell --format dot | dot -Tpdf`."""

from __future__ import annotations

from typing import Final

from lab.topology.drawing.drawing import Drawing

_SHAPES: Final = {"host": "box", "linux": "box", "router": "ellipse", "switch": "box3d"}
_STYLES: Final = {"host": "rounded", "linux": "rounded,bold"}


def dot(drawn: Drawing) -> str:
    """An undirected graph."""
    lines = [
        f"graph {_quoted(drawn.name or 'topology')} {{",
        '  graph [overlap=false, splines=true, rankdir=LR, nodesep=0.4, ranksep=1.2, fontname="sans-serif"];',
        '  node [fontname="sans-serif", fontsize=11];',
        '  edge [fontname="sans-serif", fontsize=9, labeldistance=2];',
    ]
    for shape in drawn.shapes:
        label = "\n".join((shape.name, *shape.lines))
        kind = f"shape={_SHAPES.get(shape.kind, 'box')}, style={_quoted(_STYLES.get(shape.kind, 'solid'))}"
        lines.append(f"  {_quoted(shape.name)} [label={_quoted(label)}, {kind}];")
    for edge in drawn.edges:
        ends = f"{_quoted(drawn.shapes[edge.a].name)} -- {_quoted(drawn.shapes[edge.b].name)}"
        label = "\n".join((*edge.words, *(() if edge.up else ("down",))))
        ports = f"taillabel={_quoted(edge.a_port)}, headlabel={_quoted(edge.b_port)}"
        style = "" if edge.up else ', style="dashed", color="#b3261e"'
        lines.append(f"  {ends} [label={_quoted(label)}, {ports}{style}];")
    return "\n".join((*lines, "}")) + "\n"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'

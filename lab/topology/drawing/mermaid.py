"""A drawing as a Mermaid flowchart, as Markdown of forges and notebooks shows it."""

from __future__ import annotations

from typing import Final

from lab.topology.drawing.drawing import Drawing

_BRACKETS: Final = {"host": ("(", ")"), "linux": ("[", "]"), "router": ("((", "))"), "switch": ("[[", "]]")}


def mermaid(drawn: Drawing) -> str:
    """A flowchart from left to right. Nodes are n0, n1 ..., as names may be words of Mermaid's."""
    lines = ["flowchart LR"]
    for number, shape in enumerate(drawn.shapes):
        left, right = _BRACKETS.get(shape.kind, ("[", "]"))
        lines.append(f"    n{number}{left}{_text((shape.name, *shape.lines))}{right}")
    for edge in drawn.edges:
        words = (*edge.words, *(() if edge.up else ("down",)))
        line = "---" if edge.up else "-.-"
        label = f"|{_text(words)}|" if words else ""
        lines.append(f"    n{edge.a} {line}{label} n{edge.b}")
    return "\n".join(lines) + "\n"


def _text(lines: tuple[str, ...]) -> str:
    escaped = (
        line.replace("#", "#35;").replace('"', "#quot;").replace("<", "#lt;").replace(">", "#gt;") for line in lines
    )
    return f'"{"<br/>".join(escaped)}"'

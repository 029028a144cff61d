"""A drawing as SVG. Whole numbers only: the same topology is the same file everywhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import count
from math import isqrt
from typing import Final
from xml.sax.saxutils import escape

from lab.topology.drawing.drawing import Drawing, Edge, Shape
from lab.topology.drawing.layout import Pitch, Place, layout

#: Widths of letters, in tenths of a pixel: of names, and of the fixed-width lines.
_NAME: Final = 88
_SMALL: Final = 62
_LINE: Final = 14
_MARGIN: Final = 40
_ICON: Final = 22
#: Lines about a link; more are joined.
_LINES: Final = 3
#: How far a label may move along its line for room, in the order that is tried.
_STEPS: Final = (0, 8, 16, 24, -8, 32, -16, 40, -24, 48, 56, 64, -32, 80, -48)

_STYLE: Final = """
  text { font: 11px ui-monospace, Menlo, Consolas, monospace; fill: #33404d; }
  .name { font: bold 14px system-ui, "Segoe UI", Helvetica, Arial, sans-serif; fill: #16202b; }
  .title { font: bold 18px system-ui, "Segoe UI", Helvetica, Arial, sans-serif; fill: #16202b; }
  .port, .words { text-anchor: middle; }
  .behind { fill: #ffffff; fill-opacity: 0.9; }
  .port { fill: #6b7885; font-size: 10px; }
  .words { fill: #0b5cad; }
  .link { fill: none; stroke: #8a97a5; stroke-width: 2; }
  .down { stroke: #b3261e; stroke-dasharray: 6 5; }
  .words.down { fill: #b3261e; stroke: none; }
  .box { stroke-width: 1.5; }
  .icon { fill: none; stroke-width: 1.6; stroke-linecap: round; stroke-linejoin: round; }
  .host .box { fill: #eaf3fd; stroke: #2f7dd1; } .host .icon { stroke: #2f7dd1; }
  .linux .box { fill: #fdf5e2; stroke: #b98209; } .linux .icon { stroke: #b98209; }
  .router .box { fill: #e9f7ef; stroke: #1f9254; } .router .icon { stroke: #1f9254; }
  .switch .box { fill: #f1effa; stroke: #6a55c2; } .switch .icon { stroke: #6a55c2; }
"""
#: Pictures of 18 by 18: a screen, a prompt on a screen, crossed arrows in a circle, arrows to and fro.
_SCREEN: Final = '<rect x="1" y="2" width="16" height="11" rx="2"/><path d="M6 17h6M9 13v4"/>'
_ICONS: Final = {
    "host": _SCREEN,
    "linux": '<rect x="1" y="2" width="16" height="14" rx="2"/><path d="M4 6l3 3-3 3M9 12h4"/>',
    "router": '<circle cx="9" cy="9" r="8"/><path d="M9 2v4m-2-2l2 2 2-2M9 16v-4m-2 2l2-2 2 2"/>'
    '<path d="M6 9H2m2-2L2 9l2 2M12 9h4m-2-2l2 2-2 2"/>',
    "switch": '<rect x="1" y="1" width="16" height="16" rx="2"/><path d="M4 6h10m-3-2l3 2-3 2M14 12H4m3-2l-3 2 3 2"/>',
}


def svg(drawn: Drawing) -> str:
    """An SVG document."""
    sizes = [_size(shape) for shape in drawn.shapes]
    words = [_words(edge) for edge in drawn.edges]
    places = layout(len(sizes), [(edge.a, edge.b) for edge in drawn.edges], _pitch(sizes, words, drawn))
    left = min((place.x - width // 2 for place, (width, _) in zip(places, sizes, strict=True)), default=0) - _MARGIN
    right = max((place.x + width // 2 for place, (width, _) in zip(places, sizes, strict=True)), default=0) + _MARGIN
    top = min((place.y - height // 2 for place, (_, height) in zip(places, sizes, strict=True)), default=0) - _MARGIN
    bottom = max((place.y + height // 2 for place, (_, height) in zip(places, sizes, strict=True)), default=0) + _MARGIN
    title = escape(drawn.name)
    if title:
        top -= 2 * _LINE
        right = max(right, left + 2 * _MARGIN + len(drawn.name) * 11)
    bends = _bends(drawn, places, sizes)
    bottom += max((abs(bend) for bend in bends if bend), default=0) // 2
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{left} {top} {right - left} {bottom - top}" '
        f'width="{right - left}" height="{bottom - top}" role="img">',
        f"<title>{title or 'topology'}</title>",
        f"<style>{_STYLE}</style>",
        f'<rect x="{left}" y="{top}" width="{right - left}" height="{bottom - top}" fill="#ffffff"/>',
    ]
    if title:
        parts.append(f'<text class="title" x="{left + 24}" y="{top + 36}">{title}</text>')
    routes = [_Route(edge, bend, places, sizes) for edge, bend in zip(drawn.edges, bends, strict=True)]
    labels = _Labels(places, sizes)
    parts.extend(route.line for route in routes)
    parts.extend(_shape(*one) for one in zip(drawn.shapes, places, sizes, strict=True))
    for route in routes:
        parts.extend(labels.along(*end, "port") for end in route.ports())
    for route, said in zip(routes, words, strict=True):
        if said:
            parts.append(labels.along(*route.middle(), said, "words" if route.edge.up else "words down"))
    return "\n".join((*parts, "</svg>")) + "\n"


def _size(shape: Shape) -> tuple[int, int]:
    name = len(shape.name) * _NAME // 10 + _ICON + 30
    lines = max((len(line) * _SMALL // 10 + 24 for line in shape.lines), default=0)
    return max(name, lines, 80), 34 + _LINE * len(shape.lines) + (6 if shape.lines else 0)


def _words(edge: Edge) -> list[str]:
    words = [*edge.words, *(() if edge.up else ("down",))]
    each = -(-len(words) // _LINES) or 1
    return [", ".join(words[at : at + each]) for at in range(0, len(words), each)]


def _pitch(sizes: Sequence[tuple[int, int]], words: Iterable[Sequence[str]], drawn: Drawing) -> Pitch:
    width = max((width for width, _ in sizes), default=80)
    height = max((height for _, height in sizes), default=40)
    label = max((len(line) * _SMALL // 10 for lines in words for line in lines), default=0)
    port = max((len(name) * _SMALL // 10 for edge in drawn.edges for name in (edge.a_port, edge.b_port)), default=0)
    return Pitch(
        along=width + label + 2 * port + 60,
        across=max(height, _LINE * _LINES) + 34,
        within=max(width, label + 10) + 30,
        between=height + _LINE * _LINES + 100,
    )


def _bends(drawn: Drawing, places: Sequence[Place], sizes: Sequence[tuple[int, int]]) -> list[int]:
    """How far each link is bent aside: links between the same two nodes, and those of one row, which would run through
    other nodes and have no room for words."""
    seen: dict[tuple[int, int], count[int]] = {}
    keys = [(min(edge.a, edge.b), max(edge.a, edge.b)) for edge in drawn.edges]
    bends = []
    for edge, key in zip(drawn.edges, keys, strict=True):
        number = next(seen.setdefault(key, count()))
        bend = (2 * number - keys.count(key) + 1) * 45
        a, b = places[edge.a], places[edge.b]
        if a.row >= 0 and a.row == b.row:
            aside = max(sizes[edge.a][1], sizes[edge.b][1]) + 6 * _LINE + abs(a.x - b.x) // 8
            bend = (aside if a.x < b.x else -aside) + 30 * number
        elif edge.a > edge.b:
            bend = -bend
        bends.append(bend)
    return bends


#: A label's middle, which way it may move when there is no room, and its lines.
_Spot = tuple[int, int, int, int]


class _Route:
    """The line of a link, and where its labels go."""

    def __init__(self, edge: Edge, bend: int, places: Sequence[Place], sizes: Sequence[tuple[int, int]]) -> None:
        self.edge = edge
        self._a, self._b = places[edge.a], places[edge.b]
        self._sizes = sizes[edge.a], sizes[edge.b]
        self._bend = bend
        a, b = self._a, self._b
        dx, dy = b.x - a.x, b.y - a.y
        length = max(1, isqrt(dx * dx + dy * dy))
        # The point that a bent line is drawn towards: aside of the middle.
        self._aim = (a.x + b.x) // 2 - dy * bend // length, (a.y + b.y) // 2 + dx * bend // length
        way = f"Q{self._aim[0]} {self._aim[1]} {b.x} {b.y}" if bend else f"L{b.x} {b.y}"
        self.line = f'<path class="link{"" if edge.up else " down"}" d="M{a.x} {a.y}{way}"/>'

    def ports(self) -> list[tuple[int, int, int, int, list[str]]]:
        """A label for each end, just outside its node; it may move away from it."""
        a, b, edge = self._a, self._b, self.edge
        found = []
        for end, other, name, size in ((a, b, edge.a_port, self._sizes[0]), (b, a, edge.b_port, self._sizes[1])):
            x, y = self._aim if self._bend else (other.x, other.y)
            spot = _outside(end, (x, y), size, _half([name]))
            found.append((*spot, x - end.x, y - end.y, [name]))
        return found

    def middle(self) -> _Spot:
        """Of a bent line its middle; else the middle of what is seen of it, or between rows nearer to the lower node,
        where lines are farther apart."""
        a, b = self._a, self._b
        if self._bend:
            return (a.x + b.x + 2 * self._aim[0]) // 4, (a.y + b.y + 2 * self._aim[1]) // 4, b.x - a.x, b.y - a.y
        if a.row >= 0 and a.row != b.row:
            low, high = (a, b) if a.y > b.y else (b, a)
            dx, dy = high.x - low.x, high.y - low.y
            return low.x + dx * 9 // 20, low.y + dy * 9 // 20, dx, dy
        return (a.x + b.x) // 2, (a.y + b.y) // 2, b.x - a.x, b.y - a.y


class _Labels:
    """Labels that keep clear of nodes and of each other."""

    def __init__(self, places: Sequence[Place], sizes: Sequence[tuple[int, int]]) -> None:
        #: Left, top, right, bottom of what is there already.
        self._taken = [
            (place.x - width // 2, place.y - height // 2, place.x + width // 2, place.y + height // 2)
            for place, (width, height) in zip(places, sizes, strict=True)
        ]

    def along(self, x: int, y: int, dx: int, dy: int, lines: Sequence[str], css: str) -> str:
        """Lines of text about (x, y), or the nearest place on the way (dx, dy) where there is room."""
        half, rise = _half(lines), len(lines) * _LINE // 2
        length = max(1, isqrt(dx * dx + dy * dy))
        found = x, y
        for step in _STEPS:
            at = x + dx * step // length, y + dy * step // length
            box = at[0] - half, at[1] - rise, at[0] + half, at[1] + rise
            if not any(_overlap(box, other) for other in self._taken):
                found = at
                break
        x, y = found
        self._taken.append((x - half, y - rise, x + half, y + rise))
        parts = [f'<rect class="behind" x="{x - half}" y="{y - rise}" width="{2 * half}" height="{2 * rise}"/>']
        for number, text in enumerate(lines):
            baseline = y - rise + 11 + number * _LINE
            parts.append(f'<text class="{css}" x="{x}" y="{baseline}">{escape(text)}</text>')
        return "".join(parts)


def _half(lines: Sequence[str]) -> int:
    return max(len(line) for line in lines) * _SMALL // 20 + 4


def _overlap(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _outside(place: Place, target: tuple[int, int], size: tuple[int, int], half: int) -> tuple[int, int]:
    """The middle of a label `2 * half` wide just outside a node, on the line to `target`."""
    dx, dy = target[0] - place.x, target[1] - place.y
    reach_x, reach_y = size[0] // 2 + half + 2, size[1] // 2 + _LINE // 2 + 4
    # By whichever side the line leaves the box that the label must stay out of.
    if not dx and not dy:
        return place.x, place.y + reach_y
    if abs(dx) * reach_y >= abs(dy) * reach_x:
        return place.x + (reach_x if dx >= 0 else -reach_x), place.y + dy * reach_x // abs(dx)
    return place.x + dx * reach_y // abs(dy), place.y + (reach_y if dy >= 0 else -reach_y)


def _shape(shape: Shape, place: Place, size: tuple[int, int]) -> str:
    width, height = size
    x, y = place.x - width // 2, place.y - height // 2
    name_width = len(shape.name) * _NAME // 10
    start = place.x - (name_width + _ICON) // 2
    title = ", ".join((f"{shape.name} ({shape.kind})", *shape.lines))
    icon = _ICONS.get(shape.kind, _SCREEN)
    parts = [
        f'<g class="{escape(shape.kind)}"><title>{escape(title)}</title>',
        f'<rect class="box" x="{x}" y="{y}" width="{width}" height="{height}" rx="8"/>',
        f'<g class="icon" transform="translate({start} {y + 8})">{icon}</g>',
        f'<text class="name" x="{start + _ICON + 2}" y="{y + 22}">{escape(shape.name)}</text>',
    ]
    for number, line in enumerate(shape.lines):
        at = y + 40 + number * _LINE
        parts.append(f'<text x="{place.x}" y="{at}" text-anchor="middle">{escape(line)}</text>')
    return "".join((*parts, "</g>"))

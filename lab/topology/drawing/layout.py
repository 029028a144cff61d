"""Where nodes are drawn: whole numbers only, and no chance, so that a topology looks the same on every machine.

What joins two or more nodes is the core. Where it is a path (two hosts, a LAN, a dumbbell, a parking lot), it is drawn
as a line from left to right, with what hangs on it around it. Else nodes are in rows by how far they are from the edge
of the network: trees and Clos networks come out as people draw them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

#: Rounds of ordering and of moving nodes towards their neighbours.
_ROUNDS: Final = 12


@dataclass(frozen=True)
class Pitch:
    """Distances between the middles of neighbours: along a path, across it, and within and between rows."""

    along: int
    across: int
    within: int
    between: int


@dataclass(frozen=True)
class Place:
    """The middle of a node. `row` is the row it is in where there are rows, else -1."""

    x: int
    y: int
    row: int = -1


def layout(count: int, edges: Sequence[tuple[int, int]], pitch: Pitch) -> list[Place]:
    """Places of the nodes 0 to count - 1; parts that are not joined are one below the other."""
    near: list[list[int]] = [[] for _ in range(count)]
    for a, b in edges:
        if b not in near[a] and a != b:
            near[a].append(b)
            near[b].append(a)
    placed: dict[int, Place] = {}
    bottom = 0
    for part in _parts(near):
        if len(part) == 1:  # side by side, below all others
            continue
        places = _line(part, near, pitch) or _rows(part, near, pitch)
        left = min(place.x for place in places.values())
        top = min(place.y for place in places.values())
        for node, place in places.items():
            placed[node] = Place(place.x - left, place.y - top + bottom, place.row)
        bottom = max(place.y for place in placed.values()) + pitch.across * 3 // 2
    for number, node in enumerate(node for node in range(count) if not near[node]):
        placed[node] = Place(number * pitch.within, bottom)
    return [placed[node] for node in range(count)]


def _parts(near: Sequence[Sequence[int]]) -> list[list[int]]:
    seen: set[int] = set()
    parts = []
    for start in range(len(near)):
        if start not in seen:
            part = sorted(_distances([start], near))
            seen.update(part)
            parts.append(part)
    return parts


def _distances(starts: Sequence[int], near: Sequence[Sequence[int]]) -> dict[int, int]:
    """Hops from the nearest of `starts`."""
    found = dict.fromkeys(starts, 0)
    queue = deque(starts)
    while queue:
        node = queue.popleft()
        for other in near[node]:
            if other not in found:
                found[other] = found[node] + 1
                queue.append(other)
    return found


def _line(part: Sequence[int], near: Sequence[Sequence[int]], pitch: Pitch) -> dict[int, Place] | None:
    """The core as a line; None when it is no path."""
    core = [node for node in part if len(near[node]) > 1] or [part[0]]
    inside = {node: [other for other in near[node] if other in core] for node in core}
    ends = [node for node in core if len(inside[node]) < 2]
    if not ends or any(len(inside[node]) > 2 for node in core):
        return None
    path = [ends[0]]
    while onwards := [other for other in inside[path[-1]] if other not in path]:
        path.append(onwards[0])
    hanging = {node: [other for other in near[node] if other not in core] for node in path}
    if len(path) == 1:  # a LAN: half of it on each side
        around = hanging[path[0]]
        middle = len(around) // 2
        return (
            {path[0]: Place(0, 0)}
            | _stack(around[:middle], -pitch.along, pitch)
            | _stack(around[middle:], pitch.along, pitch)
        )
    places: dict[int, Place] = {}
    x = 0
    for number, node in enumerate(path):
        around = hanging[node]
        if number == 0:
            places |= _stack(around, -pitch.along, pitch)
        elif number == len(path) - 1:
            x += pitch.along
            places |= _stack(around, x + pitch.along, pitch)
        else:
            below, above = around[::2], around[1::2]
            half = (max(0, len(below) - 1) * pitch.within) // 2
            x += pitch.along + max(0, half - pitch.along // 2)
            for side, row in ((1, below), (-1, above)):
                left = x - (len(row) - 1) * pitch.within // 2
                for at, other in enumerate(row):
                    places[other] = Place(left + at * pitch.within, side * pitch.between)
            places[node] = Place(x, 0)
            x += max(0, half - pitch.along // 2)
            continue
        places[node] = Place(x, 0)
    return places


def _stack(nodes: Sequence[int], x: int, pitch: Pitch) -> dict[int, Place]:
    top = -(len(nodes) - 1) * pitch.across // 2
    return {node: Place(x, top + number * pitch.across) for number, node in enumerate(nodes)}


def _rows(part: Sequence[int], near: Sequence[Sequence[int]], pitch: Pitch) -> dict[int, Place]:
    """Rows by distance from the edge of the network, or, where there is none, from the first node."""
    edge = [node for node in part if len(near[node]) == 1]
    rank = _distances(edge or [part[0]], near)
    height = max(rank.values())
    rows: list[list[int]] = [[] for _ in range(height + 1)]
    for node in part:
        rows[height - rank[node] if edge else rank[node]].append(node)
    row_of = {node: number for number, row in enumerate(rows) for node in row}
    order = _first_order(rows, near, row_of)
    for turn in range(_ROUNDS):
        for number in range(len(rows)) if turn % 2 else reversed(range(len(rows))):
            _sort(order[number], order, near, row_of)
    x = {node: number * pitch.within for row in order for number, node in enumerate(row)}
    for turn in range(_ROUNDS):
        for row in order if turn % 2 else reversed(order):
            wanted = [
                _mean([x[other] for other in near[node] if row_of[other] != row_of[node]], x[node]) for node in row
            ]
            x.update(zip(row, _spread(wanted, pitch.within), strict=True))
    return {node: Place(x[node], number * pitch.between, number) for number, row in enumerate(order) for node in row}


def _first_order(
    rows: Sequence[Sequence[int]], near: Sequence[Sequence[int]], row_of: dict[int, int]
) -> list[list[int]]:
    """As one comes to them from above, children of one node side by side."""
    order: list[list[int]] = [[] for _ in rows]
    seen: set[int] = set()
    for start in [node for row in rows for node in row]:
        stack = [start]
        while stack:
            node = stack.pop()
            if node in seen:
                continue
            seen.add(node)
            order[row_of[node]].append(node)
            stack.extend(other for other in reversed(near[node]) if row_of[other] > row_of[node] and other not in seen)
    return order


def _sort(
    row: list[int], order: Sequence[Sequence[int]], near: Sequence[Sequence[int]], row_of: dict[int, int]
) -> None:
    """By the mean place of their neighbours in other rows, in thousandths of a row's length."""
    place = {node: (2 * at + 1) * 1000 // (2 * len(one)) for one in order for at, node in enumerate(one)}
    key = {
        node: _mean([place[other] for other in near[node] if row_of[other] != row_of[node]], place[node])
        for node in row
    }
    row.sort(key=key.__getitem__)


def _mean(values: Sequence[int], default: int) -> int:
    return sum(values) // len(values) if values else default


def _spread(wanted: Sequence[int], gap: int) -> list[int]:
    """Near where they want to be, in this order, at least `gap` apart: neighbours that are too close move as one."""
    blocks: list[tuple[int, int]] = []  # sum of what its members want (less their place in it), how many they are
    for at, value in enumerate(wanted):
        total, size = value - at * gap, 1
        while blocks and blocks[-1][0] * size >= total * blocks[-1][1]:
            before = blocks.pop()
            total, size = total + before[0], size + before[1]
        blocks.append((total, size))
    result: list[int] = []
    for total, size in blocks:
        first = len(result)
        result.extend(total // size + at * gap for at in range(first, first + size))
    return result

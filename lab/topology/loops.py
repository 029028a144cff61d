"""Loops of switches: without a spanning tree a flooded frame goes round in them for ever."""

from __future__ import annotations

from collections.abc import Iterable

Pair = tuple[str, str]


def first_loop(pairs: Iterable[Pair], joined: Iterable[Pair] = ()) -> int | None:
    """The first of `pairs`, by its place, whose two are connected already, by those before it or by `joined`."""
    group: dict[str, str] = {}

    def root(name: str) -> str:
        while (other := group.setdefault(name, name)) != name:
            group[name] = group[other]
            name = other
        return name

    for a, b in joined:
        group[root(a)] = root(b)
    for index, (a, b) in enumerate(pairs):
        if root(a) == root(b):
            return index
        group[root(a)] = root(b)
    return None

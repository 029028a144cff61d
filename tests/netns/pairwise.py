"""A short list of cases in which every two values of different factors meet at least once (all-pairs)."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Mapping, Sequence

Case = dict[str, Hashable]


def pairs_of(case: Mapping[str, Hashable]) -> set[tuple[tuple[str, Hashable], ...]]:
    """The pairs of values that meet in a case."""
    return set(itertools.combinations(sorted(case.items(), key=lambda item: item[0]), 2))


def all_pairs(factors: Mapping[str, Sequence[Hashable]]) -> list[Case]:
    """Cases that cover all pairs; each is the one of all possible that covers most of what is still missing."""
    everything = [dict(zip(factors, values, strict=True)) for values in itertools.product(*factors.values())]
    pairs = [pairs_of(case) for case in everything]
    missing = set().union(*pairs)
    cases = []
    while missing:
        best = max(range(len(everything)), key=lambda index: len(pairs[index] & missing))
        cases.append(everything[best])
        missing -= pairs[best]
    return cases

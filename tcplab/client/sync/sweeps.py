# Made by tools/sync_client.py from tcplab/client/aio/sweeps.py: change it there.
"""The same measurement over many parameters, in labs of their own side by side, into one table."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tcplab.client.sync.controller import Controller
from tcplab.client.sync.labs import Lab
from tcplab.client.sync.rpc import each

Row = dict[str, Any]


def sweep(
    measure: Callable[..., Mapping[str, Any]],
    parameters: Mapping[str, Iterable[Any]],
    *,
    topology: str | Path | Mapping[str, Any],
    seeds: Iterable[int] = (1,),
    level: str = "congestion",
    capture: bool = False,
    workers: int | None = None,
    controller: Controller | None = None,
) -> list[Row]:
    """Call `measure(lab, **values)` for every combination of the parameters and every seed, each in a new lab.

    Returns one row for each, in that order, whatever finished first: the values, the seed, and what `measure` gave.
    `pandas.DataFrame(rows)` takes it as it is. The first error ends it. `workers` labs run side by side (default: one
    for each processor); without a `controller` one is found or started as by Controller().

        rows = sweep(goodput, {"loss": ["0%", "1%", "2%"], "delay": ["5ms", "50ms"]}, topology="pair", seeds=range(5))
    """
    cases = [
        dict(zip((*parameters, "seed"), values, strict=True))
        for values in itertools.product(*parameters.values(), seeds)
    ]

    def one(where: Controller, case: Row) -> Row:
        values = {name: value for name, value in case.items() if name in parameters}
        lab: Lab = where.create_lab(topology, seed=case["seed"], level=level, capture=capture)
        with lab:
            try:
                return {**case, **measure(lab, **values)}
            except Exception as error:
                error.add_note("in the lab with " + ", ".join(f"{name}={value}" for name, value in case.items()))
                raise

    def all_of(where: Controller) -> list[Row]:
        return each([partial(one, where, case) for case in cases], workers or os.cpu_count() or 1)

    if controller is not None:
        return all_of(controller)
    with Controller() as own:
        return all_of(own)

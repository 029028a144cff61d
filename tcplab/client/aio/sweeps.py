"""The same measurement over many parameters, in labs of their own side by side, into one table."""

from __future__ import annotations

import itertools
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tcplab.client.aio.controller import Controller
from tcplab.client.aio.labs import Lab
from tcplab.client.aio.rpc import each

Row = dict[str, Any]


async def sweep(
    measure: Callable[..., Awaitable[Mapping[str, Any]]],
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

    async def one(where: Controller, case: Row) -> Row:
        values = {name: value for name, value in case.items() if name in parameters}
        lab: Lab = await where.create_lab(topology, seed=case["seed"], level=level, capture=capture)
        async with lab:
            try:
                return {**case, **await measure(lab, **values)}
            except Exception as error:
                error.add_note("in the lab with " + ", ".join(f"{name}={value}" for name, value in case.items()))
                raise

    async def all_of(where: Controller) -> list[Row]:
        return await each([partial(one, where, case) for case in cases], workers or os.cpu_count() or 1)

    if controller is not None:
        return await all_of(controller)
    async with Controller() as own:
        return await all_of(own)

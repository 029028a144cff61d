"""Impairments as the kernel's sch_netem takes them (tc-netem(8)), or why it cannot do them.

What netem does otherwise than the link engine, and is accepted: losses are decided before the queue, so a lost frame
takes no time on the line; chances come from the kernel's own generator, so a run cannot be repeated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from lab.links.impairments import Impairments
from nodes.base.clock import SECOND
from nodes.base.errors import InvalidArgument
from nodes.base.random import CHANCE_ONE

#: What a chance of 1 is in struct tc_netem_qopt.
NETEM_ONE: Final = (1 << 32) - 1
#: Packets that netem may hold when nothing else limits them.
_UNLIMITED: Final = 1_000_000
#: A frame of 64 bytes, the shortest: so many can be under way at most.
_SHORTEST_BITS: Final = 64 * 8


@dataclass(frozen=True)
class NetemOptions:
    """Every field of netem, none left out: what a change does not send, the kernel resets or keeps, as it likes.

    Chances out of 2**32 - 1, `rate` in bytes per second (0: none), `limit` over all packets held. `gemodel` is p, r, h
    and 1-k, or empty: then `loss` is the chance of each frame.
    """

    delay_ns: int
    jitter_ns: int
    limit: int
    loss: int
    gemodel: tuple[int, ...]
    duplicate: int
    corrupt: int
    reorder: int
    gap: int
    rate: int


def netem_options(impairments: Impairments) -> NetemOptions:
    """Raises InvalidArgument for what netem cannot do, saying what can."""
    one = impairments
    if one.jitter_ns and not one.rate_bps:
        _refuse("lets frames overtake one another when the delay jitters, unless there is a rate")
    if one.reorder_delay_ns:
        _refuse("reorders by skipping the delay, not by reorder_delay")
    if one.reorder_gap and not one.reorder:
        _refuse("takes reorder_gap only beside reorder")
    if one.reorder and not one.delay_ns:
        _refuse("reorders by skipping the delay, and there is none")
    if one.bursts and one.loss:
        _refuse("loses by chance (loss) or in bursts (gemodel), not both")
    if one.limit_bytes:
        _refuse("counts its limit in packets, not in bytes (limit_bytes)")
    if one.ecn_threshold:
        _refuse("marks only what it would have lost by chance, not what waits (ecn_threshold)")
    if one.queue != "droptail":
        _refuse(f"has no queue discipline {one.queue}")
    gemodel = one.gemodel_p, one.gemodel_r, CHANCE_ONE - one.gemodel_1h, one.gemodel_1k
    return NetemOptions(
        one.delay_ns,
        one.jitter_ns,
        _limit(one),
        _chance(one.loss),
        tuple(_chance(chance) for chance in gemodel) if one.bursts else (),
        _chance(one.duplicate),
        _chance(one.corrupt),
        _chance(one.reorder),
        one.reorder_gap or (1 if one.reorder else 0),
        -(-one.rate_bps // 8),
    )


def _limit(one: Impairments) -> int:
    """netem's limit is over all it holds: our queue's, and what can be on the wire at the same time."""
    if not one.rate_bps:
        return _UNLIMITED
    under_way = (one.delay_ns + one.jitter_ns) * one.rate_bps // (SECOND * _SHORTEST_BITS) + 1
    return min(_UNLIMITED, one.limit_packets + under_way)


def _chance(chance: int) -> int:
    return (chance * NETEM_ONE + CHANCE_ONE // 2) // CHANCE_ONE


def _refuse(why: str) -> None:
    raise InvalidArgument(f"the kernel's netem {why}; the link engine (engine: link) does it", "engine")

"""What a link does to packets by chance and by rate: one frozen value, in tc-netem's words."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from lab import spec, units
from lab.links.queues import QUEUES
from nodes.base.clock import HOUR
from nodes.base.errors import InvalidArgument
from nodes.base.random import CHANCE_ONE

_WORDS = (
    "delay jitter loss gemodel_p gemodel_r gemodel_1h gemodel_1k duplicate corrupt reorder reorder_gap reorder_delay "
    "rate limit limit_bytes ecn_threshold queue red_min red_max red_probability red_ecn"
)


@dataclasses.dataclass(frozen=True)
class Impairments:
    """Impairments of one direction of a link. The default is a perfect wire: no delay, no loss, no rate."""

    delay_ns: int = spec.duration(default=0, maximum=HOUR, doc="Propagation delay.")
    jitter_ns: int = spec.duration(
        default=0, maximum=HOUR, doc="The delay varies uniformly by this either way, never below 0; order is kept."
    )
    loss: int = spec.chance(default=0, doc="Chance that a frame is lost on the wire, after the queue.")
    gemodel_p: int = spec.chance(
        default=0,
        doc="Gilbert-Elliott losses in bursts: chance, with each frame, to go from the good state to the bad.",
    )
    gemodel_r: int = spec.chance(default=CHANCE_ONE, doc="Chance, with each frame, to go back to the good state.")
    gemodel_1h: int = spec.chance(default=CHANCE_ONE, doc="Chance that a frame is lost in the bad state (1-h of tc).")
    gemodel_1k: int = spec.chance(default=0, doc="Chance that a frame is lost in the good state (1-k of tc).")
    duplicate: int = spec.chance(default=0, doc="Chance that a frame arrives twice.")
    corrupt: int = spec.chance(default=0, doc="Chance that one random bit of a frame is flipped.")
    reorder: int = spec.chance(
        default=0, doc="Chance that a frame leaves its place: it skips the delay, or comes later by reorder_delay."
    )
    reorder_gap: int = spec.number(
        default=0, maximum=1_000_000, doc="Only every n-th frame is up for reordering; 0: each one."
    )
    reorder_delay_ns: int = spec.duration(
        default=0, maximum=HOUR, doc="A reordered frame comes later by this, others overtake; 0: it skips the delay."
    )
    rate_bps: int = spec.rate(default=0, maximum=10**12, doc="Bits of Ethernet frame per second; 0: no limit.")
    limit_packets: int = spec.number(
        default=1000, minimum=1, maximum=1_000_000, key="limit", doc="Packets the queue before the rate holds."
    )
    limit_bytes: int = spec.size(
        default=0, maximum=1 << 40, key="limit_bytes", doc="Bytes the queue holds; 0: no limit."
    )
    ecn_threshold: int = spec.size(
        default=0,
        maximum=1 << 40,
        doc="Packets that find so many bytes waiting are marked CE, if they can be (ECN, RFC 3168); 0: none is.",
    )
    queue: str = spec.choice(tuple(QUEUES), default="droptail", doc="Discipline of the queue before the rate.")

    red_min: int = spec.size(
        default=30_000, maximum=1 << 40, doc="Queue red: below so many bytes, on average, nothing is dropped or marked."
    )
    red_max: int = spec.size(
        default=90_000, minimum=1, maximum=1 << 40, doc="Queue red: from so many bytes on, on average, everything is."
    )
    red_probability: int = spec.chance(
        default=CHANCE_ONE // 50, doc="Queue red: chance at red_max of being dropped or marked; below it less."
    )
    red_ecn: bool = spec.of(
        spec.Boolean(), default=False, doc="Queue red: what can be marked (ECN, RFC 3168) is, and not dropped."
    )

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            kind = field.metadata["kind"]
            value = getattr(self, field.name)
            if isinstance(kind, spec.Text):
                if value not in kind.choices:
                    raise InvalidArgument(f"{value} is not one of {', '.join(kind.choices)}", spec.key_of(field))
            elif isinstance(kind, spec.Boolean):
                if not isinstance(value, bool):
                    raise InvalidArgument(f"{value!r} is not true or false", spec.key_of(field))
            elif type(value) is not int or not kind.minimum <= value <= kind.maximum:
                written = kind.plain(value) if type(value) is int else repr(value)
                bounds = f"{kind.plain(kind.minimum)} to {kind.plain(kind.maximum)}"
                raise InvalidArgument(f"{written} is not in {bounds}", spec.key_of(field))
        if self.red_min >= self.red_max:
            low, high = units.format_size(self.red_min), units.format_size(self.red_max)
            raise InvalidArgument(f"red_min {low} is not below red_max {high}", "red_min")

    def merged(self, changes: Mapping[str, Any]) -> Impairments:
        """These with the named fields (Python names) changed, all or none. Raises InvalidArgument."""
        known = [field.name for field in dataclasses.fields(self)]
        for name in changes:
            if name not in known:
                raise InvalidArgument(f"no such impairment; there are {_WORDS}", name)
        return dataclasses.replace(self, **changes)

    @property
    def none(self) -> bool:
        """Whether a frame passes at once and as it is; the queue's limits then have nothing to limit."""
        return not (self.delay_ns or self.rate_bps or self.chances)

    @property
    def chances(self) -> bool:
        """Whether something is left to chance."""
        return bool(
            self.loss
            or self.bursts
            or self.corrupt
            or self.duplicate
            or self.jitter_ns
            or self.reorder
            or self.reorder_gap
        )

    @property
    def bursts(self) -> bool:
        """Whether the Gilbert-Elliott model can lose anything."""
        return bool(self.gemodel_p or self.gemodel_1k)

    def words(self) -> str:
        """As one would give them to tc: `delay 10ms loss 1%`; empty for a perfect wire."""
        return " ".join(f"{key} {str(value).lower()}" for key, value in spec.plain(self).items())


NO_IMPAIRMENTS = Impairments()

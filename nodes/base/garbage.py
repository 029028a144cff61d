"""The garbage collector in a process that lives for one lab."""

from __future__ import annotations

import gc
from typing import Final

#: So many objects more than before are made before the young are looked through, instead of 700; then each tenth time
#: those that survived one look, each tenth of these all. What a lab makes for each packet refers to nothing in a
#: circle and goes when it is done with, so a look finds next to nothing, and costs as much as there is in flight.
_THRESHOLDS: Final = (50_000, 10, 10)


def settle() -> None:
    """What exists now stays: the collector never looks at it again, so that memory shared with forks stays shared, and
    rarely at what comes."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)

"""Many episodes, in a process of their own."""

from __future__ import annotations

import faulthandler
import resource
import traceback
from multiprocessing.connection import Connection as Pipe

from .episode import Episode

#: An episode takes some ten milliseconds; a loop that does not end takes for ever.
_HANG_SECONDS = 120
#: What a process may grow by after its first episodes.
_GROWTH_BYTES = 64 << 20
#: Failures after which a process stops.
_ENOUGH = 20


def attack(pipe: Pipe, seed: int, first: int, step: int, segments: int, length: int) -> None:
    """Episodes `first`, `first + step` ... until so many segments have been delivered; tells how each hundred went."""
    delivered = 0
    done: dict[str, int] = {}
    number = first
    settled = 0
    failures = 0
    while delivered < segments and failures < _ENOUGH:
        faulthandler.dump_traceback_later(_HANG_SECONDS, exit=True)
        pipe.send(("episode", number, delivered))
        episode = Episode(seed, number)
        try:
            episode.run(length)
        except Exception:
            what = f"--seed {seed} --episode {number}: {episode.state}, segment {episode.delivered}, {episode.step}"
            failures += 1
            pipe.send(("found", what, traceback.format_exc()))
        delivered += episode.delivered
        for state, count in episode.done.items():
            done[state] = done.get(state, 0) + count
        number += step
        if delivered > segments // 10 and not settled:
            settled = peak()
    faulthandler.cancel_dump_traceback_later()
    if settled and peak() > settled + _GROWTH_BYTES:
        pipe.send(("found", f"memory grows: {settled} bytes after a tenth, {peak()} at the end", ""))
    pipe.send(("done", done, peak()))


def peak() -> int:
    """Most memory this process has used, bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

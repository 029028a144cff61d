"""Attack the stack with millions of segments: `python -m tests.fuzz --segments 10000000 --jobs 2`.

Every episode is made from its seed and number alone: `--seed 1 --episode 1234` runs that one again. Ends with 1 when
something was found; add what it prints to seeds.txt, together with the repair.
"""

from __future__ import annotations

import argparse
import sys
import time
from multiprocessing import get_context
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait

from nodes.tcp import arrivals

from .campaign import attack
from .episode import LENGTH, Episode


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--segments", type=int, default=10_000_000, help="how many, together (default 10 million)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--episode", type=int, help="only this one, in this process")
    parser.add_argument("--first", type=int, default=0, help="number of the first episode")
    parser.add_argument("--length", type=int, default=LENGTH, help=f"segments of one episode (default {LENGTH})")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    given = parser.parse_args()
    build = "pure" if arrivals.__file__.endswith(".py") else "compiled"
    if given.episode is not None:
        Episode(given.seed, given.episode).run(given.length)
        print(f"{build}: episode {given.episode} of seed {given.seed}: nothing found")
        return 0
    started = time.monotonic()
    context = get_context("spawn")
    pipes: dict[Pipe, int] = {}
    at: dict[int, int] = {}
    progress: dict[int, int] = {}
    for job in range(given.jobs):
        ours, theirs = context.Pipe(False)
        share = given.segments // given.jobs
        arguments = (theirs, given.seed, given.first + job, given.jobs, share, given.length)
        context.Process(target=attack, args=arguments, daemon=True).start()
        theirs.close()
        pipes[ours] = job
    found = 0
    done: dict[str, int] = {}
    told = started
    while pipes:
        for pipe in wait(list(pipes)):
            assert isinstance(pipe, Pipe)
            job = pipes[pipe]
            try:
                what, first, second = pipe.recv()
            except EOFError:
                del pipes[pipe]
                if job in at:
                    found += 1
                    print(f"FOUND --seed {given.seed} --episode {at[job]}: the process ended, or hung")
                continue
            if what == "episode":
                at[job], progress[job] = first, second
            elif what == "found":
                found += 1
                print(f"FOUND {first}\n{second}", flush=True)
            else:
                at.pop(job)
                progress[job] = sum(first.values())
                for state, count in first.items():
                    done[state] = done.get(state, 0) + count
                print(f"process {job}: at most {second >> 20} MiB of memory")
        if time.monotonic() - told > 30:
            told = time.monotonic()
            print(f"{sum(progress.values())} segments, {found} found", file=sys.stderr, flush=True)
    seconds = time.monotonic() - started
    total = sum(done.values())
    print(f"{build}: {total} segments and ICMP messages in {seconds:.0f} s, seed {given.seed}; found: {found}")
    for state, count in sorted(done.items(), key=lambda item: -item[1]):
        print(f"  {state:<13}{count:>12}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

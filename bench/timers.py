"""How late RealScheduler makes its calls: `timers.py SPIN_US` prints one JSON object.

2000 calls at random instants, 0.2 to 1.5 ms apart; the last SPIN_US before each are spent looking at the clock.
"""

from __future__ import annotations

import json
import random
import sys
import time

from nodes.base.clock import MICROSECOND
from nodes.base.real import RealScheduler, be_punctual

CALLS = 2000


def main() -> None:
    be_punctual()
    scheduler = RealScheduler(time.monotonic_ns(), spin_ns=int(sys.argv[1]) * MICROSECOND)
    late: list[int] = []
    instant = scheduler.real_now()
    for _ in range(CALLS):
        instant += random.randrange(200 * MICROSECOND, 1500 * MICROSECOND)
        scheduler.post(instant, lambda at: late.append(scheduler.real_now() - at), instant)
    scheduler.post(instant + 1, lambda _: scheduler.stop(), None)
    began, used = time.perf_counter(), time.process_time()
    scheduler.run()
    busy = (time.process_time() - used) / (time.perf_counter() - began)
    late.sort()
    percentiles = {f"p{percent}_us": late[CALLS * percent // 100] / 1000 for percent in (50, 90, 99)}
    print(json.dumps({**percentiles, "max_us": late[-1] / 1000, "core_used": busy}))


if __name__ == "__main__":
    main()

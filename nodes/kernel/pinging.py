"""`ping` of a node with the kernel's stack."""

from __future__ import annotations

import os

from nodes.agent.host import PingResult
from nodes.base.errors import InvalidArgument
from nodes.kernel.context import Context
from nodes.kernel.ping import MAX_COUNT, MAX_SIZE, Pings
from nodes.kernel.ping6 import Pings6


async def ping(
    context: Context, remote: bytes, count: int, interval_ns: int, size: int, ttl: int, timeout_ns: int
) -> list[PingResult]:
    """As `Host.ping`."""
    for field, value, lowest, highest in (
        ("count", count, 1, MAX_COUNT),
        ("size", size, 0, MAX_SIZE),
        ("ttl", ttl, 0, 255),
        ("interval_ns", interval_ns, 0, 1 << 62),
        ("timeout_ns", timeout_ns, 0, (1 << 63) - 1),
    ):
        if not lowest <= value <= highest:
            raise InvalidArgument(f"{field}: {value} is not allowed; {lowest} to {highest} is", field)
    identifier = int.from_bytes(os.urandom(2), "big")
    pings = (Pings6 if len(remote) == 16 else Pings)(context, remote, identifier, ttl)
    scheduler = context.scheduler
    try:
        for sequence in range(1, count + 1):
            sent_at = scheduler.now()
            pings.send(sequence, size)
            while sequence < count and scheduler.now() < sent_at + interval_ns:
                try:
                    await pings.wait(sent_at + interval_ns)
                except TimeoutError:
                    break
        last = context.deadline(timeout_ns)
        while len(pings.answers) < count and scheduler.now() < last:
            try:
                await pings.wait(last)
            except TimeoutError:
                break
    finally:
        pings.close()
    results = []
    for sequence in range(1, count + 1):
        answer = pings.answers.get(sequence)
        if answer is None or answer.rtt_ns > timeout_ns:
            answer = PingResult(sequence, b"", 0, 0, 0, "no answer")
        results.append(answer)
    return results

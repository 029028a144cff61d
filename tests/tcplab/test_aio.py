"""The asyncio face: the same calls, and several at once on one lab."""

from __future__ import annotations

import asyncio

import pytest

import tcplab.client.aio
from tcplab.client import Controller, NotFound, SocketError


def test_calls_side_by_side(controller: Controller) -> None:
    async def main() -> None:
        async with tcplab.client.aio.lab("pair", address=controller.address) as lab:
            listener = await lab.node("h2").listen(80)
            client, server = await asyncio.gather(lab.node("h1").open("h2", 80), listener.accept())
            _, received = await asyncio.gather(client.send(pattern=b"ab", length="1mb"), server.receive_digest("1mb"))
            assert received.length == 1 << 20
            states = [event["new"] async for event in lab.trace("state", node="h1")]
            assert states == ["SYN-SENT", "ESTABLISHED"]
            with pytest.raises(SocketError):
                await lab.node("h1").open("h2", 81)
        with pytest.raises(NotFound):
            async with tcplab.client.aio.Controller(controller.address) as again:
                await again.lab(lab.name)

    asyncio.run(main())


def test_following_a_trace_to_its_end(controller: Controller) -> None:
    async def main() -> None:
        async with tcplab.client.aio.lab("pair", address=controller.address) as lab:

            async def follow() -> list[str]:
                return [event["new"] async for event in lab.trace("state", node="h1", follow=True)]

            following = asyncio.create_task(follow())
            with pytest.raises(SocketError):
                await lab.node("h1").open("h2", 80)
        assert await following == ["SYN-SENT", "CLOSED"]

    asyncio.run(main())


def test_a_call_that_is_cancelled_gives_the_clock_back(controller: Controller) -> None:
    async def main() -> None:
        async with tcplab.client.aio.lab("pair", address=controller.address) as lab:
            advancing = asyncio.create_task(lab.advance("1h", pace=1.0))
            while not (await lab.info()).advancing:
                pass
            advancing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await advancing
            reached = await lab.now_ns()
            assert reached < 3600 * 10**9
            assert (await lab.advance("1s")).time_ns >= reached + 10**9

    asyncio.run(main())


def test_sweep(controller: Controller) -> None:
    async def measure(lab: tcplab.client.aio.Lab, count: int) -> dict[str, int]:
        return {"received": (await lab.node("h1").ping("h2", count)).received}

    async def main() -> None:
        async with tcplab.client.aio.Controller(controller.address) as own:
            rows = await tcplab.client.aio.sweep(measure, {"count": [1, 2]}, topology="pair", controller=own)
        assert rows == [{"count": 1, "seed": 1, "received": 1}, {"count": 2, "seed": 1, "received": 2}]

    asyncio.run(main())

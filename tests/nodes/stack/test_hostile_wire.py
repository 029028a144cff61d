"""Whole hosts over a wire that loses, corrupts, duplicates and reorders every kind of frame, ARP too."""

from __future__ import annotations

from functools import partial

import pytest

from nodes.apps.pattern import Pattern
from nodes.base.clock import HOUR, MILLISECOND
from nodes.base.errors import SocketError
from nodes.base.random import RandomStream
from nodes.sockets.stream import connect, listen
from tests.nodes.net import Net, ip

SIZE = 60_000
PERCENT = 10_000_000


def hostile(seed: int, percent: int) -> Net:
    net = Net()
    draws = RandomStream(seed, "hostile")
    for name, address in (("h1", "10.0.0.1/24"), ("h2", "10.0.0.2/24")):
        net.host(name, address)

    def spoil(frame: bytes) -> bytes:
        at = draws.below(len(frame))
        return frame[:at] + bytes([frame[at] ^ 1 << draws.below(8)]) + frame[at + 1 :]

    def carry(to: str, frame: bytes) -> None:
        for _ in range(2 if draws.chance(percent * PERCENT) else 1):
            if draws.chance(percent * PERCENT):
                continue
            sent = spoil(frame) if draws.chance(percent * PERCENT) else frame
            delay = MILLISECOND + (draws.below(5 * MILLISECOND) if draws.chance(percent * PERCENT) else 0)
            receive = partial(net.hosts[to].receive_frame, 0)
            net.scheduler.call_at(net.scheduler.now() + delay, receive, sent)

    net.hosts["h1"].driver.ports = [partial(carry, "h2")]
    net.hosts["h2"].driver.ports = [partial(carry, "h1")]
    return net


@pytest.mark.parametrize("percent", [2, 10, 25])
@pytest.mark.parametrize("seed", range(6))
def test_what_arrives_is_a_prefix_and_nobody_waits_for_ever(seed: int, percent: int) -> None:
    net = hostile(seed, percent)
    data = Pattern(SIZE)
    received: list[bytes] = []

    async def server() -> str:
        socket = await listen(net.hosts["h2"].driver, 80, options={"SO_KEEPALIVE": 1}).accept(HOUR)
        try:
            while part := await socket.recv():
                received.append(part)
        except SocketError as error:
            return error.errno_name
        socket.close()
        return ""

    async def client() -> str:
        try:
            socket = await connect(net.hosts["h1"].driver, ip("10.0.0.2"), 80)
            for offset in range(0, SIZE, 1000):
                await socket.send_all(data.part(offset, 1000))
            socket.shutdown()
            await socket.recv()
        except SocketError as error:
            return error.errno_name
        return ""

    try:
        heard, said = net.run(server(), client(), until_ns=24 * HOUR)
    except TimeoutError:
        assert received == []  # nobody came
        return
    whole = data.part(0, SIZE)
    assert whole.startswith(b"".join(received))
    assert b"".join(received) == whole or heard
    assert said or b"".join(received) == whole

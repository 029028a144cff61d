"""Coroutine sockets between two hosts in lab time."""

from __future__ import annotations

import pytest

from nodes.base.clock import MILLISECOND, SECOND
from nodes.base.errors import Cancelled, SocketError
from nodes.sockets.datagram import DatagramSocket
from nodes.sockets.stream import REUSED, StreamSocket, connect, listen
from nodes.tcp import states
from tests.nodes.net import ip, pair, routed


def test_both_directions_half_close_and_end_of_file() -> None:
    net = pair()
    one, two = net.hosts["h1"].driver, net.hosts["h2"].driver

    async def client() -> list[bytes]:
        socket = await connect(one, ip("10.0.0.2"), 80)
        await socket.send_all(b"question")
        socket.shutdown()
        heard = [await socket.recv_exactly(6), await socket.recv(), await socket.recv()]
        socket.close()
        await socket.finished()
        return heard

    async def server() -> list[bytes]:
        listener = listen(two, 80)
        socket = await listener.accept()
        listener.close()
        heard = [await socket.recv_exactly(100)]
        await socket.send_all(b"answer and more")
        socket.close()
        await socket.closed()
        return heard

    assert net.run(client(), server()) == [[b"answer", b" and more", b""], [b"question"]]


def test_a_reader_and_a_writer_share_a_connection() -> None:
    net = pair()
    one, two = net.hosts["h1"].driver, net.hosts["h2"].driver
    size = 3_000_000
    sockets: list[StreamSocket] = []

    async def write(socket: StreamSocket) -> int:
        for _ in range(size // 1000):
            await socket.send_all(bytes(1000))
        socket.shutdown()
        return size

    async def read(socket: StreamSocket) -> int:
        total = 0
        while data := await socket.recv(5000):
            total += len(data)
        return total

    async def open_both() -> None:
        listener = listen(two, 80)
        sockets.append(await connect(one, ip("10.0.0.2"), 80))
        sockets.append(await listener.accept())

    net.run(open_both())
    a, b = sockets
    assert net.run(write(a), read(a), write(b), read(b)) == [size] * 4


def test_refused_and_no_answer() -> None:
    net = pair()
    driver = net.hosts["h1"].driver
    with pytest.raises(SocketError) as refused:
        net.run(connect(driver, ip("10.0.0.2"), 80))
    assert refused.value.errno_name == "ECONNREFUSED"
    net.cut.add("h2:0")
    with pytest.raises(SocketError) as silent:
        net.run(connect(driver, ip("10.0.0.2"), 80))
    assert silent.value.errno_name == "ETIMEDOUT"


def test_timeouts_are_of_lab_time_and_leave_the_connection_as_it_was() -> None:
    net = pair()
    one, two = net.hosts["h1"].driver, net.hosts["h2"].driver

    async def client() -> bytes:
        listener = listen(two, 80)
        with pytest.raises(TimeoutError, match="connection to accept on \\*:80"):
            await listener.accept(5 * MILLISECOND)
        assert net.scheduler.now() == 5 * MILLISECOND
        with pytest.raises(TimeoutError):
            await connect(one, ip("10.0.0.2"), 80, timeout_ns=3 * MILLISECOND)  # ARP and SYN-ACK take 4 ms
        server = await listener.accept()
        socket = await connect(one, ip("10.0.0.2"), 80)
        with pytest.raises(TimeoutError, match=r"data for connection \d+ from 10\.0\.0\.2:80"):
            await socket.recv(1, SECOND)
        server = await listener.accept()
        await server.send_all(b"late")
        return await socket.recv()

    assert net.run(client()) == [b"late"]


def test_a_blocked_sender_hears_of_the_reset() -> None:
    net = pair()
    one, two = net.hosts["h1"].driver, net.hosts["h2"].driver

    async def client() -> None:
        await (await connect(one, ip("10.0.0.2"), 80)).send_all(bytes(20_000_000))

    async def server() -> None:
        socket = await listen(two, 80).accept()
        await net.runner.sleep(SECOND)
        socket.abort()

    with pytest.raises(SocketError) as error:
        net.run(server(), client())
    assert error.value.errno_name == "ECONNRESET"


def test_closing_a_listener_wakes_who_waits_for_it() -> None:
    net = pair()
    listener = listen(net.hosts["h1"].driver, 80)

    async def later() -> None:
        await net.runner.sleep(SECOND)
        listener.close()

    with pytest.raises(SocketError, match="EBADF"):
        net.run(later(), listener.accept())


def test_a_cancelled_wait_does_not_take_the_data() -> None:
    net = pair()
    one, two = net.hosts["h1"].driver, net.hosts["h2"].driver

    async def scene() -> bytes:
        listener = listen(two, 80)
        socket = await connect(one, ip("10.0.0.2"), 80)
        server = await listener.accept()
        task = net.runner.spawn(0, "reader", socket.recv())
        await net.runner.sleep(SECOND)
        task.cancel()
        await server.send_all(b"data")
        data = await socket.recv()
        assert isinstance(task.error, Cancelled)
        return data

    assert net.run(scene()) == [b"data"]


def test_datagrams() -> None:
    net = routed()
    one, two = net.hosts["h1"].driver, net.hosts["h2"].driver

    async def scene() -> tuple[bytes, bytes]:
        server = DatagramSocket(two, 53)
        client = DatagramSocket(one)
        client.connect(ip("10.0.2.2"), 53)
        big = bytes(range(256)) * 20  # in fragments
        client.send_to(big)
        asked = await server.receive()
        assert (asked.data, asked.address, asked.port) == (big, ip("10.0.0.1"), client.port)
        server.send_to(b"answer", asked.address, asked.port)
        answer = await client.receive()
        server.close()
        client.send_to(b"too late")
        with pytest.raises(SocketError, match="ECONNREFUSED"):
            await client.receive()
        with pytest.raises(TimeoutError):
            await client.receive(SECOND)
        with pytest.raises(SocketError, match="EMSGSIZE"):
            client.send_to(bytes(65508))
        client.close()
        with pytest.raises(SocketError, match="EBADF"):
            client.send_to(b"")
        return asked.data[:2], answer.data

    assert net.run(scene()) == [(b"\x00\x01", b"answer")]


def test_udp_ports() -> None:
    driver = pair().hosts["h1"].driver
    first = DatagramSocket(driver, 53)
    with pytest.raises(SocketError, match="EADDRINUSE"):
        DatagramSocket(driver, 53, ip("10.0.0.1"))
    with pytest.raises(SocketError, match="EADDRNOTAVAIL"):
        DatagramSocket(driver, 54, ip("10.0.0.9"))
    first.close()
    DatagramSocket(driver, 53, ip("10.0.0.1"))
    with pytest.raises(SocketError, match="EDESTADDRREQ"):
        DatagramSocket(driver).send_to(b"")


def test_a_full_udp_buffer_drops() -> None:
    net = pair()
    one, two = net.hosts["h1"].driver, net.hosts["h2"].driver
    server = DatagramSocket(two, 53)
    client = DatagramSocket(one)
    for _ in range(100):
        client.send_to(bytes(60_000), ip("10.0.0.2"), 53)
        net.settle(SECOND)

    async def count() -> int:
        received = 0
        while True:
            try:
                await server.receive(SECOND)
            except TimeoutError:
                return received
            received += 1

    assert net.run(count()) == [3]
    assert net.hosts["h2"].counters()["UdpRcvbufErrors"] == 97


def test_low_water_mark() -> None:
    """socket(7) SO_RCVLOWAT: recv waits for so much, unless the time is over, less is asked for or no more comes."""
    net = pair()
    one, two = net.hosts["h1"].driver, net.hosts["h2"].driver

    async def client() -> None:
        socket = await connect(one, ip("10.0.0.2"), 80)
        for _ in range(4):
            socket.send(b"1234")
            await one.runner.sleep_until(one.now() + SECOND)
        socket.close()

    async def server() -> list[tuple[int, bytes]]:
        socket = await listen(two, 80).accept()
        socket.set_option("SO_RCVLOWAT", 8)
        heard = []
        for limit, timeout in ((100, 10 * SECOND), (3, 10 * SECOND), (100, SECOND // 2), (100, 10 * SECOND)):
            data = await socket.recv(limit, timeout)
            heard.append((two.now() // (SECOND // 4), data))
        return heard

    # Quarters of a second; what is sent comes 10 ms later at the latest.
    assert net.run(client(), server())[1] == [(4, b"12341234"), (8, b"123"), (10, b"4"), (16, b"1234")]


def test_linger() -> None:
    """socket(7) SO_LINGER: close waits until all is acknowledged, but not for ever; then it goes on by itself."""
    net = pair()
    one, two = net.hosts["h1"].driver, net.hosts["h2"].driver

    async def client(seconds: int) -> tuple[int, str]:
        socket = await connect(one, ip("10.0.0.2"), 80, options={"SO_LINGER": seconds, "SO_SNDBUF": 300_000})
        await socket.send_all(bytes(300_000))
        began = one.now()
        await socket.linger()
        return one.now() - began, states.STATE_NAMES[socket.connection.state]

    async def server(pause: int) -> int:
        listener = listen(two, 80, options=REUSED)
        socket = await listener.accept()
        listener.close()
        await two.runner.sleep_until(two.now() + pause)
        total = 0
        while data := await socket.recv():
            total += len(data)
        socket.close()
        return total

    (took, state), total = net.run(client(5), server(0))
    assert state in ("FIN-WAIT-2", "TIME-WAIT")
    assert (took < SECOND, total) == (True, 300_000)
    (took, state), total = net.run(client(2), server(4 * SECOND))
    assert (2 * SECOND <= took < 3 * SECOND, state, total) == (True, "FIN-WAIT-1", 300_000)


def test_a_write_that_waits_saves_the_ack_of_the_syn_ack() -> None:
    """Fast Open: what the SYN had no room for brings the ACK (Linux: sk_write_pending)."""
    net = pair()
    one, two = net.hosts["h1"].driver, net.hosts["h2"].driver
    one.stack.parameters.set("tcp_fastopen", 5)
    two.stack.parameters.set("tcp_fastopen", 0x203)

    async def client(size: int) -> int:
        socket = await connect(one, ip("10.0.0.2"), 80, options={"TCP_FASTOPEN_CONNECT": 1})
        await socket.send_all(bytes(size))
        await socket.established()
        return socket.connection.segs_out

    listener = listen(two, 80, options={"TCP_FASTOPEN": 4})
    assert net.run(client(2000)) == [2]  # the SYN with the first part, and the rest
    assert net.run(client(100)) == [2]  # the SYN with all of it, and an ACK
    listener.close()

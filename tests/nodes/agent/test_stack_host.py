"""The Host calls on our stack."""

from __future__ import annotations

import pytest

from nodes.agent.host import Readiness
from nodes.agent.payload import Payload
from nodes.base.clock import NEVER, SECOND
from nodes.base.errors import InvalidArgument, NotFound, SocketError
from tests.nodes.net import Net, ip, pair

H2 = ip("10.0.0.2")


def connected() -> tuple[Net, int, int]:
    """A pair, and the connection's number on h1 and h2."""
    net = pair()
    h1, h2 = net.hosts["h1"], net.hosts["h2"]
    listener = h2.listen(80)
    client, server = net.run(h1.open(H2, 80), h2.accept(listener))
    return net, client, server


def test_open_send_receive_shutdown_close() -> None:
    net, client, server = connected()
    h1, h2 = net.hosts["h1"], net.hosts["h2"]
    sent, received = net.run(h1.send(client, Payload.of(b"hello")), h2.receive(server, 100))
    assert (sent, received.data, received.eof) == (5, b"hello", False)
    h1.shutdown(client)
    (received,) = net.run(h2.receive(server, 100))
    assert (received.data, received.eof) == (b"", True)
    assert h2.readiness(server) == Readiness(True, True, True, "")
    h2.close(server)
    net.run(h2.closed(server))
    assert h1.status(client).state_name == "TIME-WAIT"
    h1.close(client)
    assert net.run(h1.closed(client)) == [None]
    assert (h1.status(client).state_name, h2.status(server).state_name) == ("CLOSED", "CLOSED")
    assert [one.number for one in h1.statuses() + h2.statuses()] == [client, server]


def test_readiness_and_waiting_for_it() -> None:
    net, client, server = connected()
    h1, h2 = net.hosts["h1"], net.hosts["h2"]
    assert h2.readiness(server) == Readiness(False, True, False, "")
    assert net.run(h2.wait_ready(server, read=True, write=True)) == [(False, True)]
    with pytest.raises(TimeoutError):
        net.run(h2.wait_ready(server, read=True, write=False, timeout_ns=SECOND))
    assert net.run(h2.wait_ready(server, read=True, write=False), h1.send(client, Payload.of(b"x")))[0] == (True, False)
    h1.abort(client)
    net.settle(SECOND)
    assert h2.readiness(server).error == "ECONNRESET"


def test_exact_receive_ends_early_at_end_of_file_only() -> None:
    net, client, server = connected()
    h1, h2 = net.hosts["h1"], net.hosts["h2"]

    async def drip() -> None:
        for _ in range(3):
            await h1.send(client, Payload.of(b"ab"))
            await net.runner.sleep(SECOND)
        h1.close(client)

    assert net.run(h2.receive(server, 5, 5), drip())[0].data == b"ababa"
    (rest,) = net.run(h2.receive(server, 5, 5))
    assert (rest.data, rest.eof) == (b"b", True)


def test_unknown_numbers_and_closed_connections() -> None:
    net, client, _ = connected()
    h1 = net.hosts["h1"]
    for call in (h1.close, h1.abort, h1.shutdown, h1.status, h1.readiness):
        with pytest.raises(NotFound, match="h1 has no connection 99"):
            call(99)
    with pytest.raises(NotFound, match="h1 has no listener 99"):
        h1.close_listener(99)
    with pytest.raises(NotFound):
        net.run(h1.receive(99, 1))
    h1.close(client)
    with pytest.raises(SocketError) as error:
        h1.close(client)
    assert error.value.errno_name == "EBADF"


def test_listeners_have_numbers_and_queues() -> None:
    net = pair()
    h1, h2 = net.hosts["h1"], net.hosts["h2"]
    first = h2.listen(80, backlog=5)
    second = h2.listen(81, H2)
    with pytest.raises(SocketError, match="EADDRINUSE"):
        h2.listen(81)
    net.run(h1.open(H2, 80))
    net.settle(SECOND)
    infos = h2.listeners()
    assert [(i.number, i.local_address, i.local_port, i.backlog, i.syn_queue, i.accept_queue) for i in infos] == [
        (first, b"", 80, 5, 0, 1),
        (second, H2, 81, 128, 0, 0),
    ]
    h2.close_listener(first)
    assert [info.number for info in h2.listeners()] == [second]
    net.settle(SECOND)
    assert h1.readiness(1).error == "ECONNRESET"


def test_options_and_parameters() -> None:
    net, client, _ = connected()
    h1 = net.hosts["h1"]
    h1.set_option(client, "TCP_NODELAY", 1)
    assert h1.get_option(client, "TCP_NODELAY") == 1
    with pytest.raises(InvalidArgument, match="TCP_NODELAY: 2 is not allowed"):
        h1.set_option(client, "TCP_NODELAY", 2)
    before = dict(h1.parameters())
    with pytest.raises(InvalidArgument, match="tcp_syn_retries"):
        h1.set_parameters({"ip_default_ttl": 9, "tcp_syn_retries": 1000})
    assert h1.parameters() == before
    h1.set_parameters({"tcp_syn_retries": 2, "profile": "rfc", "ip_forward": 1})
    h1.set_parameters({"profile": "linux"})
    assert (h1.parameters()["tcp_syn_retries"], h1.parameters()["ip_forward"]) == (6, 1)
    h1.set_parameters({"tcp_syn_retries": 2, "profile": "rfc", "ip_default_ttl": 9})
    assert (h1.parameters()["tcp_syn_retries"], h1.parameters()["tcp_msl_ms"]) == (2, 120_000)
    net.run(h1.ping(H2))
    assert [frame[22] for frame in net.sent_by("h1:0")][-1] == 9


def test_interfaces_count_frames() -> None:
    net, _, _ = connected()
    net.settle(SECOND)
    lo, eth0 = net.hosts["h1"].interfaces()
    frames = net.sent_by("h1:0")
    assert (lo.name, eth0.name, eth0.address, eth0.prefix_len, eth0.mtu) == ("lo", "eth0", ip("10.0.0.1"), 24, 1500)
    assert (eth0.counters["tx_packets"], eth0.counters["tx_bytes"]) == (len(frames), sum(map(len, frames)))
    assert eth0.counters["rx_packets"] == len(net.sent_by("h2:0"))


@pytest.mark.parametrize("field", ["count", "size", "ttl"])
def test_impossible_pings(field: str) -> None:
    net = pair()
    with pytest.raises(InvalidArgument, match=f"{field}: 100000 is not allowed"):
        net.run(net.hosts["h1"].ping(H2, **{field: 100000}))


def test_an_idle_host_asks_for_nothing() -> None:
    net, client, _ = connected()
    net.hosts["h1"].abort(client)
    net.settle(SECOND)
    assert net.scheduler.next_time() == NEVER

"""User calls of TCP: RFC 9293's, on any node."""

from __future__ import annotations

import hashlib
import os
import threading

import pytest

from tcplab.client import FailedPrecondition, InvalidArgument, NotFound, SocketError, Timeout
from tests.contract.under import MS, Pair

ACTIVE_CLOSE = ["SYN-SENT", "ESTABLISHED", "FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT", "CLOSED"]
PASSIVE_CLOSE = ["SYN-RECEIVED", "ESTABLISHED", "CLOSE-WAIT", "LAST-ACK", "CLOSED"]


def test_bytes_go_both_ways_and_the_close_is_orderly(pair: Pair) -> None:
    client, server = pair.connect()
    question, answer = os.urandom(3000), os.urandom(100_000)
    client.send(question)
    assert server.receive_exactly(3000) == question
    sending, receiving = server.start_send(answer), client.start_receive(100_000, at_least=100_000)
    _, received = pair.lab.wait(sending, receiving)
    assert received.received.data == answer
    assert received.received.sha256 == hashlib.sha256(answer).hexdigest()
    client.close()
    assert server.receive() == b""  # the FIN
    server.close()
    client.wait_state("CLOSED")
    for end, states in ((client, ACTIVE_CLOSE), (server, PASSIVE_CLOSE)):
        changes = pair.lab.trace("state", node=end.node, connection=end.number)
        assert [one["new"] for one in changes] == states


def test_half_close(pair: Pair) -> None:
    client, server = pair.connect()
    client.send(b"all there is")
    client.shutdown()
    assert (server.receive_exactly(100), server.state()) == (b"all there is", "CLOSE-WAIT")
    server.send(b"and the answer")
    assert client.receive() == b"and the answer"
    with pytest.raises(SocketError) as caught:
        client.send(b"more")
    assert (caught.value.errno_name, client.state()) == ("EPIPE", "FIN-WAIT-2")
    server.close()
    client.wait_state("TIME-WAIT")


def test_urgent_data_is_apart_from_the_stream(pair: Pair) -> None:
    """RFC 6093: whatever TCP a node has."""
    client, server = pair.connect()
    for one, other in ((client, server), (server, client)):
        one.send(b"abc")
        one.send(b"!", urgent=True)
        one.send(b"def")
        assert (other.receive_exactly(3), other.receive_urgent()) == (b"abc", b"!")
        assert other.receive_exactly(3) == b"def"
        with pytest.raises(Timeout):
            other.receive_urgent(timeout="100ms")
    client.close()
    assert server.receive_urgent() == b""


def test_a_send_says_whether_what_follows_may_share_its_segment(pair: Pair) -> None:
    """send(2): MSG_MORE holds a small segment back, without anything to follow until a timer, 200 ms or more; after
    MSG_EOR another begins even where TCP_CORK gathers."""
    client, server = pair.connect(TCP_NODELAY=1)
    before = pair.lab.now_ns()
    client.send(b"held", more=True)
    assert server.receive_exactly(4) == b"held"
    client.set_option("TCP_CORK", 1)
    client.send(b"end", end_of_record=True)
    client.send(b"next")
    client.set_option("TCP_CORK", 0)
    assert server.receive_exactly(7) == b"endnext"
    sent = [
        one
        for one in pair.lab.trace("segment", node="h1", connection=client.number, where={"length": ">= 1"})
        if one["direction"] == "SENT"
    ]
    assert [one["length"] for one in sent] == [4, 3, 4]
    assert sent[0].time_ns - before >= 200 * MS


def test_abort_is_a_reset(pair: Pair) -> None:
    client, server = pair.connect()
    waiting = server.start_receive()
    client.abort()
    with pytest.raises(SocketError) as caught:
        waiting.wait()
    assert (caught.value.errno_name, client.state(), server.state()) == ("ECONNRESET", "CLOSED", "CLOSED")


def test_nobody_listens(pair: Pair) -> None:
    with pytest.raises(SocketError) as caught:
        pair.h1.open("h2", pair.port())
    assert caught.value.errno_name == "ECONNREFUSED"


def test_nobody_answers(pair: Pair) -> None:
    pair.link.down()
    with pytest.raises(Timeout):
        pair.h1.open("h2", pair.port(), timeout="300ms")
    pair.link.up()


def test_a_listener_queues_and_says_how_much(pair: Pair) -> None:
    port = pair.port()
    listener = pair.h2.listen(port, backlog=5)
    clients = [pair.h1.open("h2", port) for _ in range(3)]
    pair.rtts(1)  # the last ACK is there
    (found,) = [one for one in pair.h2.listeners() if one.local_port == port]
    assert (found.backlog, found.accept_queue, found.syn_queue) == (5, 3, 0)
    numbers = [listener.accept().status().remote_port for _ in clients]
    assert numbers == [one.status().local_port for one in clients]
    listener.close()
    assert port not in [one.local_port for one in pair.h2.listeners()]
    pair.h2.listen(port)
    with pytest.raises(SocketError) as caught:
        pair.h2.listen(port)
    assert caught.value.errno_name == "EADDRINUSE"


def test_listeners_share_a_port(pair: Pair) -> None:
    """SO_REUSEPORT of socket(7): all must have it, and each has its part of the connections."""
    port = pair.port()
    listeners = [pair.h2.listen(port, options={"SO_REUSEPORT": 1}) for _ in range(2)]
    with pytest.raises(SocketError) as caught:
        pair.h2.listen(port)
    assert caught.value.errno_name == "EADDRINUSE"
    for _ in range(24):
        pair.h1.open("h2", port)
    pair.rtts(1)
    queues = [one.accept_queue for one in pair.h2.listeners() if one.local_port == port]
    assert (len(queues), sum(queues)) == (2, 24)
    assert min(queues) > 0
    for listener in listeners:
        listener.close()


def test_status_has_what_tcp_knows(pair: Pair) -> None:
    pair.link.update(delay="5ms")
    client, server = pair.connect()
    pair.transfer(client, server, 50_000)
    status = client.status()
    assert (status.local_address, status.remote_address) == (pair.h1.address(), pair.h2.address())
    assert (status.local_port, status.remote_port) == (server.status().remote_port, server.status().local_port)
    assert client.state() == "ESTABLISHED"
    assert server.status().bytes_received == 50_000
    assert status.rtt.ToNanoseconds() >= 10 * MS
    assert min(status.snd_mss, status.snd_cwnd, status.segs_out) > 0
    assert [one.name for one in pair.h1.connections()][-1] == client.name


def test_options(pair: Pair) -> None:
    client, _ = pair.connect(TCP_NODELAY=1)
    assert client.option("TCP_NODELAY") == "1"
    client.set_option("TCP_NODELAY", 0)
    assert client.option("TCP_NODELAY") == "0"
    for name, value in (("TCP_NONSENSE", 1), ("TCP_MAXSEG", "many")):
        with pytest.raises((InvalidArgument, SocketError)):
            client.set_option(name, value)


def test_linger(pair: Pair) -> None:
    """socket(7): close waits until all is acknowledged, for SO_LINGER's seconds; without it, for nothing."""
    for option, states in ((5, {"FIN-WAIT-2", "TIME-WAIT"}), (-1, {"FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT"})):
        client, server = pair.connect(SO_LINGER=option)
        client.send(b"the end")
        lingering = client.start_linger()
        assert lingering.wait().HasField("closed")
        assert client.state() in states
        assert server.receive(100, at_least=100) == b"the end"
        server.close()
        with pytest.raises(SocketError) as caught:
            client.linger()
        assert caught.value.errno_name == "EBADF"


def test_readiness(pair: Pair) -> None:
    client, server = pair.connect()
    ready = client.wait_ready(read=True, write=True)
    assert (ready.readable, ready.writable) == (False, True)
    waiting = server.start_wait_ready(read=True)
    assert not waiting.done()
    client.send(b"x")
    assert waiting.wait().ready.readable


def test_many_wait_at_once_and_one_can_be_cancelled(pair: Pair) -> None:
    client, server = pair.connect()
    port = pair.port()
    accepting = pair.h2.listen(port).start_accept()
    receiving = server.start_receive()
    accepting.cancel()
    assert accepting.message.name in [one.name for one in pair.lab.operations()]
    with pytest.raises(Exception, match=r"(?i)cancel"):
        accepting.wait()
    client.send(b"still there")
    assert receiving.wait().received.data == b"still there"


def test_threads_of_one_program_may_wait_for_each_other(pair: Pair) -> None:
    client, server = pair.connect()
    digests = []

    def receive() -> None:
        digests.append(server.receive_digest("1mb").sha256)

    receiving = threading.Thread(target=receive)
    receiving.start()
    client.send(pattern=b"x", length="1mb")
    receiving.join(60)
    assert digests == [hashlib.sha256(b"x" * (1 << 20)).hexdigest()]


def test_an_operation_has_its_own_timeout_in_lab_time(pair: Pair) -> None:
    _, server = pair.connect()
    before = pair.lab.now_ns()
    with pytest.raises(Timeout):
        server.receive(timeout="150ms")
    assert pair.lab.now_ns() - before >= 150 * MS
    assert server.state() == "ESTABLISHED"


def test_what_is_not_there_or_makes_no_sense(pair: Pair) -> None:
    with pytest.raises(NotFound):
        pair.h1.connection(10_000).status()
    with pytest.raises(NotFound, match="h1"):
        pair.lab.node("h9").listen(80)
    with pytest.raises(NotFound):
        pair.h1.open("h9", 80)
    for port in (0, 70_000):
        with pytest.raises(InvalidArgument):
            pair.h1.open("h2", port)
    client, _ = pair.connect()
    client.abort()
    with pytest.raises((SocketError, FailedPrecondition)):
        client.send(b"x")


def test_apps_are_such_users(pair: Pair) -> None:
    port = pair.port()
    sink = pair.lab.app("h2", "sink", port=port)
    bulk = pair.lab.app("h1", "bulk", name=f"bulk-{port}", to="h2", port=port, bytes=100_000)
    sent = bulk.wait()
    pair.rtts(1)  # so the sink has had its turn
    received = sink.results()
    assert (sent["sent_bytes"], received["received_bytes"]) == ("100000", "100000")
    assert sent["sent_sha256"] == received["received_sha256"]
    assert {sink.name, bulk.name} <= {one.name for one in pair.lab.apps()}
    sink.stop()
    assert sink.refresh().done
    with pytest.raises(InvalidArgument):
        pair.lab.app("h1", "no-such-app")

"""The BSD face between two live stacks, and programs of the standard library over it, unmodified."""

from __future__ import annotations

import errno
import gc
import http.client
import http.server
import os
import select
import selectors
import socket
import socketserver
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from nodes.live.bsd import Socket
from nodes.live.stack import LiveStack
from nodes.tcp import states
from tests.nodes.live.pair import live_pair

Pair = tuple[LiveStack, LiveStack]


@pytest.fixture
def nets() -> Iterator[Pair]:
    with live_pair() as pair:
        yield pair


def joined(nets: Pair, port: int = 80) -> tuple[Socket, Socket]:
    """A connection from h1 to h2, both ends."""
    with nets[1].create_server(("", port)) as server:
        client = nets[0].create_connection(("h2", port))
        return client, server.accept()[0]


def failing(call: Callable[[], Any]) -> int | None:
    """The errno a call fails with."""
    with pytest.raises(OSError) as failure:
        call()
    return failure.value.errno


def test_names_of_both_ends_and_half_close(nets: Pair) -> None:
    h1, h2 = nets
    with h2.create_server(("10.0.0.2", 80)) as server, h1.socket() as client:
        assert client.getsockname() == ("0.0.0.0", 0)
        client.connect(("h2", 80))
        accepted, peer = server.accept()
        with accepted:
            assert peer == accepted.getpeername() == client.getsockname()
            assert peer[0] == "10.0.0.1"
            assert client.getpeername() == accepted.getsockname() == ("10.0.0.2", 80)
            client.sendall(b"question")
            client.shutdown(socket.SHUT_WR)
            assert accepted.recv(100) == b"question"
            assert accepted.recv(100) == b""
            accepted.sendall(b"answer")
            accepted.close()
            assert client.recv(3) == b"ans"
            assert client.recv(100) == b"wer"
            assert client.recv(100) == b""
            assert failing(lambda: client.send(b"more")) == errno.EPIPE


def test_every_byte_of_a_long_transfer_in_both_directions(nets: Pair) -> None:
    ends = joined(nets)
    data = [os.urandom(1 << 20) * 3, os.urandom(1 << 20) * 3]

    def receive(end: Socket) -> bytes:
        parts = []
        while part := end.recv(100_000):
            parts.append(part)
        return b"".join(parts)

    def send(end: Socket, all_of_it: bytes) -> None:
        end.sendall(memoryview(all_of_it))
        end.shutdown(socket.SHUT_WR)

    with ThreadPoolExecutor() as pool, ends[0], ends[1]:
        sent = [pool.submit(send, *each) for each in zip(ends, data, strict=True)]
        received = [pool.submit(receive, end) for end in ends]
        assert [each.result() for each in received] == data[::-1]
        assert all(each.exception() is None for each in sent)


def test_errors_have_their_errno(nets: Pair) -> None:
    h1, _ = nets
    with h1.socket() as one:
        assert failing(lambda: one.send(b"x")) == errno.EPIPE
        assert failing(lambda: one.recv(1)) == errno.ENOTCONN
        assert failing(one.accept) == errno.EINVAL
        assert failing(one.getpeername) == errno.ENOTCONN
        assert failing(lambda: one.shutdown(socket.SHUT_WR)) == errno.ENOTCONN
        assert failing(lambda: one.bind(("10.0.0.9", 80))) == errno.EADDRNOTAVAIL
        assert failing(lambda: one.connect(("192.0.2.1", 80))) == errno.ENETUNREACH
        with pytest.raises(socket.gaierror):
            one.connect(("nobody", 80))
        with pytest.raises(ConnectionRefusedError):
            one.connect(("h2", 80))
        assert one.connect_ex(("h2", 80)) == errno.ECONNREFUSED
        assert failing(lambda: one.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)) == errno.ENOPROTOOPT
        assert failing(lambda: one.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 0)) == errno.EINVAL
    assert failing(lambda: one.send(b"x")) == errno.EBADF
    assert one.fileno() == -1
    assert failing(lambda: h1.socket(socket.AF_UNIX)) == errno.EAFNOSUPPORT
    assert failing(lambda: h1.socket(socket.AF_INET, socket.SOCK_DGRAM)) == errno.EPROTONOSUPPORT


def test_a_reset_is_told_once_and_then_it_is_the_end(nets: Pair) -> None:
    client, server = joined(nets)
    with client, server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        server.close()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        assert client.recv(1) == b""
        assert failing(lambda: client.send(b"x")) == errno.EPIPE
        assert failing(client.getpeername) == errno.ENOTCONN


def test_time_outs_and_calls_that_do_not_wait(nets: Pair) -> None:
    client, server = joined(nets)
    with client, server:
        client.settimeout(0.01)
        with pytest.raises(TimeoutError, match="timed out"):
            client.recv(1)
        server.send(b"abc")
        assert client.recv(1, socket.MSG_PEEK) == b"a"
        assert client.recv(2) == b"ab"
        client.setblocking(False)
        assert client.gettimeout() == 0
        assert client.recv(10) == b"c"
        with pytest.raises(BlockingIOError):
            client.recv(1)
        client.setblocking(True)
        with pytest.raises(BlockingIOError):
            client.recv(1, socket.MSG_DONTWAIT)
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            while True:
                client.send(bytes(10_000))
        client.settimeout(0.01)
        with pytest.raises(TimeoutError):
            client.sendall(bytes(1_000_000))


def test_the_rest_of_what_is_waited_for(nets: Pair) -> None:
    client, server = joined(nets)
    with client, server, ThreadPoolExecutor() as pool:
        whole = pool.submit(client.recv, 6, socket.MSG_WAITALL)
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in (b"ab", b"cd", b"ef", b"gh"):
            server.sendmsg([piece[:1], memoryview(piece)[1:]])
        assert whole.result() == b"abcdef"
        buffer = bytearray(5)
        assert client.recv_into(buffer) == 2
        assert buffer == b"gh\0\0\0"
        client.shutdown(socket.SHUT_RD)
        assert client.recv(1) == b""


def test_ports_are_kept_and_found_taken(nets: Pair) -> None:
    h1, h2 = nets
    with h2.socket() as one, h2.socket() as other:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind(("", 0))
        port = one.getsockname()[1]
        assert port
        assert failing(lambda: other.bind(("10.0.0.2", port))) == errno.EADDRINUSE
        one.listen()
        assert failing(lambda: other.bind(("", port))) == errno.EADDRINUSE
        client = h1.create_connection(("h2", port), source_address=("10.0.0.1", 1234))
        accepted, peer = one.accept()
        assert peer == ("10.0.0.1", 1234)
        one.close()
        # The accepted connection still has the port.
        assert failing(lambda: other.bind(("", port))) == errno.EADDRINUSE
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("", port))
        accepted.close()
        client.close()


def test_servers_that_share_a_port(nets: Pair) -> None:
    h1, h2 = nets
    with h2.create_server(("", 80), reuse_port=True) as one, h2.create_server(("", 80), reuse_port=True) as other:
        assert failing(lambda: h2.create_server(("", 80))) == errno.EADDRINUSE
        ends = [h1.create_connection(("h2", 80)) for _ in range(24)]
        came = {one.fileno(): 0, other.fileno(): 0}
        while sum(came.values()) < 24:
            for ready in select.select([one, other], [], [])[0]:
                ready.accept()[0].close()
                came[ready.fileno()] += 1
        assert min(came.values()) > 0  # 1 of 2**23 runs has all of them at one
        for end in ends:
            end.close()


def test_ipv6(nets: Pair) -> None:
    h1, h2 = nets
    with h2.create_server(("::", 80), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        assert server.getsockname() == ("::", 80, 0, 0)
        for family, address, seen in (
            (socket.AF_INET6, "fd00::2", "fd00::1"),
            (socket.AF_INET6, "h2", "fd00::1"),
            (socket.AF_INET6, "::ffff:10.0.0.2", "::ffff:10.0.0.1"),
            (socket.AF_INET, "h2", "::ffff:10.0.0.1"),
        ):
            with h1.socket(family) as client:
                client.connect((address, 80))
                client.sendall(b"x")
                accepted, peer = server.accept()
                with accepted:
                    assert (peer[0], peer[2:], accepted.family) == (seen, (0, 0), socket.AF_INET6)
                    assert accepted.recv(1) == b"x"
        with h2.socket() as four:
            assert failing(lambda: four.bind(("", 80))) == errno.EADDRINUSE
            assert failing(lambda: four.connect(("fd00::1", 80))) == errno.EAFNOSUPPORT
            assert failing(lambda: four.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)) == errno.ENOPROTOOPT
    with h2.create_server(("", 81), family=socket.AF_INET6) as only, h2.create_server(("", 81)) as beside:
        assert only.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1
        with h1.create_connection(("10.0.0.2", 81)), h1.create_connection(("fd00::2", 81)):
            for server, expected in ((beside, "10.0.0.1"), (only, "fd00::1")):
                accepted, peer = server.accept()
                accepted.close()
                assert peer[0] == expected
    with h1.socket(socket.AF_INET6) as only:
        only.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        assert failing(lambda: only.connect(("::ffff:10.0.0.2", 80))) == errno.ENETUNREACH


def test_options(nets: Pair) -> None:
    h1, h2 = nets
    with h2.socket() as server, h1.socket() as client:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        server.bind(("", 80))
        server.listen()
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 20_000)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
        # socket(7): twice what was set.
        assert client.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 40_000
        client.connect(("h2", 80))
        accepted, _ = server.accept()
        with accepted:
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == 3
        assert client.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16) == b"reno\0"
        assert client.info().congestion == "reno"
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 5))
        assert client.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8) == struct.pack("ii", 1, 5)
        assert client.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_STREAM
        assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 0
        assert server.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1


@pytest.mark.parametrize(("flags", "segments"), [(0, 2), (socket.MSG_MORE, 1), (socket.MSG_EOR, 2)])
def test_what_is_sent_is_continued_or_ends_a_record(nets: Pair, flags: int, segments: int) -> None:
    """send(2): MSG_MORE. MSG_EOR: nothing comes into a segment with the end of a record, TCP_CORK or not."""
    client, server = joined(nets)
    with client, server:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, int(flags == socket.MSG_EOR))
        client.sendall(bytes(100), flags)
        client.sendall(bytes(100))
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
        assert server.recv(200, socket.MSG_WAITALL) == bytes(200)
        assert client.info().data_segs_out == segments
        assert client.send(bytes(100), flags) == 100
        client.close()
        assert server.recv(200, socket.MSG_WAITALL) == bytes(100)


def test_close_lingers_until_the_peer_has_everything(nets: Pair) -> None:
    client, server = joined(nets)
    with client, server, ThreadPoolExecutor() as pool:
        # More than the peer's receive buffer takes: it must read before all can be acknowledged.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 30))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 300_000)
        client.sendall(bytes(250_000))
        closing = pool.submit(client.close)
        with pytest.raises(TimeoutError):
            closing.result(timeout=0.3)
        received = 0
        while part := server.recv(65536):
            received += len(part)
        closing.result()
        assert received == 250_000
        ended = nets[0].statuses()[-1]
        assert ended.state_name == "FIN-WAIT-2"


def test_readiness_for_select_poll_and_epoll(nets: Pair) -> None:
    h1, h2 = nets
    with h2.create_server(("", 80)) as server, h1.socket() as client, selectors.EpollSelector() as selector:

        def ready(timeout: float = 0) -> dict[str, int]:
            return {key.data: events for key, events in selector.select(timeout)}

        selector.register(server, selectors.EVENT_READ, "server")
        assert ready() == {}
        client.setblocking(False)
        with pytest.raises(BlockingIOError) as begun:
            client.connect(("h2", 80))
        assert begun.value.errno == errno.EINPROGRESS
        selector.register(client, selectors.EVENT_WRITE, "client")
        seen: dict[str, int] = {}
        while len(seen) < 2:
            seen |= ready(10)
        assert seen == {"server": selectors.EVENT_READ, "client": selectors.EVENT_WRITE}
        assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
        client.connect(("h2", 80))
        assert failing(lambda: client.connect(("h2", 80))) == errno.EISCONN
        accepted, _ = server.accept()
        with accepted:
            selector.modify(client, selectors.EVENT_READ | selectors.EVENT_WRITE, "client")
            assert ready() == {"client": selectors.EVENT_WRITE}
            accepted.send(b"ab")
            selector.modify(client, selectors.EVENT_READ, "client")
            assert ready(10) == {"client": selectors.EVENT_READ}
            assert client.recv(1) == b"a"
            assert ready() == {"client": selectors.EVENT_READ}
            assert client.recv(1) == b"b"
            assert ready() == {}
            selector.modify(client, selectors.EVENT_WRITE, "client")
            with pytest.raises(BlockingIOError):
                while True:
                    client.send(bytes(10_000))
            assert ready() == {}
            accepted.setblocking(False)
            while not ready():
                try:
                    accepted.recv(65536)
                except BlockingIOError:
                    ready(10)
        selector.unregister(client)


def test_a_refused_connection_makes_its_descriptor_ready(nets: Pair) -> None:
    with nets[0].socket() as client, selectors.EpollSelector() as selector:
        client.setblocking(False)
        assert client.connect_ex(("h2", 80)) == errno.EINPROGRESS
        selector.register(client, selectors.EVENT_WRITE)
        assert selector.select(10)
        assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED
        assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0


def test_files_keep_the_connection_open(nets: Pair) -> None:
    client, server = joined(nets)
    with server:
        file = client.makefile("rwb")
        client.close()
        file.write(b"line\n")
        file.flush()
        assert server.makefile("r").readline() == "line\n"
        assert server.info().state == states.ESTABLISHED
        file.close()
        assert server.recv(1) == b""
        assert client.fileno() == -1


def test_a_forgotten_socket_is_closed_with_a_warning(nets: Pair) -> None:
    client, server = joined(nets)
    with server:
        with pytest.warns(ResourceWarning, match="unclosed"):
            del client
            gc.collect()
        assert server.recv(1) == b""


def test_the_end_of_a_stack_delivers_what_was_closed_and_resets_the_rest() -> None:
    with live_pair() as (h1, h2), h2.create_server(("", 80)) as server:
        closed, open_ = h1.create_connection(("h2", 80)), h1.create_connection(("h2", 80))
        ends = [server.accept()[0], server.accept()[0]]
        closed.sendall(b"last words")
        closed.close()
        with ThreadPoolExecutor() as pool:
            waiting = pool.submit(open_.recv, 1)
            h1.close()
            assert failing(waiting.result) in (errno.ENETDOWN, errno.EBADF)
        assert ends[0].makefile("rb").read() == b"last words"
        with pytest.raises(ConnectionResetError):
            ends[1].recv(1)
        assert failing(lambda: open_.send(b"x")) == errno.ENETDOWN
        for end in (*ends, open_):
            end.close()
        h2.close(0)  # nobody is left to acknowledge its FIN


def test_sockets_of_a_stack_that_has_ended() -> None:
    with live_pair() as (h1, h2):
        h2.close(0)
        opening, unused = h1.socket(), h1.socket()
        opening.setblocking(False)
        assert opening.connect_ex(("h2", 80)) == errno.EINPROGRESS
        h1.close(0)
        with opening, unused, selectors.EpollSelector() as selector:
            selector.register(opening, selectors.EVENT_READ)
            assert selector.select(10)
            for call in (lambda: opening.recv(1), lambda: opening.connect(("h2", 80)), lambda: unused.bind(("", 80))):
                assert failing(call) == errno.ENETDOWN


class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[::-1])

    def log_message(self, *_: object) -> None:
        pass


def test_http_server_and_client_of_the_standard_library(nets: Pair) -> None:
    h1, h2 = nets
    server = http.server.ThreadingHTTPServer(("", 8080), Page, bind_and_activate=False)
    server.socket.close()
    server.socket = h2.socket()  # type: ignore[assignment]
    server.server_bind()
    server.server_activate()
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    try:
        client = http.client.HTTPConnection("h2", 8080)
        client._create_connection = h1.create_connection  # type: ignore[attr-defined]
        for size in (1, 100_000, 10):
            body = os.urandom(size)
            client.request("POST", "/", body)
            answer = client.getresponse()
            assert (answer.status, answer.read()) == (200, body[::-1])
        client.close()
        assert len(h1.statuses()) == 1, "persistent: one connection for all requests"
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


def test_socketserver(nets: Pair) -> None:
    class Upper(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            for line in self.rfile:
                self.wfile.write(line.upper())

    h1, h2 = nets
    with socketserver.ThreadingTCPServer(("", 7), Upper, bind_and_activate=False) as server:
        server.socket.close()
        server.socket = h2.socket()  # type: ignore[assignment]
        server.server_bind()
        server.server_activate()
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        with h1.create_connection(("h2", 7)) as client, client.makefile("rw") as file:
            file.write("a line\nand one more\n")
            file.flush()
            client.shutdown(socket.SHUT_WR)
            assert file.read() == "A LINE\nAND ONE MORE\n"
        server.shutdown()
        serving.join()


def test_shutdown_wakes_who_waits(nets: Pair) -> None:
    """SHUT_RD of a connection, and of a listener, as on Linux."""
    client, accepted = joined(nets)
    with client, accepted, nets[1].create_server(("", 81)) as listener, ThreadPoolExecutor() as pool:
        reading, peeking = pool.submit(accepted.recv, 1), pool.submit(accepted.recv, 1, socket.MSG_PEEK)
        accepting = pool.submit(listener.accept)
        accepted.shutdown(socket.SHUT_RD)
        assert (reading.result(60), peeking.result(60), accepted.recv(1)) == (b"", b"", b"")
        listener.shutdown(socket.SHUT_RDWR)
        assert failing(lambda: accepting.result(60)) == failing(listener.accept) == errno.EINVAL
        assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 0
        with nets[0].socket() as late:
            assert late.connect_ex(("h2", 81)) == errno.ECONNREFUSED


def test_a_descriptor_is_ready_from_the_first_look_on(nets: Pair) -> None:
    client, accepted = joined(nets)
    with client, accepted, nets[1].create_server(("", 81)) as listener, nets[0].create_connection(("h2", 81)) as other:
        assert select.select([], [client], [], 0) == ([], [client], [])
        accepted.shutdown(socket.SHUT_RD)
        assert select.select([accepted], [], [], 0) == ([accepted], [], [])
        listener.accept()[0].close()
        other.recv(1)
        assert select.select([other], [], [], 0) == ([other], [], [])


def test_what_has_come_is_not_lost_when_the_rest_does_not(nets: Pair) -> None:
    client, accepted = joined(nets)
    with client, accepted:
        accepted.settimeout(0.1)
        client.sendall(b"some")
        assert accepted.recv(9, socket.MSG_WAITALL) == b"some"
        client.sendall(b"more")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        accepted.recv(1, socket.MSG_PEEK)
        client.close()
        accepted.settimeout(None)
        assert accepted.recv(9, socket.MSG_WAITALL) == b"more"


def test_only_bytes_are_sent_and_only_what_fits_is_received(nets: Pair) -> None:
    client, accepted = joined(nets)
    with client, accepted:
        with pytest.raises(TypeError):
            client.send(5)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="too small"):
            accepted.recv_into(bytearray(2), 3)


def test_messages_of_a_connection(nets: Pair) -> None:
    """As Linux has it of TCP (tcp_sendmsg, tcp_recvmsg): addresses given are not looked at, none comes back."""
    client, accepted = joined(nets)
    nobody = ("192.0.2.1", 9)
    with client, accepted:
        assert client.sendto(b"ab", nobody) == 2
        assert client.sendto(b"cd", socket.MSG_DONTWAIT, nobody) == 2
        assert client.sendmsg([b"e", memoryview(b"f")], [], 0, nobody) == 2
        assert accepted.recvmsg(6, 100, socket.MSG_PEEK | socket.MSG_WAITALL) in [
            (b"abcdef"[:n], [], 0, None) for n in (2, 4, 6)
        ]
        assert accepted.recvmsg(3, 0, socket.MSG_WAITALL) == (b"abc", [], 0, None)
        buffers = bytearray(1), bytearray(4)
        client.sendall(b"gh")
        assert accepted.recvmsg_into(buffers, 0, socket.MSG_WAITALL) == (5, [], 0, None)
        assert [bytes(each) for each in buffers] == [b"d", b"efgh"]
        client.sendall(b"xyz")
        wide = bytearray(4)
        assert accepted.recvfrom_into(wide, 2) == (2, None)
        assert accepted.recvfrom_into(wide) == (1, None)
        assert wide == b"zy\0\0"
        assert failing(lambda: accepted.recvmsg_into([wide], 0, socket.MSG_DONTWAIT)) == errno.EAGAIN
        with pytest.raises(ValueError, match="nbytes is greater than the length of the buffer"):
            accepted.recvfrom_into(wide, 5)
        with pytest.raises(TypeError, match="2 or 3 arguments"):
            client.sendto(b"x")
        client.close()
        assert accepted.recvmsg(9) == (b"", [], 0, None)
    with nets[0].socket() as one:
        assert failing(lambda: one.sendto(b"x", nobody)) == errno.EPIPE
        assert failing(lambda: one.recvmsg(1)) == errno.ENOTCONN


def test_fast_open() -> None:
    """MSG_FASTOPEN connects and sends: at first for a cookie (RFC 7413 section 4.1), then with the data in the SYN."""
    with live_pair({"tcp_fastopen": 3}) as (h1, h2), h2.create_server(("", 80)) as server:
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 5)
        for timeout in (None, 0, None):
            with h1.socket() as one:
                one.settimeout(timeout)
                assert one.sendto(b"question", socket.MSG_FASTOPEN, ("h2", 80)) == 8
                with server.accept()[0] as accepted:
                    assert accepted.recv(8, socket.MSG_WAITALL) == b"question"
                    one.settimeout(None)
                    accepted.sendall(b"answer")
                    assert one.recv(6, socket.MSG_WAITALL) == b"answer"
        assert h1.counters()["TcpExtTCPFastOpenActive"] == 2
        with h1.create_connection(("h2", 80)) as one:
            assert failing(lambda: one.sendto(b"x", socket.MSG_FASTOPEN, ("h2", 80))) == errno.EISCONN
        with h1.socket() as one:
            assert failing(lambda: one.sendto(b"x", socket.MSG_FASTOPEN, ("h2", 81))) == errno.ECONNREFUSED
            assert failing(lambda: one.sendmsg([b"x"], [], socket.MSG_FASTOPEN)) == errno.EINVAL
        with h1.socket() as one:
            one.setblocking(False)
            nobody = ("10.0.0.9", 80)
            assert failing(lambda: one.sendto(b"x", socket.MSG_FASTOPEN, nobody)) == errno.EINPROGRESS


def test_options_of_ipv6_and_sockets_of_ipv4(nets: Pair) -> None:
    with nets[0].socket() as four, nets[0].socket(socket.AF_INET6) as six:
        for name in (socket.IPV6_TCLASS, socket.IPV6_UNICAST_HOPS, socket.IPV6_V6ONLY):
            assert failing(partial(four.setsockopt, socket.IPPROTO_IPV6, name, 1)) == errno.ENOPROTOOPT
            assert failing(partial(four.getsockopt, socket.IPPROTO_IPV6, name)) == errno.EOPNOTSUPP
            six.setsockopt(socket.IPPROTO_IPV6, name, 1)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_process_is_told_that_the_stack_is_not_there(nets: Pair) -> None:
    """Its thread is not, so nobody would answer."""
    client, accepted = joined(nets)
    with client, accepted:
        child = os.fork()
        if not child:
            try:
                os._exit(failing(lambda: client.send(b"x")) or 0)
            finally:
                os._exit(255)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == errno.ENETDOWN
        client.sendall(b"parent")
        assert accepted.recv(9) == b"parent"

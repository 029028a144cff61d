"""Programs that know nothing of us on nodes with our TCP, against others there and against the kernel's TCP."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest

from lab.backends.real.lab import RealLab
from nodes.base.errors import AlreadyExists
from tests.netns.programs import Programs, lab_for_programs, programs_of

pytestmark = pytest.mark.requires("root")

#: h1 10.0.0.1 and h2 10.0.0.2 are ours, l1 10.0.0.3 is the kernel's.
TEXT = "nodes: {h1: host, h2: host, l1: linux, s1: switch}\nlinks: [h1-s1, h2-s1, l1-s1]\n"

#: Sends back what comes, on every connection, from threads.
THREADED_ECHO = """
import socketserver
class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(65536):
            self.request.sendall(data)
class Server(socketserver.{kind}TCPServer):
    request_queue_size = 64
    allow_reuse_address = True
with Server(("", 7), Echo) as server:
    print("listens")
    server.serve_forever()
"""
#: Many at once, each with a text of its own.
THREADED_CLIENT = """
import socket, threading
def one(number):
    text = str(number).encode() * 5000
    with socket.create_connection(("h1", 7)) as connection:
        connection.sendall(text)
        connection.shutdown(socket.SHUT_WR)
        with connection.makefile("rb") as file:
            right[number] = file.read() == text
right = [False] * 20
threads = [threading.Thread(target=one, args=(number,)) for number in range(20)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(all(right))
"""
#: Says something urgent when it has heard something urgent, twice.
URGENT_SERVER = """
import select, socket
with socket.create_server(("", 7)) as server:
    print("listens")
    one, _ = server.accept()
urgent = select.poll()
urgent.register(one, select.POLLPRI)
urgent.poll()
assert one.recv(1, socket.MSG_OOB) == b"1"
one.sendall(b"abc")
one.send(b"!", socket.MSG_OOB)
one.sendall(b"def")
urgent.poll()
assert one.recv(1, socket.MSG_OOB) == b"2"
one.send(b"ab?", socket.MSG_OOB)
one.sendall(b"c")
one.recv(1)
"""
URGENT_CLIENT = """
import fcntl, select, socket, sys
def at_mark():
    return fcntl.ioctl(one, 0x8905, bytes(4)) != bytes(4)
def read(size):
    data = b""
    while len(data) < size:
        data += one.recv(size - len(data))
    return data
one = socket.create_connection((sys.argv[1], 7))
one.send(b"1", socket.MSG_OOB)
urgent = select.poll()
urgent.register(one, select.POLLPRI)
said = [bool(urgent.poll()), read(3), at_mark(), one.recv(1, socket.MSG_OOB), read(3)]
one.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
one.send(b"2", socket.MSG_OOB)
urgent.poll()
said += [read(2), at_mark(), read(2)]
print(*said)
one.close()
"""
ASYNC_ECHO = """
import asyncio
async def echo(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()
async def main():
    server = await asyncio.start_server(echo, port=7)
    print("listens on", *server.sockets[0].getsockname())
    await server.serve_forever()
asyncio.run(main())
"""
ASYNC_CLIENT = """
import asyncio, hashlib, os, sys
async def main():
    data = os.urandom(400_000)
    reader, writer = await asyncio.open_connection(sys.argv[1], 7)
    print(*writer.get_extra_info("peername"))
    async def send():
        writer.write(data)
        await writer.drain()
        writer.write_eof()
    sending = asyncio.create_task(send())
    print(hashlib.sha256(await reader.read()).digest() == hashlib.sha256(data).digest())
    await sending
    writer.close()
    try:
        await asyncio.open_connection(sys.argv[1], 8)
    except ConnectionRefusedError:
        print("refused")
asyncio.run(main())
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealLab]:
    with lab_for_programs(tmp_path_factory.mktemp("lab"), "programs", TEXT) as lab:
        yield lab


@pytest.fixture
def programs(lab: RealLab) -> Iterator[Programs]:
    with programs_of(lab) as programs:
        yield programs


def agents_descriptors(lab: RealLab, node: str) -> int:
    return len(list(Path(f"/proc/{lab.processes[node]}/fd").iterdir()))


# What the standard library does.


@pytest.mark.requires("curl")
def test_pythons_http_server_and_urllib_and_the_kernels_curl(programs: Programs, tmp_path: Path) -> None:
    data = os.urandom(300_000)
    (tmp_path / "file").write_bytes(data)
    server = programs.start("h1", "python3", "-u", "-m", "http.server", "80", "--directory", str(tmp_path))
    server.until("Serving HTTP")
    text = "import hashlib, urllib.request; print(hashlib.sha256(urllib.request.urlopen('http://h1/file').read()).hexdigest())"
    digest = hashlib.sha256(data).hexdigest()
    assert programs.python("h2", text).ok().strip() == digest
    assert programs.start("l1", "sh", "-c", "curl -s http://h1/file | sha256sum").ok().split()[0] == digest
    assert programs.start("h2", "sh", "-c", "curl -s http://h1/file | sha256sum").ok().split()[0] == digest
    assert programs.start("h2", "curl", "-sf", "http://h1/none").wait().code == 22
    server.until(r'10\.0\.0\.2 .*"GET /file')
    server.until(r'10\.0\.0\.3 .*"GET /file')


@pytest.mark.parametrize(("server", "client"), [("h1", "h2"), ("h1", "l1"), ("l1", "h2")])
def test_asyncio(programs: Programs, server: str, client: str) -> None:
    programs.python(server, ASYNC_ECHO).until("listens on")
    said = programs.python(client, ASYNC_CLIENT, server).ok().split()
    assert said == [programs.lab.addresses(server)[0], "7", "True", "refused"]


@pytest.mark.parametrize("kind", ["Threading", "Forking"])
def test_a_server_of_threads_or_forks_and_twenty_clients(programs: Programs, kind: str) -> None:
    programs.python("h1", THREADED_ECHO.replace("{kind}", kind)).until("listens")
    assert programs.python("h2", THREADED_CLIENT).ok() == "True\n"
    assert programs.python("l1", THREADED_CLIENT).ok() == "True\n"


@pytest.mark.parametrize(("server", "client"), [("h1", "h2"), ("h1", "l1"), ("l1", "h1")])
def test_urgent_data(programs: Programs, server: str, client: str) -> None:
    """MSG_OOB, POLLPRI, SIOCATMARK and SO_OOBINLINE of programs, as the kernel's TCP has them."""
    programs.python(server, URGENT_SERVER).until("listens")
    assert programs.python(client, URGENT_CLIENT, server).ok() == "True b'abc' True b'!' b'def' b'ab' True b'?c'\n"


@pytest.mark.requires("openssl")
@pytest.mark.parametrize("client", ["h2", "l1"])
def test_ssl(programs: Programs, tmp_path: Path, client: str) -> None:
    certificate = tmp_path / "certificate.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=h1", "-days", "2"]
    make += ["-addext", "subjectAltName=DNS:h1", "-out", str(certificate)]
    make += ["-keyout", str(certificate.with_suffix(".key"))]
    subprocess.run(make, check=True, capture_output=True)
    serve = """
import socket, ssl, sys
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
with context.wrap_socket(socket.create_server(("", 443)), server_side=True) as listener:
    print("listens")
    connection, peer = listener.accept()
    with connection:
        total = 0
        while data := connection.recv(65536):
            total += len(data)
            if total == 200_000:
                connection.sendall(f"{total} bytes from {peer[0]}".encode())
                connection.unwrap()
                break
"""
    ask = """
import socket, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[1])
with context.wrap_socket(socket.create_connection(("h1", 443)), server_hostname="h1") as connection:
    print(connection.version(), connection.getpeername())
    connection.sendall(bytes(200_000))
    print(connection.recv(100).decode())
"""
    programs.python("h1", serve, str(certificate), str(certificate.with_suffix(".key"))).until("listens")
    said = programs.python(client, ask, str(certificate)).ok().splitlines()
    assert said == ["TLSv1.3 ('10.0.0.1', 443)", f"200000 bytes from {programs.lab.addresses(client)[0]}"]


def test_a_connection_is_a_descriptor_that_other_programs_take_over(programs: Programs) -> None:
    serve = """
import socket, subprocess, sys
with socket.create_server(("", 7)) as listener:
    print("listens")
    connection, _ = listener.accept()
    with connection:
        subprocess.run(["cat"], stdin=connection, stdout=connection)
        adopt = f"s = socket.socket(fileno={connection.fileno()}); print(s.family.name, s.getpeername())"
        subprocess.run([sys.executable, "-c", "import socket; " + adopt], pass_fds=[connection.fileno()])
"""
    server = programs.python("h1", serve)
    server.until("listens")
    ask = (
        "import socket; s = socket.create_connection(('h1', 7)); s.sendall(b'to cat'); s.shutdown(1); print(s.recv(9))"
    )
    assert programs.python("h2", ask).ok() == "b'to cat'\n"
    assert server.ok().splitlines()[-1].startswith("AF_INET ('10.0.0.2', ")


# Errors are those of sockets.


def test_errors_are_those_of_sockets(programs: Programs) -> None:
    text = """
import errno, select, socket
def errno_of(call, *arguments):
    try:
        call(*arguments)
    except OSError as error:
        return errno.errorcode.get(error.errno, error.errno)
def tcp():
    return socket.socket()
print(errno_of(tcp().connect, ("h1", 9)))
print(errno_of(tcp().connect, ("10.0.0.99", 9)))
print(errno_of(tcp().connect, ("192.0.2.1", 9)))
print(errno_of(tcp().send, b"x"), errno_of(tcp().recv, 1), errno_of(tcp().getpeername), errno_of(tcp().accept))
print(errno_of(tcp().bind, ("10.0.0.1", 80)))
first = tcp()
first.bind(("", 80))
print(errno_of(tcp().bind, ("", 80)), first.getsockname())
one = tcp()
one.setblocking(False)
print(errno.errorcode[one.connect_ex(("h1", 9))])
print(select.select([], [one], [])[1] == [one], errno.errorcode[one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)])
late = tcp()
late.settimeout(0.1)
try:
    late.connect(("10.0.0.98", 9))
except TimeoutError as error:
    print("timed out:", error)
six = socket.socket(socket.AF_INET6)
print(errno_of(six.connect, ("fd00::9", 9)), errno_of(socket.socket, socket.AF_INET, socket.SOCK_RAW))
try:
    socket.create_connection(("h3", 80))
except socket.gaierror as error:
    print(error.errno == socket.EAI_NONAME, "h1, h2, l1" in str(error))
print(socket.gethostname(), socket.getfqdn("10.0.0.1"), socket.gethostbyname("l1"))
print(*socket.getaddrinfo("l1", "http")[0][4])
md5_signatures = 14  # of tcp(7)
print(errno_of(tcp().setsockopt, socket.IPPROTO_TCP, md5_signatures, 1))
"""
    assert programs.python("h2", text).ok().splitlines() == [
        "ECONNREFUSED",
        "EHOSTUNREACH",
        "ENETUNREACH",
        "EPIPE ENOTCONN ENOTCONN EINVAL",
        "EADDRNOTAVAIL",
        "EADDRINUSE ('0.0.0.0', 80)",
        "EINPROGRESS",
        "True ECONNREFUSED",
        "timed out: timed out",
        "ENETUNREACH EPROTONOSUPPORT",
        "True True",
        "h2 h1 10.0.0.3",
        "10.0.0.3 80",
        "ENOPROTOOPT",
    ]


LISTEN_ONCE = """
import socket, struct, sys
with socket.create_server(("", 7)) as listener:
    print("listens")
    one, _ = listener.accept()
"""


@pytest.mark.parametrize(("server", "client"), [("h1", "h2"), ("l1", "h2")])
def test_a_reset_is_told_once(programs: Programs, server: str, client: str) -> None:
    reset = LISTEN_ONCE + (
        "    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))\n"
        "    one.recv(4)\n"
        "    one.close()\n"
    )
    programs.python(server, reset).until("listens")
    ask = """
import socket, sys
one = socket.create_connection((sys.argv[1], 7))
one.sendall(b"data")
for call in (one.recv, one.recv):
    try:
        print(call(1))
    except OSError as error:
        print(type(error).__name__)
try:
    one.send(b"more")
except OSError as error:
    print(type(error).__name__)
"""
    assert programs.python(client, ask, server).ok().split() == ["ConnectionResetError", "b''", "BrokenPipeError"]


def test_a_close_with_unread_data_is_a_reset_and_another_is_not(programs: Programs) -> None:
    ask = """
import socket
one = socket.create_connection(("h1", 7))
one.sendall(b"data")
try:
    print(one.recv(10))
except OSError as error:
    print(type(error).__name__)
"""
    # It is in the program's descriptor, and not read from there.
    unread = "    one.recv(4, socket.MSG_PEEK)\n    one.close()\n"
    programs.python("h1", LISTEN_ONCE + unread).until("listens")
    assert programs.python("l1", ask).ok() == "ConnectionResetError\n"
    programs.python("h1", LISTEN_ONCE + "    one.recv(4)\n    one.close()\n").until("listens")
    assert programs.python("l1", ask).ok() == "b''\n"


def test_a_program_that_is_killed_leaves_what_a_kernel_would_leave(programs: Programs) -> None:
    lab = programs.lab
    before = agents_descriptors(lab, "h1")
    # In the middle of receiving, with something unread: RST, as the kernel's.
    victim = programs.python("h1", LISTEN_ONCE + "    one.recv(100_000, socket.MSG_WAITALL)\n    sys.stdin.read()\n")
    victim.until("listens")
    ask = """
import socket
one = socket.create_connection(("h1", 7))
try:
    while True:
        one.sendall(bytes(65536))
        print("sent")
except OSError as error:
    print(type(error).__name__)
"""
    sender = programs.python("l1", ask)
    sender.until("sent")
    victim.signal("KILL")
    assert victim.wait().code == 137
    assert sender.ok().split()[-1] == "ConnectionResetError"
    # All that it had written, and then FIN.
    victim = programs.python(
        "h1", LISTEN_ONCE + "    one.sendall(bytes(100_000))\n    print('written')\n    sys.stdin.read()\n"
    )
    victim.until("listens")
    receiver = programs.python(
        "l1",
        "import socket, sys; s = socket.create_connection(('h1', 7)); print('connected'); sys.stdin.read(1)\n"
        "print(len(s.makefile('rb').read()))",
    )
    victim.until("written")
    victim.signal("KILL")
    victim.wait()
    receiver.write(b"\n")
    assert receiver.ok().split() == ["connected", "100000"]
    # A listener that is killed is gone.
    victim = programs.python("h1", LISTEN_ONCE)
    victim.until("listens")
    victim.signal("KILL")
    victim.wait()
    assert programs.python("l1", "import socket; print(socket.socket().connect_ex(('h1', 7)))").ok() == "111\n"
    assert programs.start("h1", "ss", "-tlnH").ok() == ""
    programs.end()
    assert agents_descriptors(lab, "h1") == before


# What is sent together.

MARKED = """
import socket, time
def told(one, at):
    return int.from_bytes(one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 232)[at : at + 4], "little")
def segments(flags):
    # tcpi_data_segs_out; with tcpi_total_retrans, or when what waits has waited its 200 ms, the machine was too busy.
    one = socket.create_connection(("h1", 7))
    began = time.monotonic()
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, int(flags == socket.MSG_EOR))
    one.sendall(bytes(100), flags)
    while not flags and not told(one, 156):
        time.sleep(0.001)
    one.send(bytes(100))
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
    one.shutdown(socket.SHUT_WR)
    assert one.recv(10) == b"200"
    busy = told(one, 100) or flags and time.monotonic() - began > 0.2
    return segments(flags) if busy else told(one, 156)
for flags in (0, socket.MSG_MORE, socket.MSG_EOR):
    # Then more than any buffer takes at once.
    one = socket.create_connection(("h1", 7))
    one.sendall(bytes(1_000_000), flags)
    one.shutdown(socket.SHUT_WR)
    print({segments(flags) for _ in range(10)}, one.recv(10).decode())
"""
COUNT = """
import socket
listener = socket.create_server(("", 7))
print("listens", flush=True)
while True:
    one, _ = listener.accept()
    total = sum(len(data) for data in iter(lambda: one.recv(65536), b""))
    one.sendall(str(total).encode())
    one.close()
"""


def test_msg_more_and_msg_eor_reach_the_stack(programs: Programs) -> None:
    """On our nodes as on Linux: MSG_MORE joins two writes, MSG_EOR keeps them apart."""
    counter = programs.python("h1", COUNT)
    counter.until("listens")
    said = {node: programs.python(node, MARKED).ok().splitlines() for node in ("h2", "l1")}
    assert said["h2"] == said["l1"] == ["{2} 1000000", "{1} 1000000", "{2} 1000000"]
    counter.signal("KILL")
    counter.wait()


# Queues and windows are the stack's.


def test_nothing_is_taken_for_a_program_that_does_not_read(programs: Programs) -> None:
    serve = """
import socket, sys
with socket.socket() as listener:
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
    listener.bind(("", 7))
    listener.listen()
    print("listens")
    one, _ = listener.accept()
    sys.stdin.read(1)
    print(sum(len(data) for data in iter(lambda: one.recv(65536), b"")))
"""
    server = programs.python("h1", serve)
    server.until("listens")
    ask = """
import select, socket
one = socket.create_connection(("h1", 7))
one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32768)
one.setblocking(False)
total = 0
while select.select([], [one], [], 1)[1]:
    total += one.send(bytes(16384))
print("blocked after", total, flush=True)
one.setblocking(True)
one.sendall(bytes(100_000))
one.close()
print("all", total + 100_000)
"""
    sender = programs.python("h2", ask)
    # Two buffers of 32 KiB and what the two descriptors hold, not what there is to send.
    assert int(sender.until(r"blocked after (\d+)\n")[1]) < 1_000_000
    server.write(b"\n")
    total = sender.until(r"all (\d+)\n")[1]
    assert server.ok().split()[-1] == total


def test_the_accept_queue_is_the_stacks(programs: Programs) -> None:
    serve = """
import socket, sys
listener = socket.create_server(("", 7), backlog=1)
print("listens")
sys.stdin.read(1)
for _ in range(2):
    print(listener.accept()[1][0])
listener.setblocking(False)
try:
    listener.accept()
except BlockingIOError:
    print("no more")
"""
    server = programs.python("h1", serve)
    server.until("listens")
    ask = """
import socket
ones = [socket.socket() for _ in range(3)]
for one in ones:
    one.settimeout(0.4)
    try:
        one.connect(("h1", 7))
        print("connected", flush=True)
    except TimeoutError:
        print("no answer", flush=True)
input()
"""
    client = programs.python("h2", ask)
    client.until("no answer\n")
    assert client.out.split("\n") == ["connected", "connected", "no answer", ""]
    columns = programs.start("h1", "ss", "-tlnH").ok().split()
    assert columns[:4] == ["LISTEN", "2", "1", "0.0.0.0:7"]
    assert programs.lab.counters("h1")["TcpExtListenOverflows"] > 0
    server.write(b"\n")
    assert server.ok().split("\n")[1:3] == ["10.0.0.2", "10.0.0.2"]


def test_options_and_tcp_info(programs: Programs) -> None:
    programs.python("l1", LISTEN_ONCE + "    one.recv(1)\n").until("listens")
    text = """
import socket, struct
one = socket.socket()
one.connect(("l1", 7))
one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
one.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
info = one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
print(info[0], struct.unpack_from("I", info, 16)[0], one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
print(one.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\\0").decode())
print(one.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_STREAM, one.family.name, one.proto)
"""
    # 1: ESTABLISHED; an MSS of 1460 without the 12 bytes of time stamps.
    assert programs.python("h1", text).ok().split() == ["1", "1448", "1", "reno", "True", "AF_INET", "6"]


@pytest.mark.parametrize(("server", "client"), [("h1", "h2"), ("h1", "l1"), ("l1", "h2")])
def test_udp(programs: Programs, server: str, client: str) -> None:
    serve = """
import socket
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
one.bind(("", 53))
print("bound")
while True:
    data, peer = one.recvfrom(65535)
    one.sendto(data[::-1], peer)
"""
    programs.python(server, serve).until("bound")
    ask = """
import socket, sys
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
one.settimeout(10)
for data in (b"abc", b"", bytes(range(256)) * 20):
    one.sendto(data, (sys.argv[1], 53))
    back, peer = one.recvfrom(65535)
    print(back == data[::-1], peer[1])
one.connect((sys.argv[1], 54))
one.send(b"x")
try:
    one.recv(1)
except ConnectionRefusedError:
    print("refused")
try:
    one.send(bytes(70_000))
except OSError as error:
    print(error.strerror)
"""
    said = programs.python(client, ask, server).ok().split("\n")
    assert said == ["True 53", "True 53", "True 53", "refused", "Message too long", ""]


def test_a_namespace_has_one_door(lab: RealLab) -> None:
    from nodes.agent.door import Door
    from nodes.agent.stack_host import StackHost
    from nodes.base.events import EventSink
    from nodes.base.random import Randomness
    from nodes.base.real import RealScheduler
    from nodes.base.tasks import TaskRunner
    from nodes.stack import Stack
    from nodes.tcp.parameters import Parameters

    scheduler = RealScheduler(0)
    runner = TaskRunner(scheduler)
    stack = Stack("h1", Parameters(), Randomness(1), EventSink())
    host = StackHost(stack, scheduler, runner, 0, [], lambda name: b"")
    with lab.inside("h1"), pytest.raises(AlreadyExists, match="agent already"):
        Door(host, scheduler, runner, {})
    scheduler.close()


def test_whoever_speaks_nonsense_at_the_door_is_sent_away_and_nobody_else_notices(lab: RealLab) -> None:
    def door() -> socket.socket:
        with lab.inside("h1"):
            one = socket.socket(socket.AF_UNIX)
        one.settimeout(20)
        with lab.inside("h1"):
            one.connect("\0tcplab")
        return one

    def ask(one: socket.socket, message: object) -> Any:
        one.sendall(msgpack.packb(message))
        return msgpack.unpackb(one.recv(1 << 16))

    before = agents_descriptors(lab, "h1")
    for nonsense in (b"\xc1", b"\x07", msgpack.packb({"call": 7, "id": 1}), msgpack.packb(["id"]), os.urandom(100_000)):
        with door() as one, contextlib.suppress(OSError):
            one.sendall(nonsense)
            one.shutdown(socket.SHUT_WR)
            assert one.recv(1) == b""
    with door() as one:
        for call, arguments in (
            ("no-such-call", {}),
            ("bind", {}),
            ("bind", {"number": 1_000_000, "host": "", "port": 1}),
            ("socket", {"kind": "stream", "inode": 1, "owner": "me"}),
            ("resolve", {"name": "h9"}),
            ("echo", {"series": 3, "sequence": 1, "size": 1, "ttl": 1, "timeout_ns": 1}),
            ("send", {"connection": 1}),
        ):
            answer = ask(one, {"id": 5, "call": call, "args": arguments})
            assert answer["id"] == 5
            assert "error" in answer
        # A descriptor that is no socket; one that nobody asked for goes with the line.
        read, write = os.pipe()
        message = {"id": 6, "call": "socket", "args": {"kind": "stream", "family": 2, "inode": 1, "owner": "me"}}
        socket.send_fds(one, [msgpack.packb(message)], [read])
        assert "no socket" in msgpack.unpackb(one.recv(1 << 16))["error"]["message"]
        socket.send_fds(one, [msgpack.packb({"id": 7, "call": "counters"})], [read, write])
        assert "value" in msgpack.unpackb(one.recv(1 << 16))
        os.close(read)
        os.close(write)
    with door() as one:
        assert ask(one, {"id": 1, "call": "resolve", "args": {"name": "h2"}})["value"] == ["10.0.0.2"]
    with door() as one:
        # Until the agent has heard of the end of the others.
        for _ in range(100):
            ask(one, {"id": 1, "call": "counters"})
        assert agents_descriptors(lab, "h1") == before + 1

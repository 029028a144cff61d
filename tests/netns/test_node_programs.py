"""Programs that know nothing of us on nodes with our TCP, against others there and against the kernel's TCP."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from tests.netns.programs import LISTEN_ONCE, OURS_AND_LINUX, Programs

pytestmark = pytest.mark.requires("root")

TEXT = OURS_AND_LINUX

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
    assert programs.python("h1", text).ok().split() == ["1", "1448", "1", "reno", "True", "AF_INET", "0"]


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

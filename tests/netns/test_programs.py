"""Programs that know nothing of us, over the kernel's TCP, against programs over ours."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import http.client
import http.server
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from nodes.live import aio
from nodes.live.bsd import Socket
from nodes.live.stack import LiveStack
from tests.namespaces import Namespace, veth
from tests.netns import iperf
from tests.nodes.live.test_aio import fetch

OURS = "10.0.0.1"
THEIRS = "10.0.0.2"
#: Bytes that one side's buffers hold at most.
BUFFER = 131_072

pytestmark = pytest.mark.requires("root")


@dataclass
class Bench:
    """Our stack, a live one, and a namespace with the kernel's, on one wire."""

    net: LiveStack
    kernel: Namespace

    @contextlib.contextmanager
    def program(self, *command: str, **how: object) -> Iterator[subprocess.Popen[bytes]]:
        """Run a program over the kernel's stack; it ends with the block, or with this process."""
        path = shutil.which(command[0])
        assert path is not None
        how = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | how
        wrapped = ["setpriv", "--pdeathsig", "KILL", path, *command[1:]]
        process: subprocess.Popen[bytes] = self.kernel.call(subprocess.Popen, wrapped, **how)
        with process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.send_signal(signal.SIGKILL)

    def run(self, *command: str, **how: object) -> bytes:
        """What a program says on its standard output; it must end well."""
        with self.program(*command, **how) as process:
            out, error = process.communicate(timeout=60)
            assert process.returncode == 0, (out, error)
            return out


@pytest.fixture
def bench() -> Iterator[Bench]:
    ours, theirs = Namespace(), Namespace()
    try:
        veth(ours, theirs)
        theirs.address("eth0", THEIRS, 24)
        theirs.sysctl("net.ipv4.tcp_rmem", f"4096 {BUFFER} {BUFFER}")
        parameters = {"tcp_rmem": BUFFER, "tcp_wmem": BUFFER}
        with ours.call(LiveStack, "eth0", f"{OURS}/24", hosts={"nginx": THEIRS}, parameters=parameters) as net:
            yield Bench(net, theirs)
    finally:
        ours.close()
        theirs.close()


def wait_for_line(process: subprocess.Popen[bytes], stream: str, word: bytes) -> None:
    """Read a program's output up to the line with `word` in it."""
    file = getattr(process, stream)
    seen = b""
    while word not in (line := file.readline()):
        assert line, f"it ended with {seen!r}"
        seen += line


# iperf3


@pytest.mark.requires("iperf3")
@pytest.mark.parametrize("reverse", [False, True], ids=["ours-sends", "ours-receives"])
def test_iperf3_server(bench: Bench, reverse: bool) -> None:
    size = 20 * iperf.BLOCK
    with bench.program("iperf3", "-s", "-1", "-B", THEIRS, "--forceflush") as server:
        wait_for_line(server, "stdout", b"listening")
        count, report = iperf.client(bench.net, (THEIRS, 5201), size, reverse)
        out, error = server.communicate(timeout=10)
    assert (server.returncode, error) == (0, b"")
    assert f"connected to {OURS} port".encode() in out
    reported = report["streams"][0]["bytes"]
    if reverse:
        assert size <= count <= reported
    else:
        assert count - 3 * BUFFER <= reported <= count == size


@pytest.mark.requires("iperf3")
@pytest.mark.parametrize("reverse", [False, True], ids=["ours-receives", "ours-sends"])
def test_iperf3_client(bench: Bench, reverse: bool) -> None:
    size = 20 * iperf.BLOCK
    with bench.net.create_server((OURS, 5201)) as listener, ThreadPoolExecutor() as pool:
        serving = pool.submit(iperf.serve_one, listener)
        command = ["iperf3", "-c", OURS, "-J", "-n", str(size), "-l", str(iperf.BLOCK), *(["-R"] if reverse else [])]
        end = json.loads(bench.run(*command))["end"]
        count, report = serving.result(10)
    assert report["streams"][0]["bytes"] == end["streams"][0]["receiver" if reverse else "sender"]["bytes"]
    assert end["sum_received"]["bytes"] >= size
    assert end["sum_received" if not reverse else "sum_sent"]["bytes"] == count


# HTTP


class Files(http.server.BaseHTTPRequestHandler):
    """GET gives the bytes of a file, POST their digest."""

    protocol_version = "HTTP/1.1"
    body = os.urandom(3_000_000)

    def do_GET(self) -> None:
        self._answer(self.body)

    def do_POST(self) -> None:
        self._answer(hashlib.sha256(self.rfile.read(int(self.headers["Content-Length"]))).hexdigest().encode())

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def http_server(net: LiveStack) -> Iterator[None]:
    """http.server of the standard library on port 8080 of our stack."""
    server = http.server.ThreadingHTTPServer(("", 8080), Files, bind_and_activate=False)
    server.socket.close()
    server.socket = net.socket()  # type: ignore[assignment]
    server.server_bind()
    server.server_activate()
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    try:
        yield
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


@pytest.mark.requires("curl")
def test_curl_gets_and_posts(bench: Bench, tmp_path: Path) -> None:
    upload = tmp_path / "upload"
    upload.write_bytes(os.urandom(3_000_000))
    url = f"http://{OURS}:8080/"
    with http_server(bench.net):
        assert bench.run("curl", "-sS", "--fail", url) == Files.body
        digest = bench.run("curl", "-sS", "--fail", "-H", "Expect:", "--data-binary", f"@{upload}", url)
        assert digest.decode() == hashlib.sha256(upload.read_bytes()).hexdigest()
        # Two requests in one connection.
        accepted = len(bench.net.statuses())
        assert bench.run("curl", "-sS", "--fail", url, url) == 2 * Files.body
        assert len(bench.net.statuses()) == accepted + 1


NGINX = """
daemon off;
master_process off;
pid {home}/pid;
error_log stderr notice;
events {{}}
http {{
    access_log off;
    keepalive_timeout 60;
    client_body_temp_path {home}/1;
    proxy_temp_path {home}/2;
    fastcgi_temp_path {home}/3;
    uwsgi_temp_path {home}/4;
    scgi_temp_path {home}/5;
    server {{
        listen {address}:80;
        root {home};
    }}
}}
"""


@contextlib.contextmanager
def nginx(bench: Bench, home: Path) -> Iterator[bytes]:
    """nginx serving `file` in `home`, whose bytes are given."""
    body = os.urandom(3_000_000)
    (home / "file").write_bytes(body)
    config = home / "nginx.conf"
    config.write_text(NGINX.format(home=home, address=THEIRS))
    with bench.program("nginx", "-e", "stderr", "-p", str(home), "-c", str(config)) as server:
        # Its sockets listen before it says how it waits for events.
        wait_for_line(server, "stderr", b"event method")
        yield body


@pytest.mark.requires("nginx")
def test_http_client_against_nginx(bench: Bench, tmp_path: Path) -> None:
    with nginx(bench, tmp_path) as body:
        client = http.client.HTTPConnection("nginx", timeout=30)
        client._create_connection = bench.net.create_connection  # type: ignore[attr-defined]
        for path, status in (("/file", 200), ("/nothing", 404), ("/file", 200)):
            client.request("GET", path)
            answer = client.getresponse()
            received = answer.read()
            assert answer.status == status
            assert status != 200 or received == body
        client.close()
        assert len(bench.net.statuses()) == 1, "one connection, kept alive"


@pytest.mark.requires("nginx")
def test_asyncio_against_nginx(bench: Bench, tmp_path: Path) -> None:
    async def get(path: str) -> tuple[int, bytes]:
        return await fetch(await aio.open_connection(bench.net, "nginx", 80), path)

    async def main() -> None:
        answers = await asyncio.gather(get("/file"), get("/nothing"), get("/file"))
        assert [status for status, _ in answers] == [200, 404, 200]
        assert answers[0][1] == answers[2][1] == body

    with nginx(bench, tmp_path) as body:
        asyncio.run(main())


# nc, with half-close


def whole(one: Socket) -> bytes:
    return b"".join(iter(lambda: one.recv(65536), b""))


@pytest.mark.requires("nc")
def test_nc_asks_and_half_closes(bench: Bench) -> None:
    question, answer = os.urandom(500_000), os.urandom(500_000)
    with (
        bench.net.create_server(("", 7)) as listener,
        ThreadPoolExecutor() as pool,
        bench.program("nc", "-nN", OURS, "7", stdin=subprocess.PIPE) as process,
    ):
        told = pool.submit(process.communicate, question, 30)
        accepted, peer = listener.accept()
        assert peer[0] == THEIRS
        assert whole(accepted) == question
        # Its FIN has come, ours has not gone.
        assert accepted.info().state_name == "CLOSE-WAIT"
        accepted.sendall(answer)
        accepted.close()
        assert told.result() == (answer, b"")
        assert process.returncode == 0


@pytest.mark.requires("nc")
def test_we_half_close_and_nc_goes_on(bench: Bench) -> None:
    question, answer = os.urandom(500_000), os.urandom(500_000)
    with (
        bench.net.create_server(("", 7)) as listener,
        bench.program("nc", "-nN", OURS, "7", stdin=subprocess.PIPE) as process,
    ):
        stdin, stdout = process.stdin, process.stdout
        assert stdin is not None and stdout is not None

        def tell() -> None:
            stdin.write(answer)
            stdin.close()

        accepted, _ = listener.accept()
        with accepted, ThreadPoolExecutor() as pool:
            heard = pool.submit(stdout.read, len(question))
            accepted.sendall(question)
            accepted.shutdown(socket.SHUT_WR)
            assert heard.result(30) == question
            assert accepted.info().state_name in ("FIN-WAIT-1", "FIN-WAIT-2")
            told = pool.submit(tell)
            assert whole(accepted) == answer
            assert accepted.info().state_name == "TIME-WAIT"
            told.result()
        assert process.wait(30) == 0


@pytest.mark.requires("nc")
def test_we_ask_nc_which_half_closes(bench: Bench) -> None:
    question, answer = os.urandom(500_000), os.urandom(500_000)
    with (
        ThreadPoolExecutor() as pool,
        bench.program("nc", "-nv", "-l", "-N", THEIRS, "7", stdin=subprocess.PIPE) as process,
    ):
        wait_for_line(process, "stderr", b"Listening")
        with bench.net.create_connection((THEIRS, 7)) as client:
            told = pool.submit(process.communicate, answer, 30)
            assert whole(client) == answer
            assert client.info().state_name == "CLOSE-WAIT"
            client.sendall(question)
        assert told.result()[0] == question
        assert process.returncode == 0
        assert client.info().state_name in ("LAST-ACK", "CLOSED")

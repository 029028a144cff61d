"""Programs whose node ends before them."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from lab.backends.real.lab import RealLab
from tests.netns.programs import Programs

pytestmark = pytest.mark.requires("root")

TEXT = "nodes: {h1: host, h2: host}\nlinks: [h1-h2]\n"

#: Servers that go on after every OSError, as socketserver's do, and hear no hangup.
DEAF = {
    "stream": """
import signal, socketserver
signal.signal(signal.SIGHUP, signal.SIG_IGN)
with socketserver.TCPServer(("", 7), socketserver.BaseRequestHandler) as server:
    print("serves")
    server.serve_forever()
""",
    "datagram": """
import signal, socket
signal.signal(signal.SIGHUP, signal.SIG_IGN)
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
one.bind(("", 7))
print("serves")
while True:
    try:
        one.recv(1)
    except OSError:
        pass
""",
}


def test_servers_end_with_their_node(lab: RealLab, tmp_path: Path) -> None:
    """Whatever they do about errors: without its node there is no network, and they would ask for ever."""
    last_words = []
    for kind, text in DEAF.items():
        os.mkfifo(tmp_path / kind)
        last_words.append(os.open(tmp_path / kind, os.O_RDONLY | os.O_NONBLOCK))
        serving = Programs(lab).start("h1", "sh", "-c", f"exec python3 -uc '{text}' 2> {tmp_path / kind}")
        serving.until("serves")
    os.kill(lab.processes["h1"], signal.SIGKILL)
    for end in last_words:
        os.set_blocking(end, True)
        with os.fdopen(end) as file:
            # To its end, which is that of the program.
            assert file.read() == "the agent of this tcplab node has ended, and so does this program\n"

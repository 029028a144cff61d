"""Programs whose node ends before them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from lab.backends.real.lab import RealLab
from nodes import shims

pytestmark = pytest.mark.requires("root")

TEXT = "nodes: {h1: host, h2: host}\nlinks: [h1-h2]\n"

#: Servers that go on after every OSError, as socketserver's do.
DEAF = {
    "stream": """
import socketserver
with socketserver.TCPServer(("", 7), socketserver.BaseRequestHandler) as server:
    print("serves")
    server.serve_forever()
""",
    "datagram": """
import socket
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


@pytest.mark.parametrize("kind", DEAF)
def test_a_server_ends_with_its_node(lab: RealLab, kind: str) -> None:
    """Whatever it does about errors: without its node there is no network, and it would ask for ever."""
    node = {"stream": "h1", "datagram": "h2"}[kind]
    with lab.inside(node):
        # Not among the node's own programs, which are killed with it: as on a Mininet host, or in a container.
        server = subprocess.Popen(
            [sys.executable, "-uc", DEAF[kind]],
            env=shims.environment(os.environ["PATH"]),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    with server:
        assert server.stdout is not None
        assert server.stdout.readline() == "serves\n"
        os.kill(lab.processes[node], signal.SIGKILL)
        said = server.communicate(timeout=60)[1]
        assert (said, server.returncode) == ("the agent of this tcplab node has ended, and so does this program\n", 1)

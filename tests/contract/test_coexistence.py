"""A lab beside Docker, in one network namespace, with the firewall that Docker has: neither disturbs the other.

The namespace is that of a private daemon (tests/dockerd.py), and the controller is started in it.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from lab.backends.catalogue import REAL
from lab.fabric.namespaces import Namespace
from tcplab.client import Controller
from tests.contract.conftest import marked
from tests.contract.under import Under
from tests.dockerd import Dockerd
from tests.server.api import Api, Server

pytestmark = pytest.mark.requires("docker")

#: A switch is what Docker's firewall would get at: a bridge in its namespace.
LAN: Final = """
nodes: {h1: host, h2: host, h3: linux, s1: switch}
links: [{endpoints: h1-s1, delay: 1ms}, h2-s1, h3-s1]
"""
BRIDGE_NF: Final = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
ECHO: Final = """
import socket
listener = socket.create_server(("", 7))
while True:
    connection = listener.accept()[0]
    while data := connection.recv(65536):
        connection.sendall(data)
"""
#: Tells how many exchanges went well; ends when one does not.
TALK: Final = """
import os, socket, sys, time
connection = None
while connection is None:
    try:
        connection = socket.create_connection((sys.argv[1], 7), timeout=5)
    except OSError:
        time.sleep(0.05)
while True:
    data = os.urandom(3000)
    connection.sendall(data)
    back = b""
    while len(back) < len(data):
        back += connection.recv(65536)
    assert back == data
    print("good", flush=True)
    time.sleep(0.02)
"""


@pytest.fixture(scope="module")
def place(dockerd: Dockerd) -> Iterator[Namespace]:
    """The daemon's network namespace. Docker's firewall drops what is forwarded, bridged frames too."""
    place = Namespace.of(dockerd.pid)
    with place.entered():
        subprocess.run(["iptables", "-P", "FORWARD", "DROP"], check=True)
        BRIDGE_NF.write_text("1")
    yield place
    place.close()


@contextmanager
def talking_containers(dockerd: Dockerd) -> Iterator[str]:
    """Two containers on a bridge of Docker's, one of which talks to the other all the time; its name."""
    base = dockerd.load_base()
    dockerd.docker("network", "create", "beside")
    try:
        network = ("--detach", "--network=beside")
        server = dockerd.docker("run", *network, base, "python3", "-c", ECHO).strip()
        address = dockerd.docker(
            "inspect", "--format={{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", server
        ).strip()
        client = dockerd.docker("run", *network, base, "python3", "-c", TALK, address).strip()
        try:
            yield client
        finally:
            dockerd.docker("rm", "--force", client)
            dockerd.docker("rm", "--force", server)
    finally:
        dockerd.docker("network", "rm", "beside")


def exchanges(dockerd: Dockerd, client: str) -> int:
    """How many went well so far. It must be running."""
    assert dockerd.docker("inspect", "--format={{.State.Running}}", client).strip() == "true"
    return dockerd.docker("logs", client).count("good")


def until_more(dockerd: Dockerd, client: str, than: int) -> int:
    """How many they are as soon as there are more."""
    while (now := exchanges(dockerd, client)) <= than:
        pass
    return now


def facts(place: Namespace) -> dict[str, object]:
    """The firewall, settings, interfaces and bridges of a namespace."""
    with place.entered():
        rules = {
            program: re.sub(
                r"\[\d+:\d+\]|^#.*$", "", subprocess.run([program], capture_output=True, text=True, check=True).stdout,
                flags=re.MULTILINE,
            )
            for program in ("iptables-save", "ip6tables-save")
        }  # fmt: skip
        settings = {
            str(path): path.read_bytes()
            for path in Path("/proc/sys/net").rglob("*")
            if path.is_file()
            and path.stat().st_mode & 0o400
            and path.name not in ("stable_secret", "nf_conntrack_count")
        }
        links = subprocess.run(["ip", "-brief", "link"], capture_output=True, text=True, check=True).stdout
        bridges = subprocess.run(["bridge", "link"], capture_output=True, text=True, check=True).stdout
    return {**rules, "settings": settings, "links": sorted(links.splitlines()), "bridges": sorted(bridges.splitlines())}


@pytest.mark.parametrize("backend", [marked(name) for name in REAL])
def test_a_lab_and_a_container_network_beside_each_other(
    backend: str,
    place: Namespace,
    dockerd: Dockerd,
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    if backend == "docker":
        request.getfixturevalue("tcplab_image")
    with talking_containers(dockerd) as client:
        count = until_more(dockerd, client, 0)
        with place.entered():  # whoever is started here is there
            server = Server(tmp_path_factory.mktemp("co"), DOCKER_HOST=dockerd.environment["DOCKER_HOST"])
        assert Path(f"/proc/{server.process.pid}/ns/net").readlink() == Path(f"/proc/{dockerd.pid}/ns/net").readlink()
        before = facts(place)
        assert ":FORWARD DROP" in str(before["iptables-save"])
        assert BRIDGE_NF.name in "".join(str(before["settings"]))
        with Controller(server.address) as controller:
            under = Under(backend, server, controller, Api(server.address), dockerd if backend == "docker" else None)
            with under.lab(LAN) as lab:
                for one, other in (("h1", "h2"), ("h1", "h3"), ("h3", "h2")):
                    assert lab.node(one).ping(other, 3, interval="10ms", timeout="5s").received == 3
                    listener = lab.node(other).listen(80)
                    opened = lab.node(one).open(other, 80)
                    accepted = listener.accept()
                    sending = opened.start_send(pattern=b"tcplab", length=200_000)
                    receiving = accepted.start_receive(200_000, at_least=200_000, digest_only=True)
                    _, received = lab.wait(sending, receiving)
                    assert received.received.sha256 == hashlib.sha256((b"tcplab" * 33_334)[:200_000]).hexdigest()
                    listener.close()
                during = facts(place)
                assert during["iptables-save"] == before["iptables-save"]
                assert during["links"] == before["links"]  # nothing of a lab is in Docker's namespace
                count = until_more(dockerd, client, count)  # both are at it
            until_more(dockerd, client, count)
        assert server.stop() == 0
        assert facts(place) == before
        assert server.processes() == []

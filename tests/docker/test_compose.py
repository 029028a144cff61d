"""docker-compose.yml, as who has cloned the repository and has only Docker uses it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.dockerd import ROOT, Dockerd

pytestmark = pytest.mark.requires("docker", "compose", "openssl")

COMPOSE: Final = ["docker-compose"] if shutil.which("docker-compose") else ["docker", "compose"]
FILES: Final = ("docker-compose.yml", ".env", "experiments")
#: What docs/compose.md promises, once the image is there.
READY_WITHIN_S: Final = 60

OWN_TOPOLOGY: Final = """
nodes:
  h1: host
  h2: host
  r1: router
  web: {kind: linux, container: {image: tcplab}}
links: [h1-r1, h2-r1, r1-web]
"""


@dataclass
class Project:
    """A checkout, and the daemon that runs what its docker-compose.yml says."""

    daemon: Dockerd
    directory: Path

    def __call__(self, *arguments: str, **environment: str) -> str:
        """What a command of compose prints. Raises AssertionError when it fails."""
        return self.daemon.run(*COMPOSE, *arguments, cwd=self.directory, **environment)

    def up(self, **environment: str) -> None:
        """Bring it up; returns when the lab is networked."""
        for arguments in (("up", "-d"), ("run", "--rm", "-T", "cli", "labs", "--ready")):
            subprocess.run(
                [*COMPOSE, *arguments],
                cwd=self.directory,
                env={**self.daemon.environment, **environment},
                check=True,
                timeout=READY_WITHIN_S,
            )

    def exec(self, service: str, *command: str) -> str:
        return self("exec", "-T", service, *command)

    def inspect(self, service: str) -> Any:
        (found,) = json.loads(self.daemon.docker("inspect", self("ps", "-q", service).strip()))
        return found

    def labs(self, **environment: str) -> Any:
        return json.loads(self("run", "--rm", "-T", "cli", "labs", "--json", **environment))

    def access(self, directory: Path) -> Sequence[str]:
        """What a client outside needs, got as docs/compose.md says: address, certificate, token."""
        fetch = [*COMPOSE, "exec", "-T", "controller", "tar", "-c", "-C", "/access", "cert.pem", "token"]
        archive = directory / "access.tar"
        with archive.open("wb") as file:
            subprocess.run(fetch, cwd=self.directory, env=self.daemon.environment, stdout=file, check=True)
        subprocess.run(["tar", "-xf", archive, "-C", directory], check=True)
        return ("localhost:50051", str(directory / "cert.pem"), (directory / "token").read_text().strip())

    def client(self, *arguments: str) -> subprocess.Popen[str]:
        """A program on the machine whose daemon this is: the port is published in its network."""
        enter = ["nsenter", f"--net=/proc/{self.daemon.pid}/ns/net"]
        program = [sys.executable, str(Path(__file__).with_name("compose_client.py")), *arguments]
        return subprocess.Popen(
            [*enter, *program], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )

    def said(self, *arguments: str) -> str:
        """All that such a program prints."""
        output, _ = self.client(*arguments).communicate(timeout=60)
        return output.strip()


@pytest.fixture(scope="module")
def project(dockerd: Dockerd, tcplab_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A clean checkout with nothing up."""
    directory = tmp_path_factory.mktemp("checkout")
    for name in FILES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, directory / name)
    made = Project(dockerd, directory)
    yield made
    made("down", "-v", "-t", "20")


@pytest.fixture(scope="module")
def up(project: Project) -> Project:
    """The lab that comes without any setting."""
    project.up()
    return project


def test_it_comes_up_networked_without_any_setting(up: Project) -> None:
    (lab,) = up.labs()
    assert (lab["state"], lab["backend"], lab["topology"]) == ("READY", "docker", "pair-attacker")
    assert lab["failed_nodes"] == {}
    for node in ("h1", "h2", "attacker"):
        found = up.inspect(node)
        assert found["HostConfig"]["NetworkMode"] == "none"
        assert found["State"]["Health"]["Status"] == "healthy"
        assert up.exec(node, "cat", "/sys/class/net/eth0/operstate").strip() == "up"
    assert up.inspect("lab")["State"]["Health"]["Status"] == "healthy"


def test_programs_on_a_node_and_its_logs(up: Project) -> None:
    listening = subprocess.Popen(
        [*COMPOSE, "exec", "-T", "h2", "nc", "-l", "8000"],
        cwd=up.directory,
        env=up.daemon.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    # Connections are refused until the listener is there.
    until = "until echo hello from h1 | nc -q 0 h2 8000; do :; done 2>/dev/null"
    up.exec("h1", "timeout", "60", "sh", "-c", until)
    output, _ = listening.communicate(timeout=60)
    assert output == "hello from h1\n"
    assert re.search(r"TIME-WAIT .* 10\.0\.0\.1:\d+ +10\.0\.0\.2:8000", up.exec("h1", "tcplab", "ss", "-tan"))
    assert "1 received" in up.exec("attacker", "ping", "-c", "1", "h1")
    lines = up("logs", "--no-color", "h1").splitlines()
    assert any("node h1" in line and "10.0.0.1/24" in line for line in lines)
    assert any(re.search(r"10\.0\.0\.1:\d+ -> 10\.0\.0\.2:8000", line) for line in lines)


def test_tcpdump_on_a_node_sees_its_frames(up: Project) -> None:
    seen = subprocess.Popen(
        [*COMPOSE, "exec", "-T", "h2", "timeout", "30", "tcpdump", "-c", "1", "-nni", "eth0", "icmp"],
        cwd=up.directory,
        env=up.daemon.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert seen.stderr is not None
    while "listening on eth0" not in (line := seen.stderr.readline()):
        assert line, "tcpdump has ended"
    up.exec("h1", "ping", "-c", "1", "h2")
    output, _ = seen.communicate(timeout=60)
    assert "10.0.0.1 > 10.0.0.2: ICMP echo request" in output


def test_an_experiment_by_cli_and_its_run_stays(up: Project) -> None:
    said = up("run", "--rm", "-T", "cli", "run", "experiments/handshake.yaml")
    assert "passed" in said
    (directory,) = re.findall(r"^Run: (/runs/\S+)", said, re.MULTILINE)
    assert "SYN-SENT" in up("run", "--rm", "-T", "cli", "show", directory)


def test_a_client_outside_runs_an_experiment(up: Project, tmp_path: Path) -> None:
    address, certificate, token = up.access(tmp_path)
    assert up.said(address, certificate, token, "experiment") == "PASSED ['tcplab']"
    assert up.said(address, certificate, "wrong", "experiment") == "refused"


def test_nobody_has_more_rights_than_the_docs_explain(up: Project) -> None:
    docs = (ROOT / "docs/compose.md").read_text()
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    explained = set(re.findall(r"^\| `([A-Z_]+)` \|", docs, re.MULTILINE))
    for name, service in services.items():
        assert service["cap_drop"] == ["ALL"], name
        assert set(service["cap_add"]) <= explained, name
        assert "privileged" not in service, name
    for node in ("h1", "h2", "attacker"):
        status = Path(f"/proc/{up.inspect(node)['State']['Pid']}/status").read_text()
        # CAP_SETGID, CAP_SETUID, CAP_NET_RAW (linux/capability.h)
        assert int(re.findall(r"^CapBnd:\s+(\w+)", status, re.MULTILINE)[0], 16) == 1 << 6 | 1 << 7 | 1 << 13
    variables = set(re.findall(r"^([A-Z_]+)=", (ROOT / ".env").read_text(), re.MULTILINE))
    assert variables == set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "docker-compose.yml").read_text()))
    assert variables <= explained


def test_a_node_that_is_killed_comes_back_into_the_lab(up: Project, tmp_path: Path) -> None:
    watch = up.client(*up.access(tmp_path), "watch", "tcplab")
    assert watch.stdout is not None
    assert watch.stdout.readline() == "[]\n"
    os.kill(up.inspect("h2")["State"]["Pid"], 9)
    assert watch.stdout.readline() == "['h2']\n"
    assert watch.stdout.readline() == "[]\n"
    watch.terminate()
    watch.communicate()
    assert "1 received" in up.exec("h1", "ping", "-c", "1", "h2")


def test_ones_own_topology_and_down_leaves_nothing_but_volumes(up: Project) -> None:
    mine = up.directory / "my.yaml"
    mine.write_text(OWN_TOPOLOGY)
    mine.chmod(0o600)
    os.chown(mine, 1000, 1000)  # somebody's own, who may use Docker
    up("down", "-t", "20")
    assert up.daemon.docker("ps", "-aq") == ""
    up.up(LAB="my.yaml")
    # r1 and web are no services: the controller has made their containers.
    assert "1 received" in up.exec("h1", "ping", "-c", "1", "web")
    ours = up.daemon.docker("ps", "-q", "--filter", "label=tcplab.lab=tcplab").split()
    assert len(ours) == 5  # with the service attacker, which this topology does not have
    up("down", "-t", "20")
    assert up.daemon.docker("ps", "-aq") == ""
    assert up.daemon.docker("network", "ls", "--format={{.Name}}").split() == ["bridge", "host", "none"]
    runs = up("run", "--rm", "-T", "--no-deps", "--entrypoint=ls", "cli", "/runs")
    assert {"tcplab", "tcplab-2"} <= set(runs.split())
    up("down", "-v", "-t", "20")
    assert up.daemon.docker("volume", "ls", "-q") == ""


def test_a_bundle_for_machines_without_a_network(project: Project, tmp_path: Path) -> None:
    project.daemon.run("tools/image-bundle", str(tmp_path / "bundle.tar.gz"))
    subprocess.run(["tar", "-xf", tmp_path / "bundle.tar.gz", "-C", tmp_path], check=True)
    assert (tmp_path / "tcplab/docker-compose.yml").read_text() == (ROOT / "docker-compose.yml").read_text()
    assert (tmp_path / "tcplab/.env").is_file()
    elsewhere = Dockerd()
    try:
        assert "tcplab:latest" in elsewhere.docker("load", "-i", str(tmp_path / "tcplab/image.tar"))
        image = ("images", "-q", "--no-trunc", "tcplab:latest")
        assert elsewhere.docker(*image) == project.daemon.docker(*image)
    finally:
        elsewhere.stop()

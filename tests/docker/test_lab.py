"""Labs whose nodes are containers: what is in them, what can be done with them, what becomes of those that end."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tcplab.client import Lab, errors
from tests.docker.conftest import Docker, restart, until

pytestmark = pytest.mark.requires("root", "docker")

#: Packet sockets are the agent's; tcpdump in a node becomes another user.
_NET_RAW, _SETUID, _SETGID = 1 << 13, 1 << 7, 1 << 6


def site(base: str, volume: Path) -> str:
    return f"""
kinds: {{host: {{parameters: {{tcp_msl_ms: 200}}}}}}
nodes:
  h1: {{container: {{memory: 256mb, cpus: 0.75, environment: {{COLOUR: green}}, volumes: ["{volume}:/work:ro"]}}}}
  h2: host
  k1: {{kind: linux, container: {{image: "{base}", environment: {{COLOUR: red}}}}}}
  s1: switch
links: [h1-s1, h2-s1, {{endpoints: k1-s1, delay: 2ms}}]
"""


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("volume")
    (directory / "note").write_text("brought along")
    return directory


@pytest.fixture(scope="module")
def lab(docker: Docker, volume: Path) -> Iterator[Lab]:
    with docker.lab(site(docker.base, volume), name="site", level="all") as lab:
        yield lab
    assert not [one for one in docker.all() if "site" in one]


def transfer(lab: Lab, client: str, server: str, port: int) -> None:
    """A connection, 100,000 bytes over it, and its end."""
    listener = lab.node(server).listen(port)
    opened = lab.node(client).open(server, port)
    accepted = listener.accept()
    sent = opened.start_send(b"0123456789" * 10_000)
    assert accepted.receive_exactly(100_000) == b"0123456789" * 10_000
    lab.wait(sent)
    opened.close()
    accepted.close()
    listener.close()


@pytest.mark.parametrize(("client", "server"), [("h1", "h2"), ("h1", "k1"), ("k1", "h2")])
def test_nodes_reach_one_another(lab: Lab, client: str, server: str) -> None:
    transfer(lab, client, server, 5000)
    assert lab.node(client).ping(server).received == 1


def test_labels_limits_and_no_network_of_dockers(docker: Docker, lab: Lab) -> None:
    found = docker.inspect(docker.name(lab, "h1"))
    labels = found["Config"]["Labels"]
    assert (labels["tcplab.lab"], labels["tcplab.node"]) == ("site", "h1")
    assert (found["HostConfig"]["Memory"], found["HostConfig"]["NanoCpus"]) == (256 << 20, 750_000_000)
    assert found["HostConfig"]["NetworkMode"] == "none"
    assert docker.inspect(docker.name(lab, "k1"))["HostConfig"]["Memory"] == 0


def test_our_stack_needs_no_more_than_packet_sockets(docker: Docker, lab: Lab) -> None:
    status = docker.run("exec", docker.name(lab, "h1"), "cat", "/proc/1/status")
    (effective,) = [line.split()[1] for line in status.splitlines() if line.startswith("CapEff")]
    assert int(effective, 16) == _NET_RAW | _SETUID | _SETGID


def test_addresses_are_the_kernels_on_a_linux_node_alone(docker: Docker, lab: Lab) -> None:
    address = lab.node("k1").address()
    assert f"inet {address}/" in docker.run("exec", docker.name(lab, "k1"), "ip", "-4", "address", "show", "eth0")
    assert docker.run("exec", docker.name(lab, "h1"), "/sbin/ip", "-4", "address", "show", "eth0") == ""


def test_programs_of_our_nodes_use_their_stack_however_they_are_started(docker: Docker, lab: Lab) -> None:
    argv = ["ping", "-c1", "h2"]
    by_docker = docker.run("exec", docker.name(lab, "h1"), *argv)
    by_api = lab.node("h1").run(argv).stdout.decode()
    for said in (by_docker, by_api):
        assert "1 packets transmitted, 1 received" in said


def test_a_shell_by_docker_and_exec_by_the_api_are_in_the_same_place(docker: Docker, lab: Lab) -> None:
    for node in ("h1", "k1"):
        script = (
            "echo $COLOUR; hostname; for one in cgroup ipc mnt net pid uts; do readlink /proc/self/ns/$one; done;"
            "cat /proc/self/cgroup; id -u; grep -e CapBnd -e NoNewPrivs /proc/self/status; cat /etc/hosts"
        )
        by_docker = docker.run("exec", docker.name(lab, node), "sh", "-c", script)
        by_api = lab.node(node).run(["sh", "-c", script])
        assert by_api.stdout.decode() == by_docker
        assert by_docker.splitlines()[:2] == ["green" if node == "h1" else "red", node]
    assert lab.node("h1").run(["cat", "/work/note"]).stdout == b"brought along"


def test_what_cannot_be_run_is_said(lab: Lab) -> None:
    for node in ("h1", "k1"):
        with pytest.raises(errors.NotFound, match="no-such-program"):
            lab.node(node).run(["no-such-program"])
        with pytest.raises(errors.NotFound, match="/no/such/place"):
            lab.node(node).run(["true"], cwd="/no/such/place")
        assert lab.node(node).run(["pwd"], cwd="/etc").stdout == b"/etc\n"


def test_a_program_that_runs_too_long_is_killed_in_its_container(lab: Lab) -> None:
    done = lab.node("k1").run(["sh", "-c", "sleep 1000 & sleep 1000"], timeout="100ms")
    assert done.timed_out
    assert b"sleep 1000" not in lab.node("k1").run(["sh", "-c", "cat /proc/*/cmdline | tr '\\0' ' '"]).stdout


def command(docker: Docker, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Our command line, as clients of the controller use it."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "lab.cli.main", *map(str, arguments), "--server", docker.server.address],
        capture_output=True,
        text=True,
    )


def test_files_in_and_out(docker: Docker, lab: Lab, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "deep").mkdir(parents=True)
    (tree / "deep" / "data").write_bytes(bytes(range(256)) * 4096)
    (tree / "run").write_text("#!/bin/sh\necho it runs\n")
    (tree / "run").chmod(0o755)
    for node in ("h1", "k1"):
        assert command(docker, "cp", "site", tree, f"{node}:/srv").returncode == 0
        assert lab.node(node).run(["/srv/tree/run"]).stdout == b"it runs\n"
        assert command(docker, "cp", "site", f"{node}:/srv/tree", tmp_path / f"of-{node}").returncode == 0
        back = tmp_path / f"of-{node}"
        assert (back / "deep" / "data").read_bytes() == bytes(range(256)) * 4096
        assert (back / "run").stat().st_mode & 0o777 == 0o755
    assert command(docker, "cp", "site", "k1:/etc/hostname", tmp_path).returncode == 0
    assert (tmp_path / "hostname").read_text() == "k1\n"
    missing = command(docker, "cp", "site", "k1:/no/such", tmp_path)
    assert (missing.returncode, "No such file" in missing.stderr) == (2, True)
    assert command(docker, "cp", "site", "/etc/hostname", tmp_path).returncode == 2


def test_logs_tell_what_happens_on_a_node(docker: Docker, lab: Lab) -> None:
    before = docker.run("logs", docker.name(lab, "h2")).splitlines()
    address, peer = lab.node("h2").address(), lab.node("h1").address()
    assert before[0].endswith("waiting for a lab")
    assert before[1] == f"lab site: this is node h2; eth0 {address}/24"
    transfer(lab, "h1", "h2", 5001)
    with pytest.raises(errors.Error):
        lab.node("h2").open("h1", 9)
    lines = b"".join(lab.node("h2").logs()).decode().splitlines()
    assert lines == docker.run("logs", docker.name(lab, "h2")).splitlines()
    accepted, closed, refused = lines[len(before) :]
    assert f"{address}:5001 <- {peer}:" in accepted and accepted.endswith("open")
    assert f"{address}:5001 <- {peer}:" in closed and " closed: " in closed
    assert f"-> {peer}:9" in refused and " not opened: " in refused
    assert b"".join(lab.node("h2").logs(tail=1)).decode() == f"{refused}\n"
    assert command(docker, "logs", "site", "h2").stdout.splitlines() == lines


def test_logs_can_be_followed(lab: Lab) -> None:
    seen = bytearray()

    def follow() -> None:
        for piece in lab.node("k1").logs(follow=True):
            seen.extend(piece)
            if b"said" in seen:
                return

    reader = threading.Thread(target=follow)
    reader.start()
    assert lab.node("k1").run(["sh", "-c", "echo said >/proc/1/fd/1"]).code == 0
    reader.join(20)
    assert b"said" in seen


def test_nodes_that_are_no_containers_have_no_logs(docker: Docker) -> None:
    with (
        docker.controller.create_lab("nodes:\n  h1: {container: {image: unused}}\n", backend="sim") as virtual,
        pytest.raises(errors.FailedPrecondition, match="docker"),
    ):
        list(virtual.node("h1").logs())


# What is started again.


def test_a_container_that_ends_is_silent_and_comes_back(docker: Docker, lab: Lab) -> None:
    container = docker.name(lab, "k1")
    docker.run("kill", container)
    failed = until(lab, lambda found: "k1" in found.failed_nodes)
    assert f"container {container} was killed by SIGKILL" in failed.failed_nodes["k1"]
    assert lab.node("h1").ping("k1", timeout="300ms").received == 0
    with pytest.raises(errors.FailedPrecondition, match="SIGKILL"):
        lab.node("k1").run(["true"])
    docker.run("start", container)
    until(lab, lambda found: "k1" not in found.failed_nodes)
    assert lab.node("h1").ping("k1").received == 1
    transfer(lab, "h1", "k1", 5002)
    transfer(lab, "k1", "h1", 5003)
    assert lab.node("k1").run(["hostname"]).stdout == b"k1\n"


def test_a_node_comes_back_with_a_fresh_stack_and_its_links(docker: Docker, lab: Lab) -> None:
    transfer(lab, "h1", "h2", 5004)
    lab.node("h2").listen(5005)
    before = [one.number for one in lab.node("h2").connections()]
    lab.link("h2-s1").rule(match="tcp.flags.syn && !tcp.flags.ack", nth=1, drop=True, name="first-syn")
    restart(docker, lab, "h2")
    assert lab.node("h2").connections() == []
    assert lab.node("h2").listeners() == []
    transfer(lab, "h1", "h2", 5005)
    numbers = [one.number for one in lab.node("h2").connections()]
    assert numbers and min(numbers) > max(before)  # in one trace they are different connections
    (rule,) = lab.link("h2-s1").rules()
    assert (rule.matches > 0, rule.acted) == (True, 1)
    lab.link("h2-s1").remove_rule("first-syn")


def test_restarting_by_docker_in_one_go(docker: Docker, lab: Lab) -> None:
    watching = lab.watch()
    next(watching)
    docker.run("restart", "--time=1", docker.name(lab, "h1"))
    for found in watching:
        if "h1" in found.failed_nodes:
            break
    until(lab, lambda found: "h1" not in found.failed_nodes)
    transfer(lab, "h2", "h1", 5006)

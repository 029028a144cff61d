"""Labs that come up only partly leave nothing; containers that exist are taken, and left as they were."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.backends.docker import daemon
from nodes.base.processes import owned_name
from tcplab.client import Controller, errors
from tests.docker.conftest import Docker, until
from tests.server.api import Server

pytestmark = pytest.mark.requires("root", "docker")

PAIR = "nodes: {h1: host, h2: {kind: linux}}\nlinks: [h1-h2]\n"


@pytest.fixture(autouse=True)
def nothing_stays(docker: Docker) -> Iterator[None]:
    before = docker.all()
    yield
    assert docker.all() == before


def with_container(base: str, container: str) -> str:
    return f"nodes:\n  h1: host\n  k1: {{kind: linux, container: {container.format(base=base)}}}\nlinks: [h1-k1]\n"


@pytest.mark.parametrize(
    ("container", "kind", "words"),
    [
        ("no/such-image", errors.FailedPrecondition, "node k1: Docker has no image no/such-image here: docker pull"),
        ("{{image: {base}, volumes: [/no/such/place:/x]}}", errors.InvalidArgument, "/no/such/place"),
        ("{{image: {base}, command: [no-such-program]}}", errors.InvalidArgument, "no-such-program"),
        (
            "{{image: {base}, command: [sh, -c, 'echo I am done; exit 3']}}",
            errors.FailedPrecondition,
            "ended with exit code 3, saying: I am done",
        ),
        ("{{image: {base}, environment: {{X: 1}}, cpus: 4096}}", errors.InvalidArgument, "CPUs"),
    ],
)
def test_what_does_not_come_up_says_why(docker: Docker, container: str, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        docker.lab(with_container(docker.base, container))


def test_an_image_without_an_agent_is_no_node_of_ours(docker: Docker) -> None:
    with pytest.raises(errors.InvalidArgument, match="tcplab"):
        docker.lab(f"nodes:\n  h1: {{container: {{image: {docker.base}}}}}\n")


def test_a_name_that_is_taken_is_said(docker: Docker) -> None:
    docker.run("create", "--name=tcplab-taken-h1", docker.base, "true")
    try:
        with pytest.raises(errors.AlreadyExists, match="tcplab-taken-h1"):
            docker.lab("nodes:\n  h1: host\n", name="taken")
    finally:
        docker.run("rm", "tcplab-taken-h1")


@pytest.mark.parametrize(
    ("host", "advice"), [("unix:///no/docker.sock", "start dockerd"), ("tcp://127.0.0.1:2375", "of this machine")]
)
def test_without_a_daemon_it_is_said_what_to_do(host: str, advice: str, tmp_path: Path) -> None:
    server = Server(tmp_path, DOCKER_HOST=host)
    with Controller(server.address) as controller:
        (found,) = [one for one in controller.backends() if one.name == "docker"]
        assert (found.available, advice in found.reason) == (False, True)
        with pytest.raises(errors.FailedPrecondition, match="DOCKER_HOST"):
            controller.create_lab(PAIR, backend="docker")
        assert controller.labs() == []
    assert server.stop() == 0


def test_an_image_is_asked_for_by_its_name(docker: Docker, monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = [one for one in docker.controller.backends() if one.name == "docker"]
    assert (found.available, found.reason) == (True, "")
    assert [one.available for one in found.capabilities if one.name == "image"] == [True]
    monkeypatch.setenv("DOCKER_HOST", docker.daemon.environment["DOCKER_HOST"])
    monkeypatch.setenv("TCPLAB_IMAGE", "other:tag")
    client = daemon.connect()
    assert "no image other:tag here: `make image`" in daemon.image_missing(client, daemon.default_image())
    client.close()


def test_an_image_runs_what_it_runs(docker: Docker) -> None:
    """A shell stays up; what has a command of its own runs it."""
    made = docker.run("create", docker.base, "true").strip()
    shell = docker.run("commit", '--change=CMD ["/bin/sh"]', made).strip()
    sleeper = docker.run("commit", '--change=ENTRYPOINT ["sleep", "12345"]', made).strip()
    docker.run("rm", made)
    text = (
        f"nodes:\n  a: {{kind: linux, container: '{shell}'}}\n  b: {{kind: linux, container: '{sleeper}'}}\n"
        f"  c: {{kind: linux, container: {{image: '{docker.base}', command: [sleep, 54321]}}}}\nlinks: [a-b, b-c]\n"
    )
    with docker.lab(text) as lab:
        said = {one: lab.node(one).run(["cat", "/proc/1/cmdline"]).stdout for one in "abc"}
    assert said == {"a": b"/bin/sh\0", "b": b"sleep\x0012345\0", "c": b"sleep\x0054321\0"}
    docker.run("rmi", shell, sleeper)


# Containers that exist.


def labels(lab: str, node: str) -> list[str]:
    return [f"--label=tcplab.lab={lab}", f"--label=tcplab.node={node}"]


def interfaces(docker: Docker, container: str) -> list[str]:
    return sorted(docker.run("exec", container, "ls", "/sys/class/net").split())


def test_containers_that_exist_are_taken_by_their_labels(docker: Docker) -> None:
    agent = docker.run(
        "run", "-d", "--network=none", "--cap-drop=ALL", "--cap-add=NET_RAW", *labels("taken", "h1"), "tcplab", "agent"
    ).strip()
    sleeper = docker.run(
        "run", "-d", "--network=none", *labels("taken", "h2"), docker.base, "sleep", "infinity"
    ).strip()
    other = docker.run("run", "-d", "--network=none", *labels("other", "h1"), docker.base, "sleep", "infinity").strip()
    try:
        with docker.lab(PAIR, name="taken") as lab:
            assert lab.node("h1").ping("h2").received == 1
            assert interfaces(docker, agent) == interfaces(docker, sleeper) == ["eth0", "lo"]
            assert docker.run("exec", agent, "tcplab", "agent", "--check", "--networked") == "node h1 of lab taken\n"
            assert interfaces(docker, other) == ["lo"]
            # Compose makes another container for a service when its settings have changed.
            docker.run("rm", "-f", sleeper)
            until(lab, lambda found: "h2" in found.failed_nodes)
            sleeper = docker.run(
                "run", "-d", "--network=none", *labels("taken", "h2"), docker.base, "sleep", "infinity"
            ).strip()
            until(lab, lambda found: "h2" not in found.failed_nodes)
            assert lab.node("h1").ping("h2").received == 1
        # They stay, without network; the agent waits for the next lab.
        assert interfaces(docker, sleeper) == ["lo"]
        with docker.lab(PAIR, name="taken") as lab:
            assert lab.node("h1").ping("h2").received == 1
        assert docker.run("logs", agent).count("waiting for a lab") == 3
    finally:
        docker.run("rm", "-f", agent, sleeper, other)


def test_an_agent_may_listen_in_a_shared_directory(docker: Docker, tmp_path: Path) -> None:
    container = docker.run(
        "run", "-d", "--network=none", "--cap-drop=ALL", "--cap-add=NET_RAW", *labels("shared", "h1"),
        f"--label=tcplab.socket={tmp_path}/agent", f"--volume={tmp_path}:/run/tcplab",
        "--env=TCPLAB_AGENT_SOCKET=/run/tcplab/agent", "tcplab", "agent",
    ).strip()  # fmt: skip
    try:
        with docker.lab(PAIR, name="shared") as lab:
            assert lab.node("h2").ping("h1").received == 1
            # A killed agent leaves its socket; the next one takes its place.
            docker.run("kill", container)
            until(lab, lambda found: "h1" in found.failed_nodes)
            docker.run("start", container)
            until(lab, lambda found: "h1" not in found.failed_nodes)
            assert lab.node("h2").ping("h1").received == 1
        assert docker.run("exec", container, "tcplab", "agent", "--check") == "waiting for a lab\n"
    finally:
        docker.run("rm", "-f", container)


def test_a_container_on_another_network_is_not_taken(docker: Docker) -> None:
    container = docker.run("run", "-d", *labels("bridged", "h2"), docker.base, "sleep", "infinity").strip()
    try:
        with pytest.raises(errors.FailedPrecondition, match="network_mode"):
            docker.lab(PAIR, name="bridged")
    finally:
        docker.run("rm", "-f", container)


def test_what_another_lab_has_is_not_taken(docker: Docker) -> None:
    """Neither a container with the same names that another process made, nor an agent that is a node already."""
    owner = f"--label=tcplab.owner={owned_name()}"
    foreign = docker.run(
        "run", "-d", "--network=none", owner, *labels("mine", "h2"), docker.base, "sleep", "99"
    ).strip()
    agent = docker.run(
        "run",
        "-d",
        "--network=none",
        "--cap-add=NET_RAW",
        *labels("mine", "h1"),
        "--entrypoint=tcplab",
        "tcplab",
        "agent",
    ).strip()
    try:
        with docker.lab(PAIR, name="mine") as lab:
            assert lab.node("h1").ping("h2").received == 1
            assert interfaces(docker, foreign) == ["lo"]
            pid = docker.inspect(agent)["State"]["Pid"]
            assert os.path.exists(f"/proc/{pid}")  # noqa: PTH110
    finally:
        docker.run("rm", "-f", foreign, agent)

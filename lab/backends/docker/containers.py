"""The containers that are a lab's nodes: made by it, or found by their labels and only taken."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from docker.errors import DockerException, NotFound
from docker.types import Mount

from lab.backends.base import Progress
from lab.backends.docker.daemon import LAB, NODE, OWNER, PROJECT, SOCKET, default_image, error_of
from lab.backends.docker.leftovers import remove
from lab.backends.docker.reach import ADDRESS
from lab.topology.model import LINUX, SWITCH, Node, Topology
from nodes.base.errors import FailedPrecondition, Unsupported
from nodes.base.processes import owned_name
from nodes.packet.address import address_text

#: So many are made at once.
_THREADS: Final = 8
#: What an agent may do: open packet sockets in its own network namespace. The others are tcpdump's, which becomes
#: another user once it has its socket.
_AGENT_CAPABILITIES: Final = ("NET_RAW", "SETUID", "SETGID")
#: Beside Docker's own: what `ip`, `tc` and `tcpdump` on a node with the kernel's stack need.
_LINUX_CAPABILITIES: Final = ("NET_ADMIN", "NET_RAW")
#: Where programs of our image find those that use the node's stack.
_SHIMS: Final = "/tcplab/shims"
_STAYS_UP: Final = ["sleep", "infinity"]
_LAST_LINES: Final = 3
#: Docker notices within this, wall seconds, that a container has ended.
_NOTICES_WITHIN_S: Final = 5
#: Exit codes above it are of containers that a signal killed.
_BY_SIGNAL: Final = 128


@dataclass(frozen=True)
class Container:
    """A running container that is a node. `process` is a descriptor of its first process (pidfd), `pid`. `own`: the lab
    has made it. `agent` is where its agent listens."""

    id: str
    name: str
    node: str
    pid: int
    process: int
    own: bool
    agent: str

    def has_ended(self, within_ms: int = 0) -> bool:
        """Whether it ends within so many wall milliseconds."""
        poll = select.poll()
        poll.register(self.process, select.POLLIN)
        return bool(poll.poll(within_ms))

    def close(self) -> None:
        """Let go of its process."""
        os.close(self.process)


class Containers:
    """`nodes` are the running containers of a lab by node. `close` removes those that the lab has made.

    Raises Unsupported, AlreadyExists, InvalidArgument, FailedPrecondition; then none is left.
    """

    def __init__(self, client: Any, lab: str, topology: Topology, progress: Progress) -> None:
        self.client = client
        self.nodes: dict[str, Container] = {}
        self._lab = lab
        self._owner = owned_name()
        self._project = os.environ.get("TCPLAB_PROJECT", "")
        self._hosts = {
            name: address_text(known[0])
            for name, node in topology.nodes.items()
            if node.kind != SWITCH and (known := topology.addresses(name))
        }
        nodes = [node for node in topology.nodes.values() if node.kind != SWITCH]
        try:
            taken = self._find()
            with ThreadPoolExecutor(_THREADS) as threads:
                starting = [
                    threads.submit(self._take if node.name in taken else self._start, node, taken.get(node.name, ""))
                    for node in nodes
                ]
                try:
                    for number, done in enumerate(as_completed(starting), 1):
                        one = done.result()
                        self.nodes[one.node] = one
                        progress("containers", number, len(nodes))
                except BaseException:
                    threads.shutdown(cancel_futures=True)
                    raise
        except BaseException:
            self.close()
            raise

    @property
    def filters(self) -> Mapping[str, list[str]]:
        """By which Docker knows the containers of this lab."""
        labels = [f"{LAB}={self._lab}", *([f"{PROJECT}={self._project}"] if self._project else ())]
        return {"label": labels}

    def is_of_lab(self, labels: Mapping[str, str]) -> bool:
        """Whether a container with these labels is made by this lab, or by none and so to be taken."""
        return labels.get(OWNER, self._owner) == self._owner

    def look(self, node: str, container: str) -> Container:
        """A container that was started again is a node's. Raises FailedPrecondition when it has ended meanwhile."""
        try:
            found = self._running(node, container)
        except DockerException as error:
            raise error_of(error, node, "") from None
        known = self.nodes.get(node)
        self.nodes[node] = found
        if known is not None:
            known.close()
        return found

    def how_it_ended(self, container: Container) -> str:
        """In words."""
        try:
            state = self.client.inspect_container(container.id)["State"]
            if state["Running"] and state["Pid"] == container.pid:  # Docker has not noticed its end yet
                self.client.wait(container.id, timeout=_NOTICES_WITHIN_S)
                state = self.client.inspect_container(container.id)["State"]
        except NotFound:
            return f"its container {container.name} was removed"
        except (DockerException, OSError) as error:
            return f"its container {container.name} has ended, and Docker does not say how: {error}"
        if state["Running"]:
            return f"its container {container.name} was started again"
        why = " (it had no memory left)" if state["OOMKilled"] else ""
        code = state["ExitCode"]
        how = f"ended with exit code {code}"
        if code > _BY_SIGNAL:
            with contextlib.suppress(ValueError):
                how = f"was killed by {signal.Signals(code - _BY_SIGNAL).name}"
        return f"its container {container.name} {how}{why}; docker start {container.name} brings it back"

    def close(self) -> None:
        """Remove what was made, whatever was known of it. Idempotent."""
        for one in self.nodes.values():
            one.close()
        self.nodes.clear()
        own = {"label": [f"{OWNER}={self._owner}", f"{LAB}={self._lab}"]}
        found = self.client.containers(all=True, filters=own)
        remove(self.client, (one["Id"] for one in found))

    # -- making them

    def _find(self) -> dict[str, str]:
        """Ids of containers there are for nodes of this lab, by node: those that no lab has made."""
        found: dict[str, str] = {}
        for one in self.client.containers(filters=self.filters):
            labels = one["Labels"]
            if OWNER in labels or (not self._project and PROJECT in labels):
                continue
            node = labels.get(NODE, "")
            if node in found:
                raise FailedPrecondition(
                    f"two containers are node {node} of lab {self._lab} by their labels: {found[node][:12]} and "
                    f"{one['Id'][:12]}; remove one"
                )
            found[node] = one["Id"]
        return found

    def _take(self, node: Node, container: str) -> Container:
        try:
            mode = self.client.inspect_container(container)["HostConfig"]["NetworkMode"]
            if mode != "none":
                raise FailedPrecondition(f"node {node.name}: its container has network_mode {mode}; a node's is none")
            return self._running(node.name, container)
        except DockerException as error:
            raise error_of(error, node.name, "") from None

    def _start(self, node: Node, _: str) -> Container:
        image = node.container.image or default_image()
        try:
            made = self.client.create_container(
                image,
                name=re.sub(r"[^a-zA-Z0-9_.-]", "-", f"tcplab-{self._lab}-{node.name}"),
                hostname=node.name,
                labels={LAB: self._lab, NODE: node.name, OWNER: self._owner},
                **self._what_runs(node, image),
            )
            self.client.start(made["Id"])
            return self._running(node.name, made["Id"])
        except DockerException as error:
            raise error_of(error, node.name, image) from None

    def _what_runs(self, node: Node, image: str) -> dict[str, Any]:
        said = node.container
        own = self.client.inspect_image(image)["Config"]
        limits = {
            **({"mem_limit": said.memory, "memswap_limit": said.memory} if said.memory else {}),
            **({"nano_cpus": said.milli_cpus * 1_000_000} if said.cpus else {}),
        }
        common = {
            "network_mode": "none",
            "extra_hosts": self._hosts,
            "mounts": [_mount(one) for one in said.volumes],
            **limits,
        }
        if node.kind != LINUX:
            config = self.client.create_host_config(
                **common, cap_drop=["ALL"], cap_add=list(_AGENT_CAPABILITIES), security_opt=["no-new-privileges"]
            )
            paths = [one.removeprefix("PATH=") for one in own.get("Env") or () if one.startswith("PATH=")]
            path = ":".join([_SHIMS, *paths])
            return {
                "entrypoint": ["tcplab", "agent"],
                "command": [],
                "host_config": config,
                "environment": {"PATH": path, **said.environment},
            }
        config = self.client.create_host_config(**common, cap_add=list(_LINUX_CAPABILITIES))
        what: dict[str, Any] = {"host_config": config, "environment": dict(said.environment)}
        if said.command:
            return {**what, "command": list(said.command)}
        # A shell that an image runs by itself stays up when it has a terminal.
        what |= {"tty": True, "stdin_open": True}
        if image == default_image() or not (own.get("Cmd") or own.get("Entrypoint")):
            # As pid 1 it would not heed SIGTERM.
            return {**what, "entrypoint": _STAYS_UP, "command": [], "stop_signal": "SIGKILL"}
        return what

    def _running(self, node: str, container: str) -> Container:
        """Raises FailedPrecondition when it does not run, Unsupported when it runs out of sight."""
        found = self.client.inspect_container(container)
        name = found["Name"].removeprefix("/")
        labels = found["Config"]["Labels"]
        pid = found["State"]["Pid"]
        try:
            process = os.pidfd_open(pid) if pid else -1
        except ProcessLookupError:
            process = -1
        one = Container(
            found["Id"], name, node, pid, process, labels.get(OWNER) == self._owner, labels.get(SOCKET, ADDRESS)
        )
        if process < 0 or one.has_ended():
            if process >= 0:
                one.close()
            raise FailedPrecondition(f"node {node}: {self._why_not(found)}")
        if not _is_process_of(pid, found["Id"]):
            one.close()
            raise Unsupported(
                f"node {node}: process {pid} of container {name} is not seen here: the controller must see the "
                "processes of the machine (in a container: pid: host)"
            )
        return one

    def _why_not(self, found: Mapping[str, Any]) -> str:
        said = self.client.logs(found["Id"], tail=_LAST_LINES).decode("utf-8", "replace")
        last = " / ".join(said.split("\n")).strip(" /")
        name, code = found["Name"].removeprefix("/"), found["State"]["ExitCode"]
        words = f"its container {name} does not stay up: it ended with exit code {code}"
        return f"{words}{f', saying: {last}' if last else ''}; container.command says what it runs"


def _mount(volume: str) -> Mount:
    source, target, *mode = volume.split(":")
    return Mount(target, source, "bind" if source.startswith("/") else "volume", read_only=mode == ["ro"])


def _is_process_of(pid: int, container: str) -> bool:
    """Whether a number is that of a container's process here too: Docker mounts files of the container's in it."""
    try:
        return container in Path(f"/proc/{pid}/mountinfo").read_text()
    except OSError:
        return False

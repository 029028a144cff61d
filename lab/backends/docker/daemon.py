"""Docker's daemon: its client, and what is wrong in words that say what to do."""

from __future__ import annotations

import os
from typing import Any, Final

import docker
from docker.errors import APIError, DockerException, ImageNotFound

from lab.fabric import rootless
from nodes.base.errors import AlreadyExists, FailedPrecondition, InvalidArgument, TcplabError, Unsupported

#: The image of nodes that name none.
DEFAULT_IMAGE: Final = "tcplab:latest"
#: A call takes at most so long, wall seconds: containers start slowly where many do.
_ANSWERS_WITHIN_S: Final = 120

#: Labels of a node's container: its lab and node; of one that a lab has made, which process that is
#: (nodes.base.processes.owned_name); of one that a compose project has, which project; and where its agent listens, as
#: a path that the lab sees, when not in its network namespace.
LAB: Final = "tcplab.lab"
NODE: Final = "tcplab.node"
OWNER: Final = "tcplab.owner"
PROJECT: Final = "tcplab.project"
SOCKET: Final = "tcplab.socket"


def default_image() -> str:
    """TCPLAB_IMAGE, or ours."""
    return os.environ.get("TCPLAB_IMAGE") or DEFAULT_IMAGE


def connect() -> Any:
    """A client of the daemon that DOCKER_HOST names, or of the usual one. Raises Unsupported when none answers, and for
    one that may be another machine's: numbers of processes there mean others here."""
    client: Any = None
    host = os.environ.get("DOCKER_HOST") or "unix://"
    if not host.startswith(("unix://", "http+unix://")):
        raise Unsupported(
            f"backend docker needs the daemon of this machine, by its unix socket; DOCKER_HOST is {host}: unset it, or "
            "run tcplab there; backend netns needs no daemon"
        )
    try:
        client = docker.from_env(timeout=_ANSWERS_WITHIN_S).api
        client.ping()
    except (DockerException, OSError) as error:
        if client is not None:
            client.close()
        where = os.environ.get("DOCKER_HOST") or "its usual place"
        raise Unsupported(
            f"no Docker daemon answers at {where}: {_reason(error)}; start dockerd, or name it by DOCKER_HOST; "
            "backend netns needs none"
        ) from None
    return client


def missing() -> str:
    """What this machine lacks to have containers as nodes; "" when nothing."""
    if rootless.standing() != rootless.ROOT:
        return "backend docker needs root, to put interfaces into containers; without root there is backend netns"
    try:
        connect().close()
    except Unsupported as error:
        return str(error)
    return ""


def image_missing(client: Any, image: str) -> str:
    """Why a container of an image cannot be made; "" when it can."""
    try:
        client.inspect_image(image)
    except ImageNotFound:
        return _no_image(image)
    return ""


def error_of(error: Exception, node: str, image: str) -> TcplabError:
    """What the daemon says to a container of a node, as an error of ours."""
    field = f"nodes.{node}.container"
    if isinstance(error, ImageNotFound):
        return Unsupported(f"node {node}: {_no_image(image)}")
    if not isinstance(error, APIError):
        return FailedPrecondition(f"node {node}: the Docker daemon fails: {_reason(error)}")
    if error.status_code == 409:
        return AlreadyExists(f"node {node}: {_reason(error)}")
    if error.status_code in (400, 404):
        return InvalidArgument(f"{field}: {_reason(error)}", field)
    return FailedPrecondition(f"node {node}: Docker does not start its container: {_reason(error)}")


def _no_image(image: str) -> str:
    how = "`make image` makes it" if image == default_image() else f"docker pull {image}, or docker load -i FILE"
    return f"Docker has no image {image} here: {how}"


def _reason(error: Exception) -> str:
    words = error.explanation if isinstance(error, APIError) and error.explanation else error
    return " ".join(str(words).split())[:500]

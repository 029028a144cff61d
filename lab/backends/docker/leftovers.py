"""Containers of labs whose processes have ended: told by the process in their label, and removed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from docker.errors import APIError, DockerException, NotFound

from lab.backends.docker.daemon import OWNER, connect
from nodes.base.errors import Unsupported
from nodes.base.processes import ended

#: So many are removed at once.
_THREADS: Final = 8
_CONFLICT: Final = 409


def ended_containers() -> list[str]:
    """Names of containers that labs have made whose processes have ended; none where no daemon answers."""
    try:
        client = connect()
        return [one["Names"][0].removeprefix("/") for one in _ended(client)]
    except (Unsupported, DockerException, OSError):
        return []


def remove_ended_containers() -> None:
    """Remove them; nothing happens where no daemon answers."""
    with contextlib.suppress(Unsupported, DockerException, OSError):
        remove_ended(connect())


def remove_ended(client: Any) -> None:
    """Remove them from a daemon."""
    remove(client, (one["Id"] for one in _ended(client)))


def remove(client: Any, containers: Iterable[str]) -> None:
    """Kill and remove containers, and their anonymous volumes; those that are gone already are well."""

    def remove_one(container: str) -> None:
        try:
            client.remove_container(container, force=True, v=True)
        except NotFound:
            pass
        except APIError as error:
            if error.status_code != _CONFLICT:  # somebody else is removing it
                raise

    with ThreadPoolExecutor(_THREADS) as threads:
        list(threads.map(remove_one, containers))


def _ended(client: Any) -> list[Any]:
    found = client.containers(all=True, filters={"label": [OWNER]})
    owners = set(ended(one["Labels"][OWNER] for one in found))
    return [one for one in found if one["Labels"][OWNER] in owners]

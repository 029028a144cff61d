"""`PrivateRoot`: what Mininet takes for the machine's own network, which is none of the machine's."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from lab.fabric import bridge, libc, rootless
from lab.fabric.host import quieten
from lab.fabric.libc import MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_REC, MS_SLAVE
from nodes.base.errors import Unsupported

_KINDS: Final = {"mnt": libc.CLONE_NEWNS, "net": libc.CLONE_NEWNET}


class PrivateRoot:
    """New network and mount namespaces, in which Mininet's switches are and from which its nodes' shells start: with a
    /sys and a /run of their own. The kernel takes them down with the last process that is or has them open.

    Raises Unsupported where the kernel does not let us; then the calling thread is where it was.
    """

    def __init__(self) -> None:
        if rootless.standing() == rootless.USER_NAMESPACE:
            # Who is root in a user namespace only may not go back to the machine's mounts: leave them for good.
            libc.unshare(libc.CLONE_NEWNS)
        self._places: dict[str, int] = {}
        with _come_back():
            try:
                libc.unshare(libc.CLONE_NEWNS | libc.CLONE_NEWNET)
                libc.mount("none", "/", "", MS_REC | MS_SLAVE)
                libc.mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC)
                libc.mount("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV)
            except OSError as error:
                raise Unsupported(
                    f"Mininet needs a mount namespace with its own /sys, which is refused here: {error.strerror}; in a "
                    "container: --privileged; backend netns does not need it"
                ) from None
            quieten()
            bridge.prepare()
            self._places = _here()

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """The calling thread is here meanwhile, and so is what it starts."""
        with _come_back():
            _go(self._places)
            yield

    def close(self) -> None:
        """Let go of it. Idempotent."""
        places, self._places = self._places, {}
        for descriptor in places.values():
            os.close(descriptor)


def _here() -> dict[str, int]:
    return {kind: os.open(f"/proc/thread-self/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in _KINDS}


def _go(places: dict[str, int]) -> None:
    for kind, descriptor in places.items():
        libc.setns(descriptor, _KINDS[kind])


@contextlib.contextmanager
def _come_back() -> Iterator[None]:
    """Wherever the calling thread goes, it is back afterwards, in its directory too."""
    with contextlib.ExitStack() as closing:
        libc.unshare(libc.CLONE_FS)  # who shares its directory with other threads may not change its mounts
        directory = os.open(".", os.O_PATH | os.O_CLOEXEC)
        closing.callback(os.close, directory)
        outside = _here()
        for descriptor in outside.values():
            closing.callback(os.close, descriptor)
        try:
            yield
        finally:
            _go(outside)
            os.fchdir(directory)


def own_directory(name: str) -> Path:
    """A new directory of the private /run, for the calling thread, which is there."""
    path = Path("/run") / name
    path.mkdir()
    return path

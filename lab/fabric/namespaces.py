"""`Namespace`: a network namespace without a name. It is gone with the last descriptor, thread and socket in it."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from typing import Final, Self

from lab.fabric import libc
from nodes.base.errors import ResourceExhausted, TcplabError, Unsupported

_THIS: Final = "/proc/thread-self/ns/net"


class Namespace:
    """A new network namespace; the calling thread stays where it is.

    `descriptor` refers to it, and is closed on exec. Raises Unsupported without the right to make one,
    ResourceExhausted when the kernel allows no more.
    """

    def __init__(self) -> None:
        with _come_back():
            try:
                libc.unshare(libc.CLONE_NEWNET)
            except OSError as error:
                raise _cannot_make(error) from None
            self.descriptor = os.open(_THIS, os.O_RDONLY | os.O_CLOEXEC)

    @classmethod
    def of(cls, pid: int) -> Self:
        """That of a process there is. Raises OSError."""
        found = cls.__new__(cls)
        found.descriptor = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        return found

    def enter(self) -> None:
        """Move the calling thread here, for good."""
        libc.setns(self.descriptor, libc.CLONE_NEWNET)

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """The calling thread is here meanwhile; what it opens stays here."""
        with _come_back():
            self.enter()
            yield

    def close(self) -> None:
        """Let go of it. Idempotent."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


@contextlib.contextmanager
def _come_back() -> Iterator[None]:
    """Wherever the calling thread goes, it is back afterwards."""
    outside = os.open(_THIS, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            yield
        finally:
            libc.setns(outside, libc.CLONE_NEWNET)
    finally:
        os.close(outside)


def _cannot_make(error: OSError) -> TcplabError:
    if error.errno == errno.ENOSPC:
        return ResourceExhausted(
            "the kernel allows no more network namespaces for this user (sysctl user.max_net_namespaces)"
        )
    if error.errno == errno.EPERM:
        return Unsupported("network namespaces need root or a user namespace; `tcplab doctor` says what is possible")
    return Unsupported(f"the kernel makes no network namespace: {error.strerror}")

"""What a node's container prints, from Docker."""

from __future__ import annotations

from typing import Any

from docker.errors import DockerException
from docker.types import CancellableStream

from lab.backends.base import Logs
from nodes.base.errors import FailedPrecondition


class ContainerLogs(Logs):
    """Raises FailedPrecondition when Docker does not tell."""

    def __init__(self, client: Any, container: str, tail: int, follow: bool) -> None:
        self._closed = False
        try:
            stream = client.logs(container, stream=True, follow=follow, tail=tail or "all")
        except DockerException as error:
            raise FailedPrecondition(f"Docker does not tell what {container} printed: {error}") from None
        self._stream: CancellableStream[bytes] = stream

    def read(self) -> bytes:
        """The next piece; b"" when there is no more."""
        try:
            found: bytes = next(self._stream, b"")
        except (DockerException, OSError, ValueError, AttributeError):
            if not self._closed:  # closing breaks it off wherever it is
                raise
            return b""
        return found

    def close(self) -> None:
        """Idempotent."""
        if not self._closed:
            self._closed = True
            self._stream.close()

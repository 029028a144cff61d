"""The spool: the file to which a lab appends every event it records.

    file    MAGIC, then records (`nodes.base.records`)

A record's ordinal in the file, from 1, is its sequence number. Neither wall time nor versions are inside, so the same
spec and seed give the same bytes. A last record that is cut short (kill -9) is not there.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from nodes.base.errors import AlreadyExists, FailedPrecondition, NotFound, ResourceExhausted
from nodes.base.events import LEVEL_ALL
from nodes.base.records import RecordWriter

MAGIC: Final = b"tcplab.spool\r\n\x1a\n"


class SpoolWriter(RecordWriter):
    """Appends events to a new spool file; what was flushed survives the process.

    Raises AlreadyExists when the file exists, NotFound when its directory does not, ResourceExhausted when the disk is
    full, FailedPrecondition for events that come after `close`.
    """

    def __init__(self, path: Path | str, level: int = LEVEL_ALL, capture: bool = True) -> None:
        super().__init__(level, capture)
        self.path = Path(path)
        try:
            self._file = self.path.open("xb")
        except FileExistsError:
            raise AlreadyExists(f"{self.path}: exists; a spool is written once") from None
        except FileNotFoundError:
            raise NotFound(f"{self.path}: its directory does not exist") from None
        try:
            self._file.write(MAGIC)
            self._file.flush()
        except OSError as error:
            with contextlib.suppress(OSError):
                self._file.close()
            raise ResourceExhausted(f"cannot write the trace {self.path}: {error.strerror}") from error

    def flush(self) -> None:
        """Hand everything held to the operating system, so that readers see it."""
        if self._held and self._file.closed:
            raise FailedPrecondition(f"the trace {self.path} is closed")
        super().flush()

    def _write(self, data: bytes) -> None:
        try:
            self._file.write(data)
            self._file.flush()
        except OSError as error:
            raise ResourceExhausted(f"cannot write the trace {self.path}: {error.strerror}") from error

    def close(self) -> None:
        """Flush and close. Idempotent."""
        if not self._file.closed:
            try:
                self.flush()
            finally:
                self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

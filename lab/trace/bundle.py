"""What a run leaves: one directory with everything about it.

manifest.json    spec, seed, versions, kernel, wall times: all that may differ between two equal runs
events.spool     every event (lab.trace.spool)
pcap/            <node>-<interface>.pcapng
tables/          <kind>.parquet
verdicts.jsonl   what the links decided on each frame, one JSON object a line
plots/           PNG files, when asked for
"""

from __future__ import annotations

import contextlib
import errno
import importlib.metadata
import json
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

from lab.trace.spool_reader import SpoolReader
from nodes.base.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    TcplabError,
)
from nodes.base.events import LEVEL_NAMES, VERDICT

MANIFEST: Final = "manifest.json"


class Bundle:
    """A run directory. `create` makes one, `open` one that exists."""

    def __init__(self, path: Path, manifest: dict[str, Any]) -> None:
        self.path = path
        self.manifest = manifest

    @classmethod
    def create(
        cls, path: Path | str, *, spec: str, seed: int, backend: str, level: int, more: Mapping[str, Any] | None = None
    ) -> Self:
        """Make the directory and its manifest. `spec` is the text that was run; `more` goes into the manifest as it
        is (JSON values). Raises AlreadyExists when the directory has anything in it, ResourceExhausted when the disk is
        full, FailedPrecondition when it cannot be written otherwise."""
        path = Path(path)
        try:
            if path.exists() and (not path.is_dir() or any(path.iterdir())):
                raise AlreadyExists(f"{path}: exists and is not empty; give another directory")
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _not_written(path, error) from None
        manifest = {
            "spec": spec,
            "seed": seed,
            "backend": backend,
            "trace_level": LEVEL_NAMES[level],
            "tcplab": importlib.metadata.version("tcplab"),
            "python": platform.python_version(),
            "kernel": f"{platform.system()} {platform.release()}",
            "machine": platform.machine(),
            "started": datetime.now(UTC).isoformat(),
            **(more or {}),
        }
        bundle = cls(path, manifest)
        bundle._write_manifest()
        return bundle

    @classmethod
    def open(cls, path: Path | str) -> Self:
        """Raises NotFound when there is no such directory, InvalidArgument when it is no bundle."""
        path = Path(path)
        if not path.is_dir():
            raise NotFound(f"{path}: no such directory")
        try:
            manifest = json.loads((path / MANIFEST).read_text("utf-8"))
        except FileNotFoundError:
            raise InvalidArgument(f"{path}: not a run: it has no {MANIFEST}") from None
        except ValueError as error:
            raise InvalidArgument(f"{path / MANIFEST}: not JSON: {error}") from None
        bundle = cls(path, manifest)
        if not bundle.spool.is_file():
            raise InvalidArgument(f"{path}: not a run: it has no {bundle.spool.name}")
        return bundle

    @property
    def spool(self) -> Path:
        return self.path / "events.spool"

    @property
    def captures(self) -> Path:
        return self.path / "pcap"

    @property
    def tables(self) -> Path:
        return self.path / "tables"

    @property
    def verdicts(self) -> Path:
        return self.path / "verdicts.jsonl"

    @property
    def plots(self) -> Path:
        return self.path / "plots"

    def finish(self, **facts: Any) -> None:
        """Add the end time and `facts` (JSON values: outcome, wall seconds ...) to the manifest. Raises as `create`."""
        self.manifest = {**self.manifest, "finished": datetime.now(UTC).isoformat(), **facts}
        self._write_manifest()

    def export(self) -> None:
        """Write captures, tables and the verdict log from the spool, which must be complete."""
        # Here, not above: pyarrow takes a while to load and opening a bundle does not need it.
        from lab.trace.pcapng import write_captures
        from lab.trace.tables import write_tables

        write_captures(self.spool, self.captures)
        write_tables(self.spool, self.tables)
        write_verdicts(self.spool, self.verdicts)

    def _write_manifest(self) -> None:
        temporary = self.path / (MANIFEST + ".new")
        try:
            temporary.write_text(json.dumps(self.manifest, indent=2) + "\n", "utf-8")
            temporary.replace(self.path / MANIFEST)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise _not_written(self.path / MANIFEST, error) from None


def _not_written(path: Path, error: OSError) -> TcplabError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return (ResourceExhausted if full else FailedPrecondition)(f"{path}: cannot be written: {error.strerror}")


def write_verdicts(spool: Path | str, path: Path | str) -> None:
    """One line for each verdict in the spool, in order: time_ns, link, frame, verdict, rule (null: none), delay_ns."""
    with Path(path).open("w", encoding="utf-8") as file:
        for event in SpoolReader(spool, kinds=(VERDICT,)):
            fields = event.fields
            line = {"time_ns": event.time_ns, **fields, "rule": fields["rule"] or None}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def spool_of(path: Path | str) -> Path:
    """The spool that `path`, a run directory or a spool file, means. Raises as `Bundle.open` and SpoolReader do."""
    path = Path(path)
    if path.is_dir():
        return Bundle.open(path).spool
    return SpoolReader(path).path

"""Where the texts of Python files come from that a topology or an experiment lists as `congestion_controls`.

    congestion_controls: [mine.py]                  # as people write it: names
    congestion_controls: {mine.py: "class ..."}     # as it is read, kept in manifests and given to nodes

They are run wherever the file is read, by whoever reads it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lab.spec import Value, wrap
from nodes.base.errors import InvalidArgument, PermissionDenied
from nodes.tcp.congestion.plugin import FILE_PATTERN, FILE_WORDS, MAX_BYTES

FIELD: Final = "congestion_controls"
REFUSED: Final = (
    "this server runs no Python code that it is sent; whoever starts it can allow it: tcplab serve --allow-code"
)


@dataclass(frozen=True)
class Sources:
    """`files` (name -> text) are there whatever is listed; what is listed and not among them is read beside the file
    that lists it. Not `allowed`: any such file is refused, and none is run."""

    files: Mapping[str, str] = field(default_factory=dict)
    allowed: bool = True

    def supply(self, value: Value, path: str = "", all_of_them: bool = True) -> None:
        """Put the texts into what is to be read as a topology or an experiment. `all_of_them`: also of files that it
        does not list. Raises InvalidArgument for a file that is not there, PermissionDenied."""
        if not isinstance(value.data, dict):
            return
        given = value.data.get(FIELD)
        if given is None or given.data is None:
            if not (all_of_them and self.files):
                return
            given = wrap([], value.source)
        if not self.allowed:
            raise PermissionDenied(f"{FIELD}: {REFUSED}")
        texts: dict[str, str] = dict(self.files) if all_of_them else {}
        if isinstance(given.data, dict):
            texts.update({name: one.data for name, one in given.data.items()})
        else:
            for name, one in _names(given, f"{path}.{FIELD}" if path else FIELD):
                texts[name] = self.files[name] if name in self.files else _read(one, name)
        supplied = wrap(texts, value.source)
        supplied.line = given.line
        value.data[FIELD] = supplied


def listed_beside(value: Value) -> list[Path]:
    """The files that a file lists, beside it, to be sent elsewhere with it. Raises InvalidArgument."""
    given = value.data.get(FIELD) if isinstance(value.data, dict) else None
    if given is None or not isinstance(given.data, list):
        return []
    return [Path(one.source).parent / name for name, one in _names(given, FIELD)]


def read_files(paths: list[Path]) -> dict[str, str]:
    """The texts of files here, by their names. Raises InvalidArgument."""
    return {path.name: read_text(path) for path in paths}


def read_text(path: Path) -> str:
    """The text of a Python file. Raises InvalidArgument."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        return raw.decode("utf-8-sig")
    except OSError as error:
        raise InvalidArgument(f"{path}: cannot be read: {error.strerror}", FIELD) from None
    except UnicodeDecodeError as error:
        raise InvalidArgument(f"{path}:{raw[: error.start].count(10) + 1}: not UTF-8 text", FIELD) from None


def _names(given: Value, path: str) -> Iterator[tuple[str, Value]]:
    entries = given.data if isinstance(given.data, list) else [given]
    for index, one in enumerate(entries):
        if not isinstance(one.data, str) or not re.fullmatch(FILE_PATTERN, one.data):
            raise one.error(f"{path}[{index}]", f"{one.data!r:.80} is not {FILE_WORDS}")
        yield one.data, one


def _read(one: Value, name: str) -> str:
    if not one.source or not Path(one.source).is_file():
        raise one.error(FIELD, f"{name}: its text is missing; send it with the request, or have it beside this file")
    try:
        return read_text(Path(one.source).parent / name)
    except InvalidArgument as error:
        raise one.error(FIELD, str(error)) from None

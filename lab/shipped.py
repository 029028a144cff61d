"""Files that come with tcplab: topologies and experiments, in a source checkout or in an installed wheel."""

from __future__ import annotations

from pathlib import Path


def shipped_directory(kind: str) -> Path:
    """Where the files of a kind (`topologies`, `experiments`) are: beside the code in a wheel, else in the checkout."""
    here = Path(__file__).resolve().parent
    installed = here / "data" / kind
    return installed if installed.is_dir() else here.parent / kind


def why_pure() -> str:
    """Why the hot code was not compiled (setup.py)."""
    note = Path(__file__).resolve().parent / "data/pure.txt"
    return note.read_text("utf-8").strip() if note.is_file() else "a checkout, or installed editable"


def shipped_files(kind: str) -> dict[str, Path]:
    """The shipped YAML files of a kind by name, in the order of their names."""
    return {path.stem: path for path in sorted(shipped_directory(kind).glob("*.yaml"))}

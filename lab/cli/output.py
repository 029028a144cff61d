"""How commands print: JSON or lines."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", envvar="TCPLAB_JSON", help="Print JSON.")]


def print_json(data: Any) -> None:
    """One JSON document on standard output."""
    json.dump(data, sys.stdout, indent=2, ensure_ascii=False)
    print()


def print_table(rows: Iterable[tuple[str, str]]) -> None:
    """Two columns, the first as wide as it needs to be, the second wrapped to the terminal."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="bold")
    table.add_column()
    for first, second in rows:
        table.add_row(first, second)
    Console(highlight=False, markup=False, emoji=False).print(table)

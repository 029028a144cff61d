"""The option `--congestion-control FILE`: a congestion control of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Controls = Annotated[
    list[Path] | None,
    typer.Option(
        "--congestion-control",
        metavar="FILE",
        envvar="TCPLAB_CONGESTION_CONTROL",
        help="A Python file with a congestion control of your own, for tcp_congestion_control. Repeatable.",
    ),
]

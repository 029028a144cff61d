"""What readline remembers from one time to the next, where there is readline."""

from __future__ import annotations

import contextlib
import os
from cmd import Cmd
from pathlib import Path
from typing import Final, Self

try:
    import readline
except ImportError:  # a Python without it edits lines as the terminal does
    readline = None  # type: ignore[assignment]

_LINES: Final = 1000


class History:
    """As a context: the lines typed before are there, and those typed now are kept; Tab completes whole words."""

    def __init__(self, shell: Cmd) -> None:
        state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
        self._file = Path(state) / "tcplab" / "shell_history"
        shell.use_rawinput = True

    def __enter__(self) -> Self:
        if readline is not None:
            readline.set_completer_delims(" \t\n")  # h1-r1 and h1:eth0 are one word
            with contextlib.suppress(OSError):
                readline.read_history_file(self._file)
        return self

    def __exit__(self, *_: object) -> None:
        if readline is not None:
            readline.set_history_length(_LINES)
            with contextlib.suppress(OSError):  # no home, or none that can be written to
                self._file.parent.mkdir(parents=True, exist_ok=True)
                readline.write_history_file(self._file)

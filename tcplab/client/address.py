"""Where controllers are found."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

#: Environment variable with the address of the controller to use: `unix:/path`, `host:port`.
ENVIRONMENT: Final = "TCPLAB_ADDRESS"


def default_socket() -> Path:
    """Unix socket that a controller serves on when it is given no other, and where clients look for one."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    directory = Path(runtime) / "tcplab" if runtime else Path.home() / ".tcplab"
    return directory / "controller.sock"

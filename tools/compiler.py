"""Whether extensions of Python can be compiled here."""

from __future__ import annotations

import os
import shlex
import shutil
import sysconfig
from pathlib import Path


def no_compiler() -> str:
    """Why the hot code will not be compiled, in words; "" when it can be. `TCPLAB_PURE=1` asks for pure Python."""
    if os.environ.get("TCPLAB_PURE", "") not in ("", "0"):
        return "TCPLAB_PURE was set"
    command = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    if shutil.which(command[0]) is None:
        return f"there was no C compiler ({command[0]})"
    if not (Path(sysconfig.get_path("include")) / "Python.h").is_file():
        return "Python's header files (python3-dev) were missing"
    return ""

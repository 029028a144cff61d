"""Programs on nodes with our stack: what well-known network programs do, and Python's sockets, over the node's agent.

`bin` has the programs, first in PATH there; `site` is what Python loads first by PYTHONPATH.
"""

from __future__ import annotations

import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))
#: Where the programs are.
DIRECTORY = os.path.join(_HERE, "bin")
#: What PYTHONPATH must have.
SITE = os.path.join(_HERE, "site")


def environment(path: str, python_path: str = "") -> dict[str, str]:
    """The variables of a program on a node with our stack, where it would have this PATH (and PYTHONPATH) elsewhere."""
    return {
        "PATH": f"{DIRECTORY}:{path}",
        "PYTHONPATH": f"{SITE}:{python_path}" if python_path else SITE,
        "TCPLAB_PYTHON": sys.executable,
    }

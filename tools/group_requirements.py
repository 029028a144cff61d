"""Print the requirements of a [dependency-groups] entry of pyproject.toml, one line (older pips have no --group)."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

groups = tomllib.loads(Path("pyproject.toml").read_text())["dependency-groups"]
print(" ".join(requirement.replace(" ", "") for requirement in groups[sys.argv[1]]))

"""Print what tcplab with some extras requires (`netns,docker`), from pyproject.toml, one requirement a line.

With `--build`, what building it requires too.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

content = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))
project = content["project"]


def of(extra: str) -> list[str]:
    found = []
    for requirement in project["optional-dependencies"][extra]:
        own = re.fullmatch(r"tcplab\[(.*)\]", requirement)
        found += [further for one in own[1].split(",") for further in of(one)] if own else [requirement]
    return found


arguments = [argument for argument in sys.argv[1:] if argument != "--build"]
required = [*project["dependencies"], *(one for extra in arguments[0].split(",") for one in of(extra))]
if "--build" in sys.argv:
    required += content["build-system"]["requires"]
print("\n".join(dict.fromkeys(required)))

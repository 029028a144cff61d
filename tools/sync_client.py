"""Makes the blocking face of the SDK, tcplab/client/sync, from its asyncio face, tcplab/client/aio.

    python tools/sync_client.py [DIRECTORY]

Writes into DIRECTORY (default: tcplab/client/sync). rpc.py is not made: it is what differs. A test compares.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

CLIENT: Final = Path(__file__).resolve().parent.parent / "tcplab" / "client"
NOTE: Final = "# Made by tools/sync_client.py from tcplab/client/aio/{}: change it there.\n"
CHANGES: Final = tuple(
    (re.compile(pattern), new)
    for pattern, new in (
        (r"Callable\[\.\.\., Awaitable\[(Mapping\[str, Any\])\]\]", r"Callable[..., \1]"),
        (r"\bAwaitable, ", ""),
        (r"\basync (def|with|for) ", r"\1 "),
        (r"\bawait ", ""),
        (r"__a(enter|exit)__", r"__\1__"),
        (r"\bAsyncIterator\b", "Iterator"),
        (r"(?m)^# ruff: noqa: ASYNC.*\n|  # noqa: ASYNC.*$", ""),
        (r"tcplab\.client\.aio\b", "tcplab.client.sync"),
    )
)
#: What puts imports and lines in order again, from standard input to output.
TIDY: Final = (("check", "--select=I,RUF022", "--fix-only", "--quiet"), ("format", "--quiet"))


def blocking(source: str) -> str:
    """The blocking twin of a module's source."""
    for pattern, new in CHANGES:
        source = pattern.sub(new, source)
    return source


def tidy(source: str, name: str) -> str:
    """The same source as ruff would have it."""
    for command in TIDY:
        ruff = [sys.executable, "-m", "ruff", *command, f"--stdin-filename=tcplab/client/sync/{name}", "-"]
        done = subprocess.run(ruff, input=source, capture_output=True, text=True, check=True, cwd=CLIENT.parent.parent)
        source = done.stdout
    return source


def made(name: str) -> str:
    """What tcplab/client/sync/`name` has to hold."""
    source = (CLIENT / "aio" / name).read_text("utf-8")
    if name == "__init__.py":
        words = '"""The blocking face of the SDK; tcplab.client exports it."""'
        source = re.sub(r'""".*?"""', words, source, count=1, flags=re.DOTALL)
    return tidy(NOTE.format(name) + blocking(source), name)


def names() -> list[str]:
    """The modules that are made."""
    return sorted(path.name for path in (CLIENT / "aio").glob("*.py") if path.name != "rpc.py")


def main(directory: Path) -> None:
    for name in names():
        (directory / name).write_text(made(name), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else CLIENT / "sync")

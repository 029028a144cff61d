"""Ask something in a process of its own, which may become somebody else for it."""

from __future__ import annotations

import os
from collections.abc import Callable


def said_by_child(ask: Callable[[], str]) -> str:
    """What `ask` returns in a forked child, or what it raised as text. To be called in a process without threads."""
    read, write = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if not child:
        try:
            said = ask()
        except Exception as error:
            said = str(error) or type(error).__name__
        try:
            os.write(write, said.encode())
        finally:
            os._exit(0)
    os.close(write)
    with open(read, "rb") as pipe:  # noqa: PTH123
        answer = pipe.read().decode()
    os.waitpid(child, 0)
    return answer

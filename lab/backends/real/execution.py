"""A command that runs on a node, as the lab's process sees it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from nodes.base.tasks import Task
from nodes.kernel.remote_exec import RemoteCommands


class Execution:
    """What waits is a Task of the lab. To be ended, whatever came of it; that kills the command if it still runs."""

    def __init__(
        self, commands: RemoteCommands, number: int, spawn: Callable[[str, Coroutine[Any, None, Any]], Task]
    ) -> None:
        self._commands = commands
        self._number = number
        self._spawn = spawn
        self._ended = False

    def read(self) -> Task:
        """What it says next (result: nodes.kernel.exec.Output)."""
        return self._spawn("output of a command", self._commands.read(self._number))

    def write(self, data: bytes) -> Task:
        """Bytes for its standard input; done when they are in the pipe. SocketError EPIPE when nobody reads."""
        return self._spawn("input of a command", self._commands.write(self._number, data))

    def end_input(self) -> None:
        """Its standard input ends."""
        self._commands.end_input(self._number)

    def signal(self, signal: str) -> None:
        """Send a signal by its name. Raises InvalidArgument."""
        self._commands.signal(self._number, signal)

    def end(self) -> None:
        """Kill what still runs of it, and forget it. Idempotent."""
        if not self._ended:
            self._ended = True
            self._commands.end(self._number)

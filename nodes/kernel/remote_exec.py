"""The lab's side of commands on a node (exec.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nodes.agent.remote import Remote
from nodes.base.clock import NEVER
from nodes.kernel.exec import Exit, Output


class RemoteCommands:
    """The commands of the node behind `remote`. Calls are those of `Commands`; all raise FailedPrecondition when the
    node is gone."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote

    def start(
        self, argv: Sequence[str], env: Mapping[str, str] | None = None, cwd: str = "", timeout_ns: int = NEVER
    ) -> int:
        """Run a command; returns its number."""
        number: int = self._remote.call(
            "exec_start", argv=list(argv), env=dict(env or {}), cwd=cwd, timeout_ns=timeout_ns
        )
        return number

    async def read(self, number: int) -> Output:
        """What it says next."""
        said = await self._remote.wait("exec_read", number=number)
        return Output(said["stdout"], said["stderr"], Exit(**said["exit"]) if said["exit"] else None)

    async def write(self, number: int, data: bytes) -> None:
        """Bytes for its standard input."""
        await self._remote.wait("exec_write", number=number, data=data)

    def end_input(self, number: int) -> None:
        """Its standard input ends."""
        self._remote.call("exec_end_input", number=number)

    def signal(self, number: int, signal: str) -> None:
        """Send a signal by its name."""
        self._remote.call("exec_signal", number=number, signal=signal)

    def end(self, number: int) -> None:
        """Kill what still runs of it, and forget it."""
        if not self._remote.failure:
            self._remote.call("exec_end", number=number)

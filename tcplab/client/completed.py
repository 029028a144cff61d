"""How a command on a node ended."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Completed:
    """`code` is the exit code; of a command that a signal killed, 128 and its number, and `signal` its name (SIGKILL).
    `timed_out`: it was killed for running too long."""

    code: int
    signal: str = ""
    timed_out: bool = False
    stdout: bytes = b""
    stderr: bytes = b""

    @property
    def text(self) -> str:
        """Its standard output as text."""
        return self.stdout.decode("utf-8", "replace")

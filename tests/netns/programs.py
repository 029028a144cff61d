"""Programs on the nodes of a lab in this process."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from lab.backends.real.execution import Execution
from lab.backends.real.lab import RealLab
from nodes.base.clock import MILLISECOND, SECOND

#: h1 10.0.0.1 and h2 10.0.0.2 are ours, l1 10.0.0.3 is the kernel's.
OURS_AND_LINUX = "nodes: {h1: host, h2: host, l1: linux, s1: switch}\nlinks: [h1-s1, h2-s1, l1-s1]\n"
#: Takes one connection.
LISTEN_ONCE = """
import socket, struct, sys
with socket.create_server(("", 7)) as listener:
    print("listens")
    one, _ = listener.accept()
"""


class Program:
    """One that runs, or has."""

    def __init__(self, lab: RealLab, execution: Execution, argv: Sequence[str]) -> None:
        self._lab = lab
        self._execution = execution
        self._argv = argv
        self.out = ""
        self.error = ""
        self.code: int | None = None

    def _read(self) -> None:
        task = self._execution.read()
        while not task.done:
            self._lab._scheduler.run_once(100 * MILLISECOND)
        if task.error is not None:
            raise task.error
        said = task.result
        self.out += said.stdout.decode()
        self.error += said.stderr.decode()
        if said.exit is not None:
            self.code = said.exit.code
            assert not said.exit.timed_out, f"{self._argv} takes too long; it said {self.out}{self.error}"

    def until(self, pattern: str) -> re.Match[str]:
        """Read until its output has a match."""
        while (found := re.search(pattern, self.out + self.error)) is None:
            assert self.code is None, f"{self._argv} has ended; it said {self.out}{self.error}"
            self._read()
        return found

    def wait(self) -> Program:
        """Read until it has ended."""
        while self.code is None:
            self._read()
        return self

    def ok(self) -> str:
        """What it has said; it must have ended well."""
        self.wait()
        assert self.code == 0, f"{self._argv}: exit code {self.code}; it said {self.out}{self.error}"
        return self.out

    def write(self, data: bytes, end: bool = False) -> None:
        """Bytes for its standard input."""
        task = self._execution.write(data)
        while not task.done:
            self._lab._scheduler.run_once(100 * MILLISECOND)
        if end:
            self._execution.end_input()

    def signal(self, name: str) -> None:
        """Send it a signal."""
        self._execution.signal(name)

    def end(self) -> None:
        """Kill it, if it still runs."""
        self._execution.end()


class Programs:
    """Starts them; all have ended when the block has."""

    def __init__(self, lab: RealLab) -> None:
        self.lab = lab
        self._started: list[Program] = []

    def start(self, node: str, *argv: str) -> Program:
        """Run a program on a node."""
        program = Program(self.lab, self.lab.execute(node, argv, timeout_ns=60 * SECOND), argv)
        self._started.append(program)
        return program

    def python(self, node: str, text: str, *arguments: str) -> Program:
        """Run a program of Python's on a node."""
        return self.start(node, "python3", "-u", "-c", text, *arguments)

    def end(self) -> None:
        """End all."""
        for program in self._started:
            program.end()


def agents_descriptors(lab: RealLab, node: str) -> int:
    """How many descriptors the agent of a node has open."""
    return len(list(Path(f"/proc/{lab.processes[node]}/fd").iterdir()))

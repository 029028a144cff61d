"""Programs on the nodes of a lab in this process."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from lab.backends.catalogue import make_lab
from lab.backends.real.execution import Execution
from lab.backends.real.lab import RealLab
from lab.topology.loader import topology_from_text
from nodes.base.clock import MILLISECOND, SECOND
from nodes.base.events import LEVEL_STATES


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


@contextlib.contextmanager
def lab_for_programs(directory: Path, name: str, text: str) -> Iterator[RealLab]:
    """A netns lab of a topology's text, its spool in `directory`."""
    lab = make_lab("netns", name, topology_from_text(text), 1, directory / "spool", LEVEL_STATES, False)
    assert isinstance(lab, RealLab)
    try:
        yield lab
    finally:
        lab.close_lab()


@contextlib.contextmanager
def programs_of(lab: RealLab) -> Iterator[Programs]:
    """Programs on the nodes of a lab."""
    programs = Programs(lab)
    try:
        yield programs
    finally:
        programs.end()

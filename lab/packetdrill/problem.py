"""How a script ends that does not pass."""

from __future__ import annotations

from nodes.base.errors import TcplabError


class ScriptProblem(TcplabError):
    """Base of the two; `line` is the line of the script, `text` what happened there."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(f"line {line}: {text}")
        self.line = line
        self.text = text


class Mismatch(ScriptProblem):
    """Something else happened than the script expects, or it happened at another time."""


class NotExpressible(ScriptProblem):
    """The script asks for something this runner has not: a system call, an option, a sysctl, a shell command."""

"""The Python of a script. It is run as it is, so a script is as trusted as any program one starts."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from lab.packetdrill.problem import Mismatch, NotExpressible
from lab.packetdrill.tcp_info import SYMBOLS
from nodes.base.errors import InvalidArgument


class Snippets:
    """All the Python of one script: what one piece assigns, the next ones see. `printed` has what they print."""

    def __init__(self) -> None:
        self.printed: list[str] = []
        self._names: dict[str, Any] = {**SYMBOLS, "print": self._print}

    def run(self, line: int, text: str, tcp_info: Callable[[], dict[str, int]]) -> None:
        """Run one piece. Raises Mismatch for an assertion that does not hold, NotExpressible for a field of TCP_INFO
        that we have not, InvalidArgument for what is not Python."""
        try:
            tree = ast.parse(text + "\n")
        except SyntaxError as error:
            raise InvalidArgument(f"line {line}: {error.msg}", "script", line) from None
        wanted = sorted({node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id[:5] == "tcpi_"})
        if wanted:
            fields = tcp_info()
            for name in wanted:
                if name not in fields:
                    raise NotExpressible(line, name)
                self._names[name] = fields[name]
        try:
            exec(compile(tree, f"line {line}", "exec"), self._names)
        except AssertionError as error:
            seen = ", ".join(f"{name} {self._names[name]}" for name in wanted)
            raise Mismatch(line, f"assertion fails: {error or 'assert'} ({seen})") from None
        except Exception as error:
            raise Mismatch(line, f"{type(error).__name__}: {error}") from None

    def _print(self, *values: object) -> None:
        self.printed.append(" ".join(str(value) for value in values))
